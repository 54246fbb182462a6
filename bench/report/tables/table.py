"""The neutral table: rows, columns, cells. Every renderer reads this and nothing else; no file, no format in here."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from bench.report.tables.marks import UNMARKED, Better, Candidate, Mark, Marked, compute_marks

NONE = "-"  # printed where a number does not exist
TIE = "≈"  # printed after a mark that is shared
PURE = "1"  # the unit of a number without one

# setting: a network under a second one; guest: a network that is not the suite's; oracle: no network at all; block: a
# part of one
RowKind = Literal["floor", "untrained", "network", "setting", "guest", "oracle", "block", "paper"]
Part = Literal["paper", "ours", "difference"]


@dataclass(frozen=True)
class Column:
    """One measured quantity. `beside` prints it as paper, ours and (with `difference`) the difference; `printed` is a
    column of the paper's own table.
    """

    key: str
    group: str
    metric: str
    unit: str  # "%", "G", "M" or PURE
    better: Better
    digits: int
    paper_digits: int
    dataset: str | None = None
    split: str | None = None  # the first 8 hex of the hash of the validation split
    size: str | None = None  # of the runs behind a score
    reading: str | None = None  # the protocol that its metric is read in, where it is not the table's
    printed: bool = False
    beside: bool = False
    difference: bool = False
    paper_title: str = "paper"

    @property
    def title(self) -> str:
        return self.metric if self.unit == PURE else f"{self.metric} ({self.unit})"

    @property
    def difference_unit(self) -> str:
        return "pp" if self.unit == "%" else self.unit

    @property
    def parts(self) -> tuple[Part, ...]:
        if self.printed:
            return ("paper",)
        if not self.beside:
            return ("ours",)
        return ("paper", "ours", "difference") if self.difference else ("paper", "ours")


@dataclass(frozen=True)
class Cell:
    """A number with what is behind it: the mean over `n` seeds, in the column's unit, and the ids of their runs. `of`:
    what is counted, where it is not the runs.
    """

    value: float | None = None
    sd: float | None = None
    n: int = 0
    runs: tuple[str, ...] = ()
    paper: float | None = None
    marked: Marked = UNMARKED
    paper_marked: Marked = UNMARKED
    notes: tuple[str, ...] = ()
    file: str | None = None  # under results/, of what is behind it and is no run
    of: str = "runs"

    @property
    def link(self) -> str | None:
        """The file behind it, under results/; None where there is none, or several runs are."""
        return self.file or (f"{self.runs[0]}/metrics.json" if len(self.runs) == 1 else None)

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's: percentage points for a score, never a ratio."""
        if self.value is None or self.paper is None:
            return None
        return self.value - self.paper

    @property
    def mark(self) -> Mark | None:
        return self.marked.mark


@dataclass(frozen=True)
class Row:
    """One row; `dataset` and `split` where they are the row's and not the column's."""

    key: str
    label: str
    kind: RowKind
    model: str
    cells: tuple[Cell, ...]
    dataset: str | None = None
    split: str | None = None


@dataclass(frozen=True)
class Table:
    """A table under one profile, size and protocol, or the paper's own (`profile` is then None)."""

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    label: str = ""
    profile: str | None = None
    size: str | None = None
    protocol: str = ""
    notes: tuple[str, ...] = ()
    row_head: str = "Network"  # over the rows' labels

    @property
    def beside(self) -> bool:
        return any(column.beside for column in self.columns)


def summarise(values: Iterable[tuple[str, float | None]], scale: float = 1.0) -> Cell:
    """Mean and standard deviation (n - 1) over the seeds whose value exists; the others are named in a note.

    `values` are (run id, value); `scale` takes them to the column's unit.
    """
    given = list(values)
    known = [(run, value * scale) for run, value in given if value is not None]
    lacking = len(given) - len(known)
    notes = (f"{lacking} of {len(given)} runs have no value here",) if known and lacking else ()
    numbers = [value for _, value in known]
    return Cell(
        value=statistics.fmean(numbers) if numbers else None,
        sd=statistics.stdev(numbers) if len(numbers) > 1 else None,
        n=len(numbers),
        runs=tuple(run for run, _ in (known or given)),
        notes=notes,
    )


def with_marks(table: Table) -> Table:
    """The table with computed marks, ours and the paper's. Only the suite's own networks take part, under
    their first setting.
    """
    taking_part = [i for i, row in enumerate(table.rows) if row.kind in ("network", "paper")]
    grid = [list(row.cells) for row in table.rows]
    for j, column in enumerate(table.columns):
        cells = [grid[i][j] for i in taking_part]
        ours = compute_marks([Candidate(c.value, c.sd, c.n) for c in cells], column.better, column.digits)
        paper = compute_marks([Candidate(c.paper) for c in cells], column.better, column.paper_digits)
        for i, mine, printed in zip(taking_part, ours, paper, strict=True):
            grid[i][j] = replace(grid[i][j], marked=mine, paper_marked=printed)
    rows = tuple(replace(row, cells=tuple(cells)) for row, cells in zip(table.rows, grid, strict=True))
    return replace(table, rows=rows)


def by_group(table: Table) -> list[Table]:
    """One narrow table a column group, for formats that cannot scroll; rows that are empty in a group are left out."""
    parts = []
    for group, members in groupby(range(len(table.columns)), key=lambda j: table.columns[j].group):
        chosen = list(members)
        columns = tuple(table.columns[j] for j in chosen)
        rows = [replace(row, cells=tuple(row.cells[j] for j in chosen)) for row in table.rows]
        kept = tuple(row for row in rows if any(c.value is not None or c.paper is not None for c in row.cells))
        parts.append(replace(table, key=f"{table.key}/{group}", title=group, columns=columns, rows=kept, notes=()))
    return parts


def number(value: float | None, digits: int, signed: bool = False) -> str:
    """'45.3', '+0.4', '-' for None; what rounds to zero prints as zero without a sign."""
    if value is None:
        return NONE
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    return text.lstrip("+-") if float(text) == 0 else text


def mean_sd(cell: Cell, column: Column) -> str:
    """'45.3' for one seed, '45.3 ± 0.4' for more; what cannot differ between seeds (costs) prints without ±."""
    text = number(cell.value, column.digits)
    if cell.value is None or cell.sd is None or column.unit not in ("%", PURE):
        return text
    return f"{text} ± {number(cell.sd, column.digits)}"


def part_text(cell: Cell, column: Column, part: Part) -> str:
    """What one printed column shows of a cell, without marks. A row of the paper's has its numbers alone."""
    if part == "paper" or (cell.value is None and cell.paper is not None and not column.beside):
        return number(cell.paper, column.paper_digits)
    if part == "difference":
        return number(cell.difference, column.digits, signed=True)
    return mean_sd(cell, column)


def part_marked(cell: Cell, part: Part) -> Marked:
    if part == "difference":
        return UNMARKED
    return cell.paper_marked if part == "paper" else cell.marked


def slots(table: Table) -> list[tuple[int, Part]]:
    """The printed columns from left to right: (index of the column, part)."""
    return [(j, part) for j, column in enumerate(table.columns) for part in column.parts]


def part_title(column: Column, part: Part) -> str:
    titles = {"paper": column.paper_title, "ours": "ours", "difference": f"diff. ({column.difference_unit})"}
    return titles[part]


def runs_behind(tables: Sequence[Table]) -> set[str]:
    """The ids of all runs that a number of these tables comes from."""
    return {run for table in tables for row in table.rows for cell in row.cells for run in cell.runs}

"""A table ready for the page: its heads over printed columns, its cells as text with a link and a tip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from bench.report.site.links import Links
from bench.report.tables.table import (
    NONE,
    Cell,
    Column,
    Part,
    Table,
    number,
    part_marked,
    part_text,
    part_title,
    slots,
)

MOST_NAMED = 12  # runs in a cell's tip; the list of runs has all of them


@dataclass(frozen=True)
class Head:
    """A heading over `span` printed columns; `first` starts a group of columns."""

    text: str
    span: int
    first: bool


@dataclass(frozen=True)
class Shown:
    """One cell of the page."""

    text: str
    part: Part
    mark: str
    tie: bool
    href: str
    tip: str
    first: bool


@dataclass(frozen=True)
class Line:
    label: str
    kind: str
    cells: tuple[Shown, ...]


@dataclass(frozen=True)
class Grid:
    """`heads`: rows of headings; the last has one a printed column."""

    table: Table
    heads: tuple[tuple[Head, ...], ...]
    lines: tuple[Line, ...]


def grid(table: Table, links: Links) -> Grid:
    printed = slots(table)
    groups = [table.columns[j].group for j, _ in printed]
    metrics = [table.columns[j].title for j, _ in printed]
    starts = {members[0] for members in _neighbours(groups)}
    heads = [_joined(groups, groups, starts)]
    if table.beside:
        heads.append(_joined(metrics, [j for j, _ in printed], starts))
    lowest = [part_title(table.columns[j], part) for j, part in printed] if table.beside else metrics
    heads.append(tuple(Head(text, 1, i in starts) for i, text in enumerate(lowest)))
    lines = [
        Line(
            row.label,
            row.kind,
            tuple(_shown(row.cells[j], table.columns[j], p, links, i in starts) for i, (j, p) in enumerate(printed)),
        )
        for row in table.rows
    ]
    return Grid(table, tuple(heads), tuple(lines))


def _neighbours(keys: Sequence[object]) -> list[list[int]]:
    """The positions of equal neighbours."""
    return [list(members) for _, members in groupby(range(len(keys)), key=lambda i: keys[i])]


def _joined(titles: Sequence[str], keys: Sequence[object], starts: set[int]) -> tuple[Head, ...]:
    """One heading over neighbours of equal keys."""
    return tuple(Head(titles[m[0]], len(m), m[0] in starts) for m in _neighbours(keys))


def _shown(cell: Cell, column: Column, part: Part, links: Links, first: bool) -> Shown:
    text = part_text(cell, column, part)
    marked = part_marked(cell, part)
    href = links.cell(cell) if part == "ours" and text != NONE else ""
    return Shown(text, part, marked.mark or "", marked.tie, href, _tip(cell, column, part), first)


def _tip(cell: Cell, column: Column, part: Part) -> str:
    if part == "paper":
        return "printed in the paper" if cell.paper is not None else ""
    if part == "difference":
        return f"ours minus the paper's, in {column.difference_unit}" if cell.difference is not None else ""
    if cell.value is None or not cell.runs:
        return "; ".join(cell.notes)
    seeds = "1 run" if cell.n == 1 else f"mean of {cell.n} {cell.of}"
    spread = f", standard deviation {number(cell.sd, column.digits + 1)}" if cell.sd is not None else ""
    more = [f"and {len(cell.runs) - MOST_NAMED} more"] if len(cell.runs) > MOST_NAMED else []
    return "\n".join([f"{seeds}{spread}", *cell.runs[:MOST_NAMED], *more, *cell.notes])

"""reports/index.html: one self-contained page of all exhibits. What it shows is decided here, how in the template."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby

from jinja2 import Environment, PackageLoader, StrictUndefined

from bench.paper.numbers import paper
from bench.report.exhibit import Exhibit
from bench.report.runs import Run
from bench.report.table import (
    NONE,
    TIE,
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
    """A table ready for the template."""

    table: Table
    heads: tuple[tuple[Head, ...], ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Page:
    """`pictures`: the SVG of each figure by name."""

    exhibits: Sequence[Exhibit]
    runs: Sequence[Run]
    damaged: Mapping[str, str]
    results: str
    pictures: Mapping[str, bytes]


@cache
def environment() -> Environment:
    """Of every page: all text is escaped, and a name that is not given is an error."""
    made = Environment(
        loader=PackageLoader("bench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["number"] = number
    return made


def render_page(page: Page) -> str:
    """The page's HTML: no script, no address outside the report."""
    return (
        environment()
        .get_template("index.html.j2")
        .render(page=page, paper=paper(), grid=lambda table: grid(table, page.results), picture=_picture, tie=TIE)
    )


def _picture(svg: bytes) -> str:
    """An address that holds the picture itself."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


def grid(table: Table, results: str) -> Grid:
    """Headings and cells of a table. `results` is the way from the page to the store."""
    printed = slots(table)
    starts = {members[0] for members in _runs_of([table.columns[j].group for j, _ in printed])}
    heads = [
        _heads([table.columns[j].group for j, _ in printed], starts),
        _heads([f"{table.columns[j].metric} ({table.columns[j].unit})" for j, _ in printed], starts),
    ]
    if table.beside:
        heads.append(
            tuple(Head(part_title(table.columns[j], part), 1, i in starts) for i, (j, part) in enumerate(printed))
        )
    lines = [
        Line(
            row.label,
            row.kind,
            tuple(_shown(row.cells[j], table.columns[j], p, results, i in starts) for i, (j, p) in enumerate(printed)),
        )
        for row in table.rows
    ]
    return Grid(table, tuple(heads), tuple(lines))


def _runs_of(titles: Sequence[str]) -> list[list[int]]:
    """The positions of equal neighbours."""
    return [list(members) for _, members in groupby(range(len(titles)), key=lambda i: titles[i])]


def _heads(titles: Sequence[str], starts: set[int]) -> tuple[Head, ...]:
    return tuple(Head(titles[m[0]], len(m), m[0] in starts) for m in _runs_of(titles))


def _shown(cell: Cell, column: Column, part: Part, results: str, first: bool) -> Shown:
    text = part_text(cell, column, part)
    marked = part_marked(cell, part)
    href = _href(cell, results) if part == "ours" and text != NONE else ""
    return Shown(text, part, marked.mark or "", marked.tie, href, _tip(cell, column, part), first)


def _href(cell: Cell, results: str) -> str:
    """One seed: its metrics. Several: the first of them in the list of runs, which links to each."""
    if cell.link:
        return f"{results}/{cell.link}"
    return f"#{cell.runs[0]}" if cell.runs else ""


def _tip(cell: Cell, column: Column, part: Part) -> str:
    if part == "paper":
        return "printed in the paper" if cell.paper is not None else ""
    if part == "difference":
        return f"ours minus the paper's, in {column.difference_unit}" if cell.difference is not None else ""
    if cell.value is None or not cell.runs:
        return "; ".join(cell.notes)
    seeds = "1 run" if cell.n == 1 else f"mean of {cell.n} runs"
    spread = f", standard deviation {number(cell.sd, column.digits + 1)}" if cell.sd is not None else ""
    return "\n".join([f"{seeds}{spread}", *cell.runs, *cell.notes])

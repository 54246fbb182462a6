"""A table of the paper as printed, and which of its printed marks its own numbers do not bear out."""

from __future__ import annotations

from dataclasses import replace

from bench.paper.numbers import PaperCell, PaperTable
from bench.report.columns import printed_column
from bench.report.table import Cell, Row, Table, with_marks

PRINTED_NAMES = {"best": "bold", "second": "underline", None: "none"}


def printed_table(source: PaperTable) -> Table:
    """The paper's numbers with computed marks; what the paper marks otherwise is named in a note."""
    columns = list(dict.fromkeys((cell.dataset, cell.metric) for cell in source.cells))
    cells = {(cell.row, cell.dataset, cell.metric): cell for cell in source.cells}
    rows = []
    for label in source.rows:
        given = [cells.get((label, *column)) for column in columns]
        model = next((cell.model for cell in given if cell and cell.model), label)
        values = tuple(Cell(paper=cell.value if cell else None) for cell in given)
        rows.append(Row(f"paper/{label}", label, "paper", model, values))
    table = Table(
        key=f"{source.name}/paper",
        title=f"The paper's Table {source.number}, as printed",
        label="the paper's numbers: one value each, no repeats or spread stated; marks computed from them",
        columns=tuple(printed_column(*column) for column in columns),
        rows=tuple(rows),
    )
    table = with_marks(table)
    return replace(table, notes=_notes(wrong_marks(table, source)))


def wrong_marks(table: Table, source: PaperTable) -> list[tuple[PaperCell, str]]:
    """The printed cells whose mark is not the one due, each with the mark due: 'bold', 'underline' or 'none'."""
    due = {
        (row.label, column.dataset, column.metric): PRINTED_NAMES[cell.paper_marked.mark]
        for row in table.rows
        for column, cell in zip(table.columns, row.cells, strict=True)
    }
    marked = [cell for cell in source.cells if cell.mark_image is not None]
    pairs = [(cell, due[cell.row, cell.dataset, cell.metric]) for cell in marked]
    return [(cell, mark) for cell, mark in pairs if cell.mark_image != mark]


def _notes(wrong: list[tuple[PaperCell, str]]) -> tuple[str, ...]:
    if not wrong:
        return ()
    names = {"none": "unmarked", "bold": "bold", "underline": "underlined"}
    parts = [
        f"{cell.row}, {cell.column} ({cell.value:g} {cell.unit}): printed {names[cell.mark_image or 'none']}, "
        f"due {names[mark]}"
        for cell, mark in wrong
    ]
    return (f"{len(wrong)} marks in the paper are not those its numbers give. {'; '.join(parts)}.",)

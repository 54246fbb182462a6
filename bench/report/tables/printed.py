"""A table of the paper as printed, and which of its printed marks its own numbers do not bear out."""

from __future__ import annotations

from dataclasses import replace

from bench.paper.numbers import PaperCell, PaperTable, read_as
from bench.report.tables.columns import printed_column
from bench.report.tables.rows import label_of
from bench.report.tables.table import Cell, Column, Row, Table, with_marks
from bench.spec import size_text

ONE_VALUE = "the paper's numbers: one value each, no repeats or spread stated"
DATASET = "Dataset"
HEADS = {"table1": "Metric", "table2": DATASET, "table3": DATASET, "table9": "Attention module"}  # over the rows
SIZES = {"table8"}  # whose columns are sizes
READ_AS = "; it names neither dataset nor split, COCO is our reading; 64x48 is read as width x height, 48x64 here"
PRINTED_NAMES = {"best": "bold", "second": "underline", None: "none"}


def printed_table(source: PaperTable) -> Table:
    """The paper's numbers, its rows and columns in its order, with computed marks where the rows are networks; what the
    paper marks otherwise is named in a note.
    """
    by_row: dict[str, dict[Column, float]] = {label: {} for label in source.rows}
    for cell in source.cells:
        by_row[_row(source, cell)][_column(source, cell)] = cell.value
    columns = tuple(dict.fromkeys(column for values in by_row.values() for column in values))
    models = {_row(source, cell): cell.model for cell in source.cells}
    rows = [
        Row(f"paper/{label}", label, "paper", models[label] or label, tuple(Cell(paper=values.get(c)) for c in columns))
        for label, values in by_row.items()
    ]
    ranked = len({*models.values()} - {None}) > 1
    table = Table(
        key=f"{source.name}/paper",
        title=f"The paper's Table {source.number}, as printed",
        label=f"{ONE_VALUE}{'; marks computed from them' if ranked else ''}{READ_AS if source.name in SIZES else ''}",
        columns=columns,
        rows=tuple(rows),
        row_head=HEADS.get(source.name, "Network"),
    )
    if not ranked:
        return table
    table = with_marks(table)
    return replace(table, notes=_notes(wrong_marks(table, source)))


def _row(source: PaperTable, cell: PaperCell) -> str:
    """Table 1 has its metric in the place of a row."""
    return cell.row if cell.row in source.rows else source.rows[0]


def _column(source: PaperTable, cell: PaperCell) -> Column:
    """Grouped by dataset, or by the network where the rows are datasets; Table 8 by size."""
    column = printed_column(cell.dataset, cell.metric)
    if HEADS.get(source.name) == DATASET:
        return replace(column, key=f"paper.{cell.metric}", dataset=None, group=label_of(cell.model or ""))
    if source.name in SIZES:
        _, size = read_as(cell)
        assert size is not None
        return replace(column, key=f"paper.{size_text(size)}", group=size_text(size), size=size_text(size))
    return column


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

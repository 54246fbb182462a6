"""An exhibit as tidy CSV: one line a cell, full precision, with the runs behind it."""

from __future__ import annotations

import csv
import io

from bench.report.exhibit import Exhibit
from bench.report.tables.table import Cell, Column, Row, Table

FIELDS = (
    "table",
    "profile",
    "reproduction_column",
    "size",
    "protocol",
    "dataset",
    "split",
    "row",
    "model",
    "kind",
    "metric",
    "unit",
    "n",
    "mean",
    "sd",
    "mark",
    "tie",
    "paper",
    "paper_mark",
    "difference",
    "runs",
    "notes",
)


def render_csv(exhibit: Exhibit) -> str:
    """Every cell of every table, the paper's own included; a number that does not exist is an empty field."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, FIELDS, lineterminator="\n")
    writer.writeheader()
    tables = [section.table for section in exhibit.sections] + [exhibit.printed] * (exhibit.printed is not None)
    for table in filter(None, tables):
        for row in table.rows:
            writer.writerows(
                _line(table, row, column, cell) for column, cell in zip(table.columns, row.cells, strict=True)
            )
    return buffer.getvalue()


def _line(table: Table, row: Row, column: Column, cell: Cell) -> dict[str, str]:
    values = {
        "table": table.key,
        "profile": table.profile,
        "reproduction_column": "yes" if column.beside else "no",
        "size": column.size or table.size,
        "protocol": column.reading or table.protocol,
        "dataset": row.dataset or column.dataset,
        "split": row.split or column.split,
        "row": row.label,
        "model": row.model,
        "kind": row.kind,
        "metric": column.metric,
        "unit": column.unit,
        "n": cell.n,
        "mean": _exact(cell.value),
        "sd": _exact(cell.sd),
        "mark": cell.mark,
        "tie": "yes" if cell.marked.tie else "",
        "paper": _exact(cell.paper),
        "paper_mark": cell.paper_marked.mark,
        "difference": _exact(cell.difference) if column.difference else None,
        "runs": " ".join(cell.runs),
        "notes": "; ".join(cell.notes),
    }
    return {key: "" if value is None else str(value) for key, value in values.items()}


def _exact(value: float | None) -> str | None:
    """Nine significant digits: more than any score has, and free of the last bits' noise."""
    return None if value is None else f"{value:.9g}"

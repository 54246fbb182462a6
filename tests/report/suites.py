"""The program's own suites, and their exhibits from fabricated records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.named import load_named
from bench.report.build import exhibit_of, read_records
from bench.report.exhibit import Exhibit
from bench.report.tables.table import Row, Table
from bench.spec import Budget, Suite


def exhibit(fake: Any, name: str, missing: Mapping[str, Any] | None = None) -> Exhibit:
    return exhibit_of(load_named("suite", name, Suite), read_records(fake.store)[0], missing or {})


def row(table: Table, label: str) -> Row:
    (found,) = (row for row in table.rows if row.label == label)
    return found


def cells(table: Table, label: str, **of_column: Any) -> list[Any]:
    """The cells of one row in the columns with these properties."""
    pairs = zip(table.columns, row(table, label).cells, strict=True)
    return [cell for column, cell in pairs if all(getattr(column, key) == value for key, value in of_column.items())]


def part(percent: int, whole: bool = False) -> Budget:
    """A budget with a part of the training images: of a whole split, or of the fabricated few."""
    given = {} if whole else {"train_images": 64, "val_images": 32}
    return Budget.model_validate({**given, "train_percent": percent})

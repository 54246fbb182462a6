"""Are the records of results/ what their runs wrote? Imports no torch.

By default each is read and validated, with the hashes of its small files. Deep: the hashes of all its files, and the
metrics once more from images.parquet, where that is here (it is too large for git).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from bench.record import Damaged, Record
from bench.store import REDO, REMOVE, Store, changed_files

IMAGES = "images.parquet"


class Fault(NamedTuple):
    run_id: str
    what: str
    remedy: str


def faults(store: Store, deep: bool = False) -> Iterator[Fault]:
    """One for each record that is damaged, with the first thing that is wrong."""
    for run_id in store.run_ids():
        record = store.look(run_id)
        if isinstance(record, Damaged):
            yield Fault(run_id, record.reason, REDO)
        elif record and deep and (what := wrong(record)):
            yield Fault(run_id, what, REMOVE)


def wrong(record: Record) -> str | None:
    """What of a readable record is not as it was written, or does not follow from images.parquet."""
    if changed := changed_files(record.folder, record.status):
        return f"{', '.join(changed)} changed since the run ended"
    path = record.folder / IMAGES
    if record.metrics is None or not path.exists():
        return None
    from bench.evaluate.recompute import UNREADABLE, recompute, same

    try:
        found = recompute(path, [row.isthing for row in record.metrics.classes])
    except UNREADABLE as error:
        return f"images.parquet cannot be read ({' '.join(str(error).split())})"
    for name, value in found.totals.items():
        if not same(value, getattr(record.metrics.final, name)):
            return f"metrics.json says {name} {getattr(record.metrics.final, name)}, images.parquet gives {value}"
    for row, numbers in zip(record.metrics.classes, found.classes, strict=True):
        for name, value in numbers.items():
            if not same(value, getattr(row, name)):
                return f"metrics.json says {name} {getattr(row, name)} of {row.name}, images.parquet gives {value}"
    return None


def extent(store: Store) -> tuple[int, int]:
    """Of how many records the files' hashes are known, and of how many finished ones images.parquet is here."""
    records = [record for run_id in store.run_ids() if (record := store.ended(run_id))]
    hashed = sum(record.status.files is not None for record in records)
    return hashed, sum(record.metrics is not None and (record.folder / IMAGES).exists() for record in records)

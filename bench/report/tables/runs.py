"""The runs behind a report: one line each, as plain strings and numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bench.record import Record
from bench.report.tables.rows import label_of
from bench.report.tables.table import NONE
from bench.spec import size_text


@dataclass(frozen=True)
class Run:
    """One ended run. Numbers that the record does not hold are None."""

    id: str
    label: str
    dataset: str
    size: str
    profile: str
    seed: int
    state: str
    reason: str
    device: str
    seconds: float | None
    images_per_s: float | None
    memory_mb: float | None

    @property
    def file(self) -> str:
        """What to open for this run, under the store's folder: the metrics, or of a run without any the status."""
        return f"{self.id}/{'metrics' if self.state == 'done' else 'status'}.json"


def run_lines(records: Iterable[Record]) -> list[Run]:
    """The runs by profile, dataset, network and seed."""
    return sorted(map(run_line, records), key=lambda run: (run.profile, run.dataset, run.label, run.seed, run.id))


def run_line(record: Record) -> Run:
    spec, attempt = record.spec, record.attempt
    return Run(
        id=record.run_id,
        label=label_of(spec.model),
        dataset=spec.dataset,
        size=size_text(spec.size),
        profile=spec.profile,
        seed=spec.seed,
        state=record.status.state,
        reason=record.status.reason or "",
        device=str(attempt.get("device") or NONE),
        seconds=seconds(record),
        images_per_s=known(attempt.get("train_images_per_s")),
        memory_mb=known(attempt.get("peak_memory_mb")),
    )


def seconds(record: Record) -> float | None:
    """The whole run, or training and evaluation together; None where the attempt holds neither."""
    total = known(record.attempt.get("seconds_total"))
    if total is not None:
        return total
    parts = [known(record.attempt.get(key)) for key in ("seconds_train", "seconds_evaluate")]
    there = [part for part in parts if part is not None]
    return sum(there) if there else None


def known(value: object) -> float | None:
    """A number of an attempt, which holds whatever it holds."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

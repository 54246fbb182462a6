"""The runs behind a report: one line each, as plain strings and numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bench.report.gaps import label_of
from bench.report.table import NONE, number
from bench.spec import size_text
from bench.store import Record

LIVE_COLUMNS = ("model", "dataset", "mIoU", "PQ", "AP", "FLOPs (G)", "params (M)", "seconds")


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
    return sorted(map(_run, records), key=lambda run: (run.profile, run.dataset, run.label, run.seed, run.id))


def _run(record: Record) -> Run:
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
        images_per_s=_known(attempt.get("train_images_per_s")),
        memory_mb=_known(attempt.get("peak_memory_mb")),
    )


def seconds(record: Record) -> float | None:
    """The whole run, or training and evaluation together; None where the attempt holds neither."""
    total = _known(record.attempt.get("seconds_total"))
    if total is not None:
        return total
    parts = [_known(record.attempt.get(key)) for key in ("seconds_train", "seconds_evaluate")]
    known = [part for part in parts if part is not None]
    return sum(known) if known else None


def live_row(record: Record) -> list[str]:
    """The line of a run in the live table, in the order of LIVE_COLUMNS: scores in percent, '-' for what is not there.

    >>> len(LIVE_COLUMNS)
    8
    """
    scores = record.metrics.final if record.metrics else None
    network = record.network
    percent = (
        [100 * s if s is not None else None for s in (scores.miou, scores.pq, scores.ap)] if scores else [None] * 3
    )
    flops = network.flops / 1e9 if network and network.flops is not None else None
    params = network.parameters_total / 1e6 if network else None
    return [
        label_of(record.spec.model),
        record.spec.dataset,
        *(number(value, 1) for value in percent),
        number(flops, 2),
        number(params, 1),
        number(seconds(record), 1),
    ]


def _known(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

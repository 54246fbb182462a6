"""What finished runs tell of one that differs from them in nothing but the seed: its time and its FLOPs. No torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import mean

from bench.estimate.calibration import Hardware
from bench.record import Record
from bench.spec import RunSpec
from bench.store import Store


@dataclass(frozen=True)
class Past:
    """`times`: on what and how many seconds, by the run's id, where it says. `flops`: of a forward pass."""

    times: Mapping[str, tuple[Hardware | None, float]] = field(default_factory=dict)
    flops: float | None = None

    @classmethod
    def of(cls, record: Record) -> Past:
        seconds = seconds_of(record)
        alone = record.attempt.get("processes", 1) == 1  # several processes take another time, and which is not told
        times = {} if seconds is None or not alone else {record.run_id: (Hardware.of(record.attempt), seconds)}
        return cls(times, record.network.flops if record.network else None)

    def __add__(self, other: Past) -> Past:
        return Past({**self.times, **other.times}, other.flops if self.flops is None else self.flops)

    @property
    def seconds(self) -> float | None:
        """The mean, whatever they ran on."""
        return mean(seconds for _, seconds in self.times.values()) if self.times else None

    @property
    def by_hardware(self) -> Mapping[Hardware, float]:
        """The mean of each hardware."""
        found: dict[Hardware, list[float]] = {}
        for hardware, seconds in self.times.values():
            if hardware is not None:
                found.setdefault(hardware, []).append(seconds)
        return {hardware: mean(times) for hardware, times in found.items()}


def seconds_of(record: Record) -> float | None:
    """How long a finished run took; None where it did not finish or its attempt does not say."""
    seconds = record.attempt.get("seconds_total")
    return seconds if record.status.state == "done" and isinstance(seconds, int | float) else None


def pasts(planned: Iterable[tuple[RunSpec, Past]], wanted: Iterable[RunSpec], store: Store) -> Mapping[str, Past]:
    """By `kind`. `planned`: the runs of a plan with what their own records tell. Of the store's other runs only those
    are read that can tell something of a `wanted` one.
    """
    found: dict[str, Past] = {}
    ids = set()
    for spec, own in planned:
        ids.add(spec.run_id)
        found[kind(spec)] = found.get(kind(spec), Past()) + own
    alike = {_without_seed(spec.run_id) for spec in wanted}
    for run_id in store.run_ids():
        if run_id not in ids and _without_seed(run_id) in alike and (record := store.ended(run_id)):
            found[kind(record.spec)] = found.get(kind(record.spec), Past()) + Past.of(record)
    return found


def kind(spec: RunSpec) -> str:
    """The same for all seeds."""
    return spec.model_copy(update={"seed": 0}).canonical()


def _without_seed(run_id: str) -> str:
    """What the ids of runs of one kind have in common; runs of other kinds may have it, too."""
    return re.sub(r"-s\d+-[^-]*$", "", run_id)

"""What finished runs tell of one that differs from them in nothing but the seed: its time and its FLOPs. No torch."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

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
        seconds, attempts = seconds_of(record), _attempts(record)
        hardware = {Hardware.of(one) for one in attempts}
        alone = all(one.get("processes", 1) == 1 for one in attempts)  # several take another time, not told which
        times = {}
        if seconds is not None and alone and len(hardware) == 1:
            times = {record.run_id: (hardware.pop(), seconds)}
        return cls(times, record.network.flops if record.network else None)

    def __add__(self, other: Past) -> Past:
        return Past({**self.times, **other.times}, other.flops if self.flops is None else self.flops)

    @property
    def seconds(self) -> float | None:
        """The mean; None where there are none, or of several kinds of hardware, whose mean tells of no machine."""
        several = len({hardware for hardware, _ in self.times.values()}) != 1
        return None if several else mean(seconds for _, seconds in self.times.values())

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


def _attempts(record: Record) -> list[Mapping[str, Any]]:
    """The attempt that ended a run and those that it went on from: the time is of all. One that is gone is empty."""
    found: list[Mapping[str, Any]] = [record.attempt]
    while resumed := found[-1].get("resumed"):
        found.append({})
        with suppress(OSError, ValueError):
            found[-1] = json.loads((record.folder / "attempts" / f"{resumed['made_by']['attempt']}.json").read_bytes())
    return found


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

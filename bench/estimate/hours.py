"""How long the runs of a plan will take, on each hardware that tells: by past runs, else by calibration. No torch.

Times are of runs one after the other. What nothing tells is counted, never guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from bench.cell import Cell
from bench.estimate.calibration import Calibration, Hardware, Setting
from bench.estimate.flops import Flops, flops_of
from bench.estimate.work import Data, Opened, Work, data_of, work_of
from bench.measure.cost_records import CostRecord
from bench.spec import RunSpec
from models.registry import find


@dataclass(frozen=True)
class Estimate:
    """Of one run, what is left of it where it was begun: by calibration the steps that are left and what follows them,
    by past runs the share of the steps. `is_shared`: other programs ran beside its calibration.
    """

    seconds: float
    by: Literal["past runs", "calibration"]
    is_shared: bool = False


@dataclass(frozen=True)
class Planned:
    """A run of a plan and all that is known of how much it is. `setting`: None where it cannot be calibrated."""

    cell: Cell
    data: Data
    work: Work | None
    flops: Flops | None
    setting: Setting | None
    estimates: Mapping[Hardware, Estimate]


@dataclass
class Time:
    """On one hardware: of `by_past + by_calibration` runs; of `unknown` others nothing tells. `shared`: of how many the
    calibration may have been slowed by other programs.
    """

    seconds: float = 0.0
    by_past: int = 0
    by_calibration: int = 0
    unknown: int = 0
    shared: int = 0

    def add(self, estimate: Estimate | None) -> None:
        if estimate is None:
            self.unknown += 1
            return
        self.seconds += estimate.seconds
        self.by_past += estimate.by == "past runs"
        self.by_calibration += estimate.by == "calibration"
        self.shared += estimate.is_shared


@dataclass
class Summary:
    """Sums over runs. `unknown_*`: of how many nothing is known; `inexact`: of how many the images were not counted;
    `counted_at`: in what networks that were counted differ from those of the runs, and of how many.
    """

    runs: int = 0
    steps: int = 0
    trained: int = 0
    evaluated: int = 0
    flops: float = 0.0
    unknown_work: int = 0
    unknown_flops: int = 0
    inexact: int = 0
    counted_at: dict[str, int] = field(default_factory=dict)
    times: dict[Hardware, Time] = field(default_factory=dict)


def planned(
    cells: Iterable[Cell], prepared: Opened, costs: Sequence[CostRecord], calibrations: Sequence[Calibration]
) -> list[Planned]:
    found = []
    for cell in cells:
        data = data_of(cell, prepared)
        work = work_of(cell.spec, data)
        classes = len(data.categories) if data.categories else None
        flops = flops_of(cell, work, classes, costs, calibrations) if work else None
        setting = Setting.of(cell.spec, data.categories) if data.categories and _can_be_built(cell.spec) else None
        found.append(Planned(cell, data, work, flops, setting, _estimates(cell, work, setting, calibrations)))
    return found


def calibrated_seconds(calibration: Calibration, work: Work) -> float:
    """Of the whole run."""
    seconds = calibration.seconds
    return (
        seconds.fixed
        + seconds.train_image * work.trained
        + (seconds.untrained_image or 0.0) * work.untrained
        + seconds.trained_image * work.evaluated
        + (seconds.other_sizes_image or 0.0) * work.other_sizes
    )


def summed(runs: Sequence[Planned]) -> Summary:
    """With a time for each hardware that tells something of any of these runs."""
    total = Summary(runs=len(runs))
    total.times = {hardware: Time() for run in runs for hardware in run.estimates}
    for run in runs:
        for hardware, time in total.times.items():
            time.add(run.estimates.get(hardware))
        if run.work is None:
            total.unknown_work += 1
        else:
            total.steps += run.work.steps
            total.trained += run.work.trained
            total.evaluated += run.work.evaluations
            total.inexact += not run.work.exact
        _add_flops(total, run.flops)
    return total


def _add_flops(total: Summary, flops: Flops | None) -> None:
    if flops is None:
        total.unknown_flops += 1
        return
    total.flops += flops.total
    if flops.counted_at:
        total.counted_at[flops.counted_at] = total.counted_at.get(flops.counted_at, 0) + 1


def _can_be_built(spec: RunSpec) -> bool:
    """An oracle reads a dataset's own files: nothing can stand in for them."""
    return find(spec.model).is_network


def _estimates(
    cell: Cell, work: Work | None, setting: Setting | None, calibrations: Sequence[Calibration]
) -> dict[Hardware, Estimate]:
    left = 1.0 - cell.place["step"] / cell.place["steps"] if cell.place else 1.0
    rest = replace(work, trained=round(left * work.trained), untrained=0) if work and cell.place else work
    found = {
        one.hardware: Estimate(calibrated_seconds(one, rest), "calibration", one.is_shared)
        for one in calibrations
        if rest is not None and one.setting == setting
    }
    past = {hardware: Estimate(left * seconds, "past runs") for hardware, seconds in cell.past.by_hardware.items()}
    return {**found, **past}

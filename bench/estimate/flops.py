"""The multiply-adds of a whole run, from what was counted of its network. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.cell import Cell, trains_by_steps
from bench.estimate.calibration import Calibration
from bench.estimate.work import Work
from bench.measure.cost_records import CLASSES, TASK, CostRecord
from bench.spec import RunSpec

PASSES = 3  # a training step counts as so many forward passes: its own, and twice that for the gradients
Size = tuple[int, int]


@dataclass(frozen=True)
class Flops:
    """Multiply-adds of a whole run, training as PASSES forward passes. `counted_at`: in what the network that was
    counted differs from the run's; None: in nothing.
    """

    total: float
    counted_at: str | None


def flops_of(
    cell: Cell, work: Work, classes: int | None, costs: Sequence[CostRecord], calibrations: Sequence[Calibration]
) -> Flops | None:
    """A floor and an oracle have none: 0. None where no count of the network at this size is known."""
    if not trains_by_steps(cell.spec):
        return Flops(0.0, None)
    spec, own = cell.spec, work.untrained + work.evaluated
    passes = {spec.size: PASSES * work.trained + own} | {other.size: work.evaluated for other in spec.also_at}
    total, differs = 0.0, dict[str, None]()
    for size, images in passes.items():
        found = _forward(cell, size, classes, costs, calibrations)
        if found is None:
            return None
        total += found[0] * images
        differs |= dict.fromkeys(found[1])
    return Flops(total, ", ".join(differs) or None)


def _forward(
    cell: Cell, size: Size, classes: int | None, costs: Sequence[CostRecord], calibrations: Sequence[Calibration]
) -> tuple[float, list[str]] | None:
    """Multiply-adds of one image, and in what the network that was counted differs: of a run of this kind, else of a
    calibration of this network, else of its cost record, which may be of other classes, of another task or of a
    backbone without trained weights.
    """
    spec = cell.spec
    if cell.past.flops is not None and size == spec.size:
        return cell.past.flops, []
    for one in (calibration for calibration in calibrations if calibration.flops is not None):
        setting = one.setting
        counted = (setting.model, dict(setting.options), setting.task, setting.size, setting.classes)
        if counted == (spec.model, spec.options, spec.task, size, classes):
            return one.flops or 0.0, []
    for cost in costs:
        differs = _differs(cost, spec, classes) if (cost.model, cost.size) == (spec.model, size) else None
        if cost.flops is not None and differs is not None:
            return cost.flops, differs
    return None


def _differs(cost: CostRecord, spec: RunSpec, classes: int | None) -> list[str] | None:
    """In what the network of a cost record differs from the run's, in words; None where it is another network."""
    weights = {"backbone_weights": "none"} if "backbone_weights" in spec.options else {}
    if dict(cost.options) != {**spec.options, **weights}:
        return None
    found = [] if classes == CLASSES else [f"{CLASSES} classes"]
    if spec.task != TASK:
        found.append(f"task {TASK}")
    if spec.options != dict(cost.options):
        found.append("backbone weights none")
    return found

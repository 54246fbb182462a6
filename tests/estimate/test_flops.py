"""The multiply-adds of whole runs: by hand, and what is said of a network that was counted in another form."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.cell import Cell
from bench.data.native.scenes import CATEGORIES
from bench.estimate.calibration import Calibration
from bench.estimate.flops import Flops, flops_of
from bench.estimate.past import Past
from bench.estimate.work import data_of, work_of
from bench.measure.cost_records import CostRecord
from bench.spec import RunSpec
from bench.store import Store
from models.registry import full_options
from tests.estimate.calibrations import calibration
from tests.specs import spec_of_size

KEPT = Store(Path(__file__).parents[2] / "results")


def cell_of(model: str = "unet", options: dict[str, Any] | None = None, **changes: Any) -> Cell:
    recipe = {"name": "r", "source": "s", "lr": 0.1, "weight_decay": 0, "batch_size": 14, "epochs": 1000}
    chosen = {"model": model, "options": full_options(model, options or {}), "recipe": recipe}
    return Cell(RunSpec.model_validate(spec_of_size("128x128").model_dump() | chosen | changes), None)


def cost(model: str = "unet", size: str = "128x128", flops: float | None = 68.1e9, **changes: Any) -> CostRecord:
    values = {"model": model, "options": full_options(model, {}), "task": "panoptic", "classes": 133, "size": size}
    more = {"parameters": 5, "flops": flops, "versions": {}, "git_commit": None}
    return CostRecord.model_validate(values | more | changes)


def counted(cell: Cell, *costs: CostRecord, calibrations: tuple[Calibration, ...] = ()) -> Flops | None:
    data = data_of(cell, {})
    work = work_of(cell.spec, data)
    assert work is not None
    assert data.categories is not None
    return flops_of(cell, work, len(data.categories), costs, calibrations)


def test_one_training_on_coco_costs_what_audit_a43_says() -> None:
    """68.1 G a pass, 118,286,000 images of three passes each: 2.4e19. Two evaluations of 5,000 change nothing."""
    found = counted(cell_of(dataset="coco"), cost())
    assert found is not None
    assert found.counted_at is None
    assert found.total == pytest.approx(68.1e9 * (3 * 118_286_000 + 2 * 5000))
    assert found.total == pytest.approx(2.4e19, rel=0.01)


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (cell_of(dataset="coco"), None),
        (cell_of(dataset="ade20k"), "133 classes"),
        (cell_of(dataset="coco", task="semantic"), "task panoptic"),
        (cell_of(dataset="coco", task="instance"), "133 classes, task panoptic"),
        (cell_of("detr-r50", {"backbone_weights": "imagenet"}, dataset="coco"), "backbone weights none"),
    ],
)
def test_a_count_of_the_network_in_another_form_is_named(cell: Cell, said: str | None) -> None:
    found = counted(cell, cost(cell.spec.model))
    assert found is not None
    assert found.counted_at == said


@pytest.mark.parametrize(
    ("cell", "record"),
    [
        (cell_of(options={"width": 16}), cost()),
        (cell_of(size="64x64"), cost()),
        (cell_of(), cost("unet-small")),
        (cell_of(), cost(flops=None, reason="not run")),
    ],
)
def test_what_was_not_counted_is_not_known(cell: Cell, record: CostRecord) -> None:
    assert counted(cell, record) is None


def test_a_finished_run_tells_before_a_calibration_and_that_before_a_cost_record() -> None:
    cell = cell_of()
    images = 1000 * (2000 // 14) * 14 * 3 + 1000
    calibrated = calibration(cell.spec, CATEGORIES)
    assert counted(cell, cost(), calibrations=(calibrated,)) == Flops(7e9 * images, None)
    assert counted(replace(cell, past=Past({}, 3e9)), cost(), calibrations=(calibrated,)) == Flops(3e9 * images, None)
    other = calibration(cell_of(task="semantic").spec, CATEGORIES)
    assert counted(cell, cost(), calibrations=(other,)) == Flops(68.1e9 * images, "133 classes")


def test_floors_and_oracles_have_none() -> None:
    assert counted(cell_of("majority")) == Flops(0.0, None)
    assert counted(cell_of("oracle-nearest", train_hash="none")) == Flops(0.0, None)


def test_evaluations_at_further_sizes_are_counted_at_these() -> None:
    also = [{"size": "32x32", "val_hash": None, "val_pixels": None}]
    cell = cell_of(dataset="coco", also_at=also)
    found = counted(cell, cost(), cost(size="32x32", flops=4e9))
    assert found is not None
    assert found.total == pytest.approx(68.1e9 * (3 * 118_286_000 + 2 * 5000) + 4e9 * 5000, rel=1e-12)
    assert counted(cell, cost()) is None
    known = replace(cell, past=Past({}, 3e9))  # at its own size alone
    found = counted(known, cost(), cost(size="32x32", flops=4e9))
    assert found is not None
    assert found.total == pytest.approx(3e9 * (3 * 118_286_000 + 2 * 5000) + 4e9 * 5000, rel=1e-12)

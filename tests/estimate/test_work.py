"""How much a run is: against numbers worked by hand, and against what finished runs did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.cell import Cell
from bench.data.catalog import DataRoots, Missing
from bench.data.native.scenes import Scenes
from bench.data.prepared import prepare, prepared_bytes
from bench.estimate.work import Work, data_of, opened, preparation_bytes, work_of
from bench.named import load_named
from bench.plan import Choice, make_plan
from bench.spec import Profile, Recipe, RunSpec, Suite
from bench.store import Store
from tests.specs import spec_of_size

KEPT = Store(Path(__file__).parents[2] / "results")


def cell_of(**changes: Any) -> Cell:
    return Cell(RunSpec.model_validate(spec_of_size("128x128").model_dump() | changes), None)


def recipe(batch_size: int, epochs: int) -> Recipe:
    return Recipe(name="r", source="s", lr=0.1, weight_decay=0, batch_size=batch_size, epochs=epochs)


def work(cell: Cell) -> Work | None:
    return work_of(cell.spec, data_of(cell, opened([cell])))


def test_the_papers_training_is_that_of_audit_a43() -> None:
    """118,287 images in batches of 14 are 8,449 steps and one image over; a thousand times."""
    assert work(cell_of(dataset="coco", recipe=recipe(14, 1000))) == Work(
        steps=8_449_000, trained=118_286_000, untrained=5000, evaluated=5000, other_sizes=0, exact=False
    )


def test_table_4_tells_the_steps_on_coco_where_no_data_is(tmp_path: Path) -> None:
    choice = Choice(
        load_named("suite", "table4", Suite), load_named("profile", "paper", Profile), DataRoots(), tmp_path
    )
    plan = make_plan(choice, Store(tmp_path / "results"))
    assert all(isinstance(entry, Missing) for entry in plan.missing.values())
    assert {cell.spec.dataset for cell in plan.cells} == {"scenes"}
    found = {
        (cell.spec.dataset, cell.spec.model, cell.spec.seed): one.steps
        for cell in plan.absent
        if (one := work(cell)) is not None
    }
    assert len(found) == 3 * (6 * 3 + 2)
    assert found["coco", "maskattn-unet", 2] == 8_449_000
    assert found["coco", "detr-r50", 0] == 7_392_000  # 118,287 // 16
    assert found["ade20k", "unet", 0] == 1_443_000  # 20,210 // 14
    assert found["cityscapes", "unet", 1] == 212_000  # 2,975 // 14
    assert found["cityscapes", "majority", 0] == 0


@pytest.mark.parametrize("run_id", KEPT.run_ids())
def test_a_finished_run_did_what_its_spec_said(run_id: str) -> None:
    record = KEPT.record(run_id)
    found = work(Cell(record.spec, None))
    assert found is not None
    assert record.metrics is not None
    history = record.folder / "history.jsonl"
    steps = json.loads(history.read_text().splitlines()[-1])["step"] if history.exists() else 0
    assert (found.steps, found.evaluated) == (steps, record.metrics.final.images)
    assert found.untrained == (record.metrics.untrained.images if record.metrics.untrained else 0)
    assert found.trained == (steps * record.spec.recipe.batch_size or record.metrics.train_images)
    assert found.exact


def test_a_share_of_the_training_images_takes_a_share_of_the_steps() -> None:
    budget = {"train_images": 100, "train_percent": 25}
    found = work(cell_of(budget=budget, recipe=recipe(8, 2)))
    assert found == Work(steps=6, trained=48, untrained=500, evaluated=500, other_sizes=0, exact=True)


def test_fewer_images_than_a_batch_are_one_step_of_all() -> None:
    found = work(cell_of(budget={"train_images": 3, "val_images": 2}, recipe=recipe(8, 5)))
    assert found == Work(steps=5, trained=15, untrained=2, evaluated=2, other_sizes=0, exact=True)


def test_a_floor_sees_each_image_once_and_an_oracle_none() -> None:
    floor = work(cell_of(model="majority", options={}, recipe=recipe(32, 1)))
    assert floor == Work(steps=0, trained=2000, untrained=0, evaluated=500, other_sizes=0, exact=True)
    oracle = work(cell_of(model="oracle-nearest", options={}, train_hash="none"))
    assert oracle == Work(steps=0, trained=0, untrained=0, evaluated=500, other_sizes=0, exact=True)


def test_each_further_size_is_evaluated_after_training() -> None:
    also = [{"size": size, "val_hash": None, "val_pixels": None} for size in ("64x64", "32x32")]
    found = work(cell_of(also_at=also, recipe=recipe(8, 1)))
    assert found is not None
    assert (found.untrained, found.evaluated, found.other_sizes, found.evaluations) == (500, 500, 1000, 2000)


def test_of_somebodys_own_data_nothing_is_known_but_what_a_profile_takes_at_most() -> None:
    assert work(cell_of(dataset="mine", recipe=recipe(8, 1))) is None
    found = work(cell_of(dataset="mine", budget={"train_images": 20, "val_images": 9}, recipe=recipe(8, 1)))
    assert found == Work(steps=2, trained=16, untrained=9, evaluated=9, other_sizes=0, exact=False)


def test_prepared_images_are_counted_and_need_no_room(tmp_path: Path) -> None:
    pending = cell_of(size="16x16", budget={"train_images": 6, "val_images": 4}, train_hash=None, val_hash=None)
    assert preparation_bytes([pending, pending], {}) == prepared_bytes(6, (16, 16)) + prepared_bytes(4, (16, 16))
    folders = [prepare(Scenes(), split, (16, 16), n, tmp_path).folder for split, n in (("train", 5), ("val", 3))]
    cell = Cell(pending.spec, None, *folders)
    found = work_of(cell.spec, data_of(cell, opened([cell])))
    assert found is not None
    assert (found.evaluated, found.exact) == (3, True)
    assert preparation_bytes([cell], opened([cell])) == 0


def test_the_categories_are_those_of_the_task() -> None:
    counts = {
        (name, task): len(found) if (found := data_of(cell_of(dataset=name, task=task), {}).categories) else None
        for name in ("coco", "scenes", "mine")
        for task in ("panoptic", "instance")
    }
    assert counts == {
        ("coco", "panoptic"): 133,
        ("coco", "instance"): 81,
        ("scenes", "panoptic"): 16,
        ("scenes", "instance"): 11,
        ("mine", "panoptic"): None,
        ("mine", "instance"): None,
    }

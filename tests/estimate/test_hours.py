"""How long runs will take: by hand, by past runs where there are any, and unknown where nothing tells."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bench.cell import Cell
from bench.data.native.scenes import CATEGORIES
from bench.estimate.calibration import Seconds
from bench.estimate.hours import Estimate, Planned, calibrated_seconds, planned, summed
from bench.estimate.past import Past
from bench.estimate.work import Work
from bench.spec import RunSpec
from models.registry import full_options
from tests.estimate.calibrations import GPU, HERE, calibration
from tests.specs import spec_of_size

BY_HAND = 10.0 + 96 * 0.5 + 20 * 0.25 + 20 * 0.125  # fixed, 2 epochs of 6 batches of 8, untrained, trained


def cell_of(**changes: Any) -> Cell:
    values = {
        "options": full_options("unet", {}),
        "budget": {"train_images": 50, "val_images": 20},
        "recipe": {"name": "r", "source": "s", "lr": 0.1, "weight_decay": 0, "batch_size": 8, "epochs": 2},
    }
    return Cell(RunSpec.model_validate(spec_of_size("64x64").model_dump() | values | changes), None)


def only(cell: Cell, *calibrations: Any) -> Planned:
    (found,) = planned([cell], {}, [], calibrations)
    return found


def test_a_run_is_its_images_and_what_every_run_takes() -> None:
    assert BY_HAND == 65.5
    found = only(cell_of(), calibration(cell_of().spec, CATEGORIES))
    assert found.estimates == {HERE: Estimate(65.5, "calibration")}


def test_further_sizes_are_evaluated_too() -> None:
    seconds = Seconds(train_image=0.5, untrained_image=0.25, trained_image=0.125, other_sizes_image=0.0625, fixed=10)
    work = Work(steps=12, trained=96, untrained=20, evaluated=20, other_sizes=40, exact=True)
    assert calibrated_seconds(calibration(cell_of().spec, CATEGORIES, seconds=seconds), work) == 65.5 + 2.5


def test_a_floor_is_fitted_once() -> None:
    cell = cell_of(model="majority", options={})
    seconds = Seconds(train_image=0.5, untrained_image=None, trained_image=0.125, other_sizes_image=None, fixed=1)
    found = only(cell, calibration(cell.spec, CATEGORIES, steps=None, seconds=seconds))
    assert found.estimates[HERE].seconds == 1 + 50 * 0.5 + 20 * 0.125


@pytest.mark.parametrize(
    "changes",
    [
        {"size": "32x32"},
        {"task": "semantic"},
        {"dataset": "coco"},
        {"recipe": {"name": "r", "source": "s", "lr": 0.1, "weight_decay": 0, "batch_size": 4, "epochs": 2}},
    ],
)
def test_a_calibration_of_another_setting_tells_nothing(changes: dict[str, Any]) -> None:
    found = only(cell_of(), calibration(cell_of(**changes).spec, CATEGORIES if "dataset" not in changes else OTHER))
    assert found.estimates == {}
    assert summed([found]).times == {}


OTHER = type(CATEGORIES)(CATEGORIES.entries[1:])


def test_past_runs_win_on_their_own_hardware() -> None:
    past = Past({"a": (HERE, 100.0), "b": (HERE, 140.0), "c": (None, 5.0)})
    cell = replace(cell_of(), past=past)
    found = only(cell, calibration(cell.spec, CATEGORIES), calibration(cell.spec, CATEGORIES, GPU))
    assert found.estimates == {HERE: Estimate(120.0, "past runs"), GPU: Estimate(65.5, "calibration")}


def test_of_a_run_that_was_begun_what_is_left_counts() -> None:
    cell = replace(cell_of(), place={"step": 9, "steps": 12, "epoch": 2, "epochs": 2})
    found = only(cell, calibration(cell.spec, CATEGORIES))
    assert found.estimates[HERE].seconds == 10.0 + 24 * 0.5 + 20 * 0.125  # 3 steps of 8; not evaluated untrained again
    past = replace(cell, past=Past({"a": (HERE, 100.0)}))
    assert only(past).estimates[HERE].seconds == 25.0


def test_a_run_that_has_only_its_evaluation_left_takes_that() -> None:
    cell = replace(cell_of(), place={"step": 12, "steps": 12, "epoch": 2, "epochs": 2})
    found = only(cell, calibration(cell.spec, CATEGORIES))
    assert found.estimates[HERE].seconds == 10.0 + 20 * 0.125


def test_sums_say_of_how_many_runs_they_are() -> None:
    known, other = cell_of(), cell_of(model="unet-small", options=full_options("unet-small", {}))
    runs = planned([known, known, other], {}, [], [calibration(known.spec, CATEGORIES)])
    total = summed(runs)
    assert (total.runs, total.steps, total.trained, total.evaluated) == (3, 36, 288, 120)
    assert (total.flops, total.unknown_flops) == (2 * 7e9 * (3 * 96 + 40), 1)
    time = total.times[HERE]
    assert (time.seconds, time.by_past, time.by_calibration, time.unknown) == (131.0, 0, 2, 1)


def test_a_machine_that_was_shared_is_told() -> None:
    cell = cell_of()
    runs = planned([cell], {}, [], [calibration(cell.spec, CATEGORIES, load=1.0, cores=1)])
    assert (summed(runs).times[HERE].shared, summed(runs).times[HERE].by_calibration) == (1, 1)


def test_an_oracle_cannot_be_calibrated() -> None:
    assert only(cell_of(model="oracle-nearest", options={}, train_hash="none")).setting is None


def test_merging_what_past_runs_tell_counts_each_once() -> None:
    one, two = Past({"a": (HERE, 1.0)}, 5.0), Past({"a": (HERE, 1.0), "b": (GPU, 4.0)})
    assert (one + two + two).seconds is None  # the mean of two machines is the time of none
    assert (one + one + Past({"c": (HERE, 2.0)})).seconds == 1.5
    assert (two + one).flops == 5.0
    assert (one + two).by_hardware == {HERE: 1.0, GPU: 4.0}
    assert Past().seconds is None

"""Calibrations on disk: what is written is found again, and what is damaged is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.data.native.scenes import CATEGORIES
from bench.estimate.calibration import (
    Calibration,
    Hardware,
    Setting,
    calibration_path,
    read_calibrations,
    write_calibration,
)
from tests.estimate.calibrations import GPU, HERE, calibration
from tests.specs import spec_of_size

SPEC = spec_of_size("48x64")


def test_what_was_written_is_read_from_a_file_for_each_machine_and_setting(tmp_path: Path) -> None:
    assert read_calibrations(tmp_path) == ([], [])
    ones = [calibration(SPEC, CATEGORIES, hardware) for hardware in (HERE, GPU)]
    paths = [write_calibration(tmp_path, one) for one in ones]
    assert [path.parent.name for path in paths] == [
        "cpu-some-r-cpu-2-1-ghz-t2",
        "nvidia-h100-80gb-hbm3-other-cpu-t16",
    ]
    assert [path.name.rpartition("-")[0] for path in paths] == ["unet-panoptic-48x64-b1"] * 2
    assert read_calibrations(tmp_path) == (ones, [])


def test_a_damaged_file_is_named_and_leaves_the_others(tmp_path: Path) -> None:
    whole = calibration(SPEC, CATEGORIES)
    write_calibration(tmp_path, whole)
    damaged = write_calibration(tmp_path, calibration(SPEC, CATEGORIES, GPU))
    content = json.loads(damaged.read_text())
    content["seconds"]["fixed"] = -1
    damaged.write_text(json.dumps(content))
    found, left_out = read_calibrations(tmp_path)
    assert found == [whole]
    assert len(left_out) == 1
    assert left_out[0].startswith(f"{damaged}: seconds.fixed: ")
    assert left_out[0].endswith("; remove it and calibrate again")


def test_a_file_that_is_not_what_its_name_says_is_not_read(tmp_path: Path) -> None:
    path = write_calibration(tmp_path, calibration(SPEC, CATEGORIES))
    path.rename(path.with_name("unet-panoptic-48x64-b1-00000000.json"))
    found, left_out = read_calibrations(tmp_path)
    assert found == []
    assert "holds the calibration of unet on cpu, Some(R) CPU @ 2.1 GHz, 2 threads" in left_out[0]


@pytest.mark.parametrize(
    "change",
    [
        {"options": {"width": 16}},
        {"size": "64x64"},
        {"task": "semantic"},
        {"recipe": {**SPEC.recipe.model_dump(), "batch_size": 2}},
        {"recipe": {**SPEC.recipe.model_dump(), "augmentation": None}},
        {"also_at": [{"size": "32x32", "val_hash": "x", "val_pixels": "y"}]},
    ],
)
def test_another_setting_has_another_file(change: dict[str, Any]) -> None:
    other = type(SPEC).model_validate(SPEC.model_dump() | change)
    assert Setting.of(other, CATEGORIES).file_name != Setting.of(SPEC, CATEGORIES).file_name


def test_what_changes_no_time_is_no_other_setting() -> None:
    recipe = {**SPEC.recipe.model_dump(), "epochs": 7, "lr": 3.0, "name": "z"}
    change = {"seed": 4, "dataset": "mine", "train_hash": None, "recipe": recipe, "profile": "paper"}
    other = type(SPEC).model_validate(SPEC.model_dump() | change)
    assert Setting.of(other, CATEGORIES) == Setting.of(SPEC, CATEGORIES)


def test_hardware_is_named_as_an_attempt_names_it() -> None:
    attempt = {"device": "cpu", "processor": "Xeon", "threads": 1, "number": 3}
    assert Hardware.of(attempt) == Hardware(device="cpu", processor="Xeon", threads=1)
    assert Hardware.of(attempt | {"processes": 2}) != Hardware.of(attempt)
    assert Hardware.of({"device": "cpu", "threads": 1}) is None
    assert (HERE.name, GPU.name) == ("cpu, Some(R) CPU @ 2.1 GHz, 2 threads", "NVIDIA H100 80GB HBM3, 16 threads")


def test_a_machine_with_other_work_is_told(tmp_path: Path) -> None:
    assert not calibration(SPEC, CATEGORIES, load=0.5, cores=2).is_shared
    assert calibration(SPEC, CATEGORIES, load=0.6, cores=2).is_shared


def test_the_files_of_this_repository_can_be_read() -> None:
    results = Path(__file__).parents[2] / "results"
    found, left_out = read_calibrations(results)
    assert left_out == []
    assert all(calibration_path(results, one.hardware, one.setting).is_file() for one in found)
    assert all(isinstance(one, Calibration) for one in found)

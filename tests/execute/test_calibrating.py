"""What a calibration makes of what a short run said; and slowly: whether it tells how long a run takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import bench.execute.calibrating as calibrating
from bench.cell import Cell
from bench.estimate.calibration import read_calibrations
from bench.execute.calibrating import IMAGES, STEPS, WARM_UP, Wanted, _Heard, _seconds, _steps
from bench.execute.local import Machine
from bench.spec import RunSpec
from bench.stop import Stop
from bench.store import Store
from tests.specs import spec_of_size

SUITE = """
name: one
title: one small network
task: panoptic
sizes: [32x32]
models: [unet-small]
datasets: [scenes]
floors: {floors}
"""
PROFILE = """
name: short
summary: for tests
label: short
reproduction: false
epochs: 6
max_batch: 8
train_images: 128
val_images: 64
"""
NEAR = 0.3  # of the time that a run takes
TRIES = 3


def told(*seconds: tuple[int, float], batch: int = 8) -> _Heard:
    """Heard of steps, each with the seconds of training until its end."""
    heard = _Heard()
    for step, spent in seconds:
        heard.hear({"kind": "step", "step": step, "images_per_s": step * batch / spent}, batch)
    return heard


def test_the_first_steps_are_left_out_and_one_slow_step_changes_little() -> None:
    ends = [5.0, 6.0, 7.0] + [7.0 + 0.5 * n for n in range(1, 11)] + [60.0] + [60.0 + 0.5 * n for n in range(1, 10)]
    found = _steps(told(*enumerate(ends, start=1)))
    assert found is not None
    assert (found.warm_up, found.measured) == (WARM_UP, STEPS)
    assert found.median_s == pytest.approx(0.5)
    assert found.high_s == pytest.approx(0.5)


def test_steps_that_were_not_reported_share_the_time_between_two_reports() -> None:
    found = _steps(told((1, 9.0), (4, 10.0), (9, 15.0), (14, 17.5), (23, 35.5)))
    assert found is not None
    assert (found.warm_up, found.measured) == (4, 19)
    assert (found.low_s, found.median_s, found.high_s) == pytest.approx((0.75, 1.0, 1.5))


def test_what_says_no_time_makes_no_steps() -> None:
    assert _steps(_Heard()) is None
    heard = told((5, 1.0))
    heard.hear({"kind": "images", "done": 3, "of": 16}, 8)
    assert heard.steps == [(5, 1.0)]
    assert _steps(heard) is None


def cell_of(**changes: Any) -> Cell:
    recipe = {"name": "r", "source": "s", "lr": 0.1, "weight_decay": 0, "batch_size": 8}
    return Cell(RunSpec.model_validate(spec_of_size("64x64").model_dump() | {"recipe": recipe} | changes), None)


def test_the_parts_add_up_to_the_run_that_was_measured() -> None:
    steps = _steps(told((3, 30.0), (13, 35.0), (23, 40.0)))
    attempt = {"seconds_evaluate": 4.0, "seconds_evaluate_untrained": 8.0, "seconds_train": 41.0, "seconds_total": 60.0}
    found = _seconds(attempt, steps, cell_of(), 184)
    assert (found.train_image, found.untrained_image, found.trained_image) == (0.5 / 8, 8 / IMAGES, 4 / IMAGES)
    assert found.other_sizes_image is None
    assert found.fixed == pytest.approx(60 - 23 * 0.5 - 8 - 4)


def test_of_a_floor_the_pass_over_the_images_is_taken() -> None:
    attempt = {"seconds_evaluate": 4.0, "seconds_train": 3.2, "seconds_total": 8.0}
    found = _seconds(attempt, None, cell_of(model="majority", options={}), 64)
    assert (found.train_image, found.untrained_image) == (0.05, None)
    assert found.fixed == pytest.approx(0.8)


def wanted(**changes: Any) -> Wanted:
    return Wanted(cell_of(**changes), None, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(("before", "told"), [(0.1, [0.1, 0.1]), (1.5, [1.5, 1.5])])
def test_the_load_of_our_own_calibrations_is_not_that_of_other_programs(
    monkeypatch: pytest.MonkeyPatch, before: float, told: list[float]
) -> None:
    """Two threads: after the first calibration the load is two, which is our own."""
    loads = iter([before, 1.0, 2.0])
    monkeypatch.setattr(os, "getloadavg", lambda: (next(loads), 0.0, 0.0))
    monkeypatch.setattr(calibrating, "_short", lambda one, root: one.cell)
    monkeypatch.setattr(calibrating, "_result", lambda one, cell, store, heard, load: load)

    def execute_all(cells: Sequence[Cell], store: Store, machine: Machine, on_event: Any, fail_fast: bool) -> Stop:
        for cell in cells:
            store.folder(cell.spec.run_id).mkdir(parents=True)
            on_event(cell, {"kind": "end", "status": "done"})
        return Stop()

    monkeypatch.setattr(calibrating, "execute_all", execute_all)
    found: list[Any] = []
    machine = Machine(device="cpu", jobs=1, threads=2, keep_weights=True, checkpoint_minutes=1, stall_s=9)
    calibrating.calibrate([wanted(seed=0), wanted(seed=1)], machine, lambda cell, load: found.append(load))
    assert found == told


def test_a_training_whose_steps_were_not_heard_is_not_taken_for_a_floor() -> None:
    record: Any = SimpleNamespace(attempt={}, spec=cell_of(model="unet-small", options={}).spec)
    found = calibrating._calibration(wanted(), record, _Heard(), cell_of(), 0.0)
    assert found == "its steps were too short to be told apart"


def bench(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "bench", *words, "--suite", "./one.yaml", "--profile", "./short.yaml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_estimate_is_near_the_time_of_the_run(tmp_path: Path) -> None:
    """Wall time is what is estimated, and other programs lengthen it. So calibration and run follow each other at once,
    and where something came between them both are done again: an estimate that is wrong is wrong each time.
    """
    (tmp_path / "one.yaml").write_text(SUITE.format(floors="false"))
    (tmp_path / "short.yaml").write_text(PROFILE)
    ratios: list[float] = []
    while len(ratios) < TRIES and not (ratios and abs(ratios[-1] - 1) <= NEAR):
        results = ("--results", f"results-{len(ratios)}")
        plan = json.loads(bench(tmp_path, "plan", "--calibrate", "--json", *results))
        ((expected,),) = (run["time"] for run in plan["runs"])
        assert expected["by"] == "calibration"
        assert not list((tmp_path / results[1]).glob("*/status.json"))  # it leaves no record
        bench(tmp_path, "run", *results)
        (attempt,) = (tmp_path / results[1]).glob("*/attempts/1.json")
        took = json.loads(attempt.read_text())
        ratios.append(expected["seconds"] / took["seconds_total"])
        (calibrated,), unread = read_calibrations(tmp_path / results[1])
        assert unread == []
        assert {key: took[key] for key in ("device", "processor", "threads")} == {
            key: expected[key] for key in ("device", "processor", "threads")
        }
        network = json.loads(attempt.parents[1].joinpath("network.json").read_text())
        assert calibrated.flops == network["flops"]
        assert calibrated.setting.classes == network["classes"]
    print("estimate over time:", ", ".join(f"{ratio:.2f}" for ratio in ratios))  # noqa: T201
    assert abs(ratios[-1] - 1) <= NEAR, ratios

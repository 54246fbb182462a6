"""`plan` with what it says of how much its runs are; calibration itself is stood in for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import bench.commands.calibrate
from bench.cell import Cell
from bench.cli import main
from bench.commands.calibrate import this_machine
from bench.commands.headline import headline
from bench.commands.workload import Workload, counted, hours, workload_lines
from bench.data.native.scenes import CATEGORIES
from bench.estimate.calibration import Hardware, Setting, write_calibration
from bench.estimate.hours import planned
from bench.estimate.past import Past
from bench.execute.calibrating import Done, Wanted, this_hardware
from bench.execute.local import Machine
from bench.plan import Plan as Runs
from bench.settings import profile_named
from bench.stop import Stop
from tests.estimate.calibrations import GPU, HERE, calibration
from tests.specs import spec_of_size

SUITE = """
name: one
title: two small networks
task: panoptic
sizes: [32x32]
models: [unet-small, detr-small]
datasets: [{datasets}]
floors: false
seeds: [0, 1]
"""
PROFILE = """
name: short
summary: for tests
label: short
reproduction: false
epochs: 2
max_batch: 8
train_images: 64
val_images: 16
"""
Plan = Callable[..., tuple[int, str]]


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Plan:
    """`bench plan` of the suite: its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)
    Path("short.yaml").write_text(PROFILE)

    def call(*words: str, datasets: str = "scenes") -> tuple[int, str]:
        Path("one.yaml").write_text(SUITE.format(datasets=datasets))
        capsys.readouterr()
        code = main(["plan", "--suite", "./one.yaml", "--profile", "./short.yaml", *words])
        printed = capsys.readouterr()
        return code, printed.out if code == 0 or printed.out else printed.err

    return call


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The networks that were calibrated, by name; those of a `detr` fail."""
    found: list[str] = []

    def stand_in(wanted: Iterable[Wanted], machine: Machine, done: Done) -> Stop:
        for one in wanted:
            found.append(one.setting.model)
            made = calibration(one.cell.spec, one.categories, this_hardware(machine))
            done(one.cell, "no weights" if one.setting.model.startswith("detr") else made)
        return Stop()

    monkeypatch.setattr(bench.commands.calibrate, "calibrate", stand_in)
    return found


def test_what_nothing_tells_is_said(plan: Plan) -> None:
    code, text = plan()
    assert code == 0
    assert text.splitlines()[-5:] == [
        "./one.yaml, profile short: 4 runs, 0 done, 4 to run",
        "work: 64 steps, 512 images trained on and 128 evaluated, once for each pass",
        "FLOPs: not known, these networks have no count at this size; `--calibrate` counts them",
        "time: no finished run and no calibration tells; `--calibrate` measures this machine",
        "disk: up to 3 GB of results, about 730 kB of data to prepare",
    ]


def test_each_setting_is_calibrated_once_for_all_its_seeds(plan: Plan, timed: list[str]) -> None:
    code, text = plan("--calibrate")
    assert code == 1  # one failed
    assert timed == ["unet-small", "detr-small"]
    here = this_hardware(this_machine()).name
    assert text.splitlines()[:3] == [
        f"calibrating the networks on {here}, 23 steps each: 2 to do, 0 kept",
        "  unet-small at 32x32, batch 8, 16 classes: 4 s a step, 0.125 s an evaluated image, 10.0 s once a run",
        "  detr-small at 32x32 failed: no weights",
    ]
    seconds = 2 * (10 + 0.5 * 128 + 0.25 * 16 + 0.125 * 16)
    assert seconds == 160
    said = "2 min 40 s, one run after another (2 by calibration); without 2 runs of which nothing tells"
    assert f"time on {here}: {said}" in text
    assert "FLOPs: 5.82e12 multiply-adds, a training step as 3 forward passes; without 2 runs" in text


def test_what_was_calibrated_is_kept_unless_it_is_asked_for_again(plan: Plan, timed: list[str]) -> None:
    plan("--calibrate", "--models", "unet-small")
    code, text = plan("--calibrate", "--models", "unet-small")
    assert code == 0
    assert text.splitlines()[0].endswith(", 23 steps each: 0 to do, 1 kept")
    plan("--calibrate", "--again", "--models", "unet-small")
    assert timed == ["unet-small", "unet-small"]


def test_a_calibration_of_another_machine_is_no_reason_to_do_none_here(plan: Plan, timed: list[str]) -> None:
    _, text = plan("--json", "--models", "unet-small")
    write_calibration(Path("results"), of_the_gpu())
    plan("--calibrate", "--models", "unet-small")
    assert timed == ["unet-small"]
    _, text = plan("--json", "--models", "unet-small", "--price-per-hour", "h100=3.6")
    times = {time["device"]: time for time in json.loads(text)["left"]["time"]}
    assert set(times) == {GPU.device, this_hardware(this_machine()).device}
    assert times[GPU.device] == {
        **GPU.model_dump(), "seconds": 160.0, "runs_by_past_runs": 0, "runs_by_calibration": 2, "runs_unknown": 0,
        "runs_calibrated_beside_other_programs": 0,
        "price_per_hour": 3.6, "cost": 0.16,
    }  # fmt: skip


def of_the_gpu(**changes: Any) -> Any:
    setting = Setting.model_validate(
        {
            "model": "unet-small",
            "options": {"width": 16, "grouping": "greedy", "contrastive_weight": 0.5},
            "task": "panoptic",
            "size": "32x32",
            "also_at": [],
            "classes": 16,
            "things": 10,
            "batch_size": 8,
            "augmentation": {},
            "clip_norm": None,
            "norm_statistics": "synchronised",
            "precision": "mixed",
        }
    )
    return calibration(spec_of_size("32x32"), CATEGORIES, GPU, setting=setting, **changes)


def test_datasets_that_are_not_here_are_told_and_calibrated(plan: Plan, timed: list[str]) -> None:
    _, text = plan("--calibrate", "--datasets", "coco", datasets="coco")
    lines = text.splitlines()
    start = lines.index("coco, not here: 4 runs, 16 steps a training")
    assert lines[start + 1] == (
        "  work: 64 steps, 512 images trained on and 128 evaluated, once for each pass "
        "(images of 4 runs not counted: the dataset's official number, or the most that the profile takes)"
    )
    assert timed == ["unet-small", "detr-small"]
    assert "batch 8, 133 classes: 4 s a step" in text
    _, text = plan("--models", "unet-small", datasets="coco")  # scenes in its place, named as such
    lines = text.splitlines()
    start = lines.index("scenes: 2 to run, 16 steps a training")
    assert lines[start + 1] == "  work: 32 steps, 256 images trained on and 64 evaluated, once for each pass"
    assert [line for line in lines[start:] if not line.startswith(" ")][1:] == [
        "coco, not here: 2 runs, 16 steps a training"
    ]
    _, text = plan("--json", "--datasets", "coco", datasets="coco")
    found = json.loads(text)
    assert found["runs"] == []
    assert found["absent"]["coco"]["steps"] == 64
    assert found["absent"]["coco"]["time"][0]["runs_by_calibration"] == 2


def test_what_cannot_be_calibrated_is_not_told_to_be(plan: Plan) -> None:
    _, text = plan("--models", "oracle-nearest")
    assert text.splitlines()[-3:] == [
        "FLOPs: none, floors and oracles have none",
        "time: no finished run and no calibration tells, and `--calibrate` cannot (oracles, unprepared data)",
        "disk: up to 1 MB of results, about 146 kB of data to prepare",  # 16 x (32 x 32 x 5 + 4000)
    ]


def test_of_own_data_that_is_not_prepared_no_number_is_made_up() -> None:
    own = Cell(spec_of_size("64x64").model_copy(update={"dataset": "mine"}), None)
    runs = planned([own, Cell(own.spec, None)], {}, [], [])
    unknown = "not known before their data is prepared"
    assert list(workload_lines(Workload(runs, {}, [], []), profile_named("paper"), {})) == [
        f"work: {unknown}",
        f"FLOPs: {unknown}",
        "time: no finished run and no calibration tells, and `--calibrate` cannot (oracles, unprepared data)",
        f"disk: up to 3 GB of results, without the images that are {unknown}",
    ]


def test_of_begun_runs_it_is_said_that_their_work_is_counted_whole() -> None:
    cell = Cell(spec_of_size("64x64"), None, place={"step": 5, "steps": 10, "epoch": 1, "epochs": 2})
    runs = planned([cell, replace(cell, place=None)], {}, [], [])
    first, *_ = workload_lines(Workload(runs, {}, [], []), profile_named("smoke"), {})
    assert first.endswith(", once for each pass; begun runs (1) are counted whole")


def test_json_is_nothing_but_json_and_has_every_run(plan: Plan, timed: list[str]) -> None:
    _, text = plan("--calibrate", "--json", "--models", "unet-small")
    found = json.loads(text)
    (first, second) = found["runs"]
    assert first["seed"] != second["seed"]
    assert (first["steps"], first["trained_images"], first["evaluated_images"]) == (16, 128, 32)
    assert (first["images_counted"], first["flops"], first["flops_counted_at"]) == (True, 7e9 * (3 * 128 + 32), None)
    assert [(one["seconds"], one["by"]) for one in first["time"]] == [(80.0, "calibration")]
    assert found["left"] == found["all"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--price-per-hour", "2.5"), "--price-per-hour takes NAME=AMOUNT, such as H100=2.5; got '2.5'"),
        (("--price-per-hour", "H100=0"), "--price-per-hour takes NAME=AMOUNT"),
        (("--price-per-hour", "=3"), "--price-per-hour takes NAME=AMOUNT"),
        (
            ("--price-per-hour", "A100=3"),
            "no hardware with a time has 'A100' in its name; known: NVIDIA H100 80GB HBM3",
        ),
        (("--again",), "--again goes with --calibrate"),
    ],
)
def test_a_mistake_is_one_line(plan: Plan, words: tuple[str, ...], said: str) -> None:
    write_calibration(Path("results"), of_the_gpu())
    code, text = plan(*words)
    assert code == 2
    assert said in text
    assert text.count("\n") == 1


def test_a_damaged_calibration_is_told_and_left_out(plan: Plan) -> None:
    write_calibration(Path("results"), of_the_gpu()).write_text("{")
    code, text = plan()
    assert code == 0
    assert (
        text.count("not read: results/calibration/nvidia-h100-80gb-hbm3-other-cpu-t16/unet-small-panoptic-32x32-b8")
        == 1
    )
    assert "time: no finished run" in text


def test_numbers_are_short() -> None:
    assert [counted(n) for n in (0, 8450, 999_999, 8_449_000)] == ["0", "8,450", "999,999", "8.45 M"]
    assert [hours(s) for s in (59, 3599, 3600, 8_640_000)] == ["59 s", "59 min 59 s", "1.0 h", "2,400.0 h"]


def test_this_machine_is_named_as_runs_name_it() -> None:
    machine = this_machine()
    assert isinstance(this_hardware(machine), Hardware)
    assert this_hardware(machine).threads == machine.threads
    assert machine.jobs == 1


def test_the_time_by_past_runs_says_where_these_ran() -> None:
    cells = [Cell(spec_of_size("64x64"), None, past=Past({"a": (GPU, 60.0)})), Cell(spec_of_size("32x32"), None)]
    plan = Runs(tuple(cells), (), {}, {})
    text = headline("one", profile_named("smoke"), plan, cells)
    assert f"time: about 1 min 00 s for 1 by past runs ({GPU.name}); no past run tells for 1 " in text
    both = replace(cells[0], past=Past({"a": (GPU, 60.0), "b": (HERE, 600.0)}))
    assert "time: no past run tells for 2 " in headline("one", profile_named("smoke"), plan, [both, cells[1]])

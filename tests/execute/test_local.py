"""One process a run: real suites, real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.execute.commands import children, finish

SUITE = """
name: two
title: two small networks
task: panoptic
sizes: [32x32]
models: [unet-small, maskattn-unet-small]
datasets: [scenes]
"""
PROFILE = """
name: tiny
summary: for tests
label: tiny
reproduction: false
epochs: {epochs}
max_batch: 4
train_images: 8
val_images: 4
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "two.yaml").write_text(SUITE)
    (tmp_path / "short.yaml").write_text(PROFILE.format(epochs=1))
    (tmp_path / "long.yaml").write_text(PROFILE.format(epochs=100_000))
    return tmp_path


def start(folder: Path, profile: str, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench", "run", "--suite", "./two.yaml", "--profile", f"./{profile}.yaml", *more]
    return subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # a shell's background job, and all that it starts, ignores SIGINT
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def states(folder: Path) -> dict[str, str]:
    found = (json.loads(path.read_text()) for path in (folder / "results").glob("*/status.json"))
    return {status["run_id"].split("-scenes")[0]: status["state"] for status in found}


def training_process(folder: Path, model: str, main: int, attempt: int = 1) -> int:
    """Waits until a run trains, and returns its process: a child of the fork server, itself a child of the main one."""
    for _ in range(1200):
        begun = [path.parents[1] for path in (folder / "results").glob(f"{model}-*/attempts/{attempt}.json")]
        histories = [run / "history.jsonl" for run in begun]
        if any(path.exists() and path.stat().st_size for path in histories):
            runs = [run for child in children(main) for run in children(child)]
            if runs:
                return runs[0]
        time.sleep(0.1)
    raise AssertionError(f"{model} never trained")


def test_a_suite_runs_once_and_a_second_time_does_nothing(folder: Path) -> None:
    code, text = finish(start(folder, "short"))
    assert code == 0, text
    names = ["majority", "maskattn-unet-small", "position-prior", "unet-small"]
    assert states(folder) == dict.fromkeys(names, "done")
    assert "U-Net (small), untrained" in text
    before = {path: path.stat().st_mtime_ns for path in (folder / "results").rglob("*.json")}
    code, text = finish(start(folder, "short"))
    assert code == 0
    assert "4 runs, 4 done, nothing to do" in text
    assert before == {path: path.stat().st_mtime_ns for path in (folder / "results").rglob("*.json")}


def test_a_record_names_nothing_of_the_machine_and_is_whole(folder: Path) -> None:
    finish(start(folder, "short", "--models", "unet-small"))
    (run,) = (folder / "results").glob("unet-small-*")
    written = {path.name for path in run.iterdir()}
    expected = {"spec.json", "status.json", "metrics.json", "history.jsonl", "network.json", "samples", "attempts"}
    assert expected | {"images.parquet", "checkpoint"} <= written
    text = "".join(path.read_text() for path in run.rglob("*.json*"))
    assert str(folder) not in text
    assert os.uname().nodename not in text
    assert str(Path.home()) not in text


def test_a_killed_training_leaves_the_suite_going_and_is_redone(folder: Path) -> None:
    process = start(folder, "long", "--models", "unet-small")
    os.kill(training_process(folder, "unet-small", process.pid), signal.SIGKILL)
    code, text = finish(process)
    assert code == 1
    assert "was killed by SIGKILL" in text
    assert states(folder) == {"majority": "done", "position-prior": "done", "unet-small": "failed"}
    again = start(folder, "long", "--models", "unet-small")
    training_process(folder, "unet-small", again.pid, attempt=2)
    assert states(folder) == {"majority": "done", "position-prior": "done"}  # the run is not done while it is redone
    again.kill()
    finish(again)
    (run,) = (folder / "results").glob("unet-small-*")
    assert sorted(path.name for path in (run / "attempts").iterdir()) == ["1.json", "2.json"]


@pytest.mark.slow
def test_the_run_after_a_killed_one_still_runs(folder: Path) -> None:
    process = start(folder, "long")
    os.kill(training_process(folder, "unet-small", process.pid), signal.SIGKILL)
    training_process(folder, "maskattn-unet-small", process.pid)
    process.send_signal(signal.SIGINT)
    code, text = finish(process)
    assert code == 130
    assert "the same command goes on" in text
    assert "maskattn-unet-small" not in states(folder)


def test_an_error_is_recorded_with_its_traceback_and_the_suite_goes_on(folder: Path) -> None:
    names = ("maskattn-unet-small", "self-attention-unet-small")
    broken = ", ".join(f"{{name: {name}, options: {{heads: 3}}}}" for name in names)
    (folder / "two.yaml").write_text(SUITE.replace("unet-small, maskattn-unet-small", broken))
    code, text = finish(start(folder, "short"))
    assert code == 1
    assert states(folder)["majority"] == "done"
    assert [states(folder)[name] for name in names] == ["failed", "failed"]
    assert "do not divide into 3 heads" in text
    (run,) = (folder / "results").glob("maskattn-unet-small-*")
    attempt = json.loads((run / "attempts" / "1.json").read_text())
    assert "Traceback" in attempt["traceback"]
    assert str(Path.home()) not in attempt["traceback"]
    code, text = finish(start(folder, "short", "--only", "failed", "--fail-fast"))
    assert code == 1
    assert "1 not started" in text

"""Runs of several processes: real commands, real signals, a real torchrun."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from bench.commands.processes import check_processes
from bench.errors import UserError
from bench.execute import followers, launched
from bench.execute.local import Machine
from tests.execute.commands import SUITE, attempt, children, finish, is_alive, saved_steps, start, the_run, wait_for

PROFILE = """
name: {name}
summary: for tests
label: {name}
reproduction: false
epochs: {epochs}
max_batch: {batch}
train_images: 7
val_images: 13
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "one.yaml").write_text(SUITE)
    (tmp_path / "short.yaml").write_text(PROFILE.format(name="short", epochs=2, batch=5))
    (tmp_path / "long.yaml").write_text(PROFILE.format(name="long", epochs=100_000, batch=5))
    return tmp_path


def training_processes(folder: Path, main: int, count: int) -> list[int]:
    """Once the run has been saved: its first process, then those that follow it."""
    wait_for(lambda: saved_steps(folder))
    first = next(run for child in children(main) for run in children(child))
    return [first, *wait_for(lambda: len(found := children(first)) == count - 1 and found)]


def record(folder: Path) -> dict[str, Any]:
    status: dict[str, Any] = json.loads((the_run(folder) / "status.json").read_text())
    return status


@pytest.mark.slow
def test_torchrun_gives_the_numbers_of_as_many_processes(folder: Path) -> None:
    code, text = finish(start(folder, "short", "--processes", "2"))
    assert code == 0, text
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "bench", "run"]
    suite = ["--suite", "./one.yaml", "--profile", "./short.yaml", "--results", "launched"]
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *suite], cwd=folder, env=surroundings, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("1 done") == 1  # the other process prints nothing
    assert "bench:" not in done.stderr
    mine, launched_one = the_run(folder), next((folder / "launched").glob("unet-small-*"))
    for name in ("metrics.json", "history.jsonl", "network.json", "longrange.json", "images.parquet"):
        assert (mine / name).read_bytes() == (launched_one / name).read_bytes(), name
    facts = json.loads((launched_one / "attempts" / "1.json").read_text())
    assert facts["processes"] == attempt(folder, 1)["processes"] == 2
    again = subprocess.run(
        [*command, *suite], cwd=folder, env=surroundings, capture_output=True, text=True, timeout=240, check=False
    )
    assert again.returncode == 0
    assert again.stdout.count("nothing to do") == 1


@pytest.mark.slow
def test_a_killed_follower_fails_the_run_at_once_and_a_stopped_one_goes_on(folder: Path) -> None:
    process = start(folder, "long", "--processes", "2", "--checkpoint-minutes", "0.002")
    first, follower = training_processes(folder, process.pid, 2)
    os.kill(follower, signal.SIGKILL)
    killed = time.monotonic()
    code, text = finish(process)
    assert time.monotonic() - killed < 60
    assert code == 1
    assert record(folder)["reason"] == "process 1 of 2 was killed by SIGKILL", text
    assert not is_alive(first)
    process = start(folder, "long", "--processes", "2", "--checkpoint-minutes", "0.002")
    wait_for(lambda: (the_run(folder) / "attempts" / "2.json").exists())
    before = saved_steps(folder)
    wait_for(lambda: saved_steps(folder) > before)
    first, follower = training_processes(folder, process.pid, 2)
    process.send_signal(signal.SIGTERM)
    code, text = finish(process)
    assert code == 143, text
    assert not is_alive(follower)
    stopped = attempt(folder, 2)
    assert stopped["stopped"]["checkpoint"]["step"] == saved_steps(folder)[-1]
    assert stopped["resumed"]["step"] > 0
    assert "differs" not in stopped["resumed"]
    process = start(folder, "long", "--checkpoint-minutes", "0.002")  # one process goes on, and says what differs
    wait_for(lambda: saved_steps(folder)[-1] > stopped["stopped"]["checkpoint"]["step"])
    os.kill(process.pid, signal.SIGTERM)
    finish(process)
    assert attempt(folder, 3)["resumed"]["differs"] == ["processes"]


@pytest.mark.slow
def test_no_follower_outlives_its_run(folder: Path) -> None:
    process = start(folder, "long", "--processes", "3", "--checkpoint-minutes", "0.002")
    first, *followers = training_processes(folder, process.pid, 3)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: not any(map(is_alive, followers)))
    code, _ = finish(process)
    assert code == 1
    assert "SIGKILL" in record(folder)["reason"]


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (
            ("--processes", "6"),
            "6 processes cannot share the batches of unet-small-scenes-32x32-short-s0, which have 5",
        ),
        (("--processes", "2", "--executor", "ray"), "--processes"),
        (("--processes", "0"), "expected a whole number from 1"),
    ],
)
def test_what_cannot_be_shared_is_one_line(folder: Path, more: tuple[str, ...], complaint: str) -> None:
    code, text = finish(start(folder, "short", *more))
    assert code == 2
    assert complaint in text
    assert "Traceback" not in text
    assert not list(folder.glob("results/unet-small-*"))


def test_under_torchrun_it_says_itself_how_many_there_are(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said by the first process, without waiting for the others."""
    for rank in ("0", "1"):
        for name, value in {"WORLD_SIZE": "2", "RANK": rank, "LOCAL_RANK": rank}.items():
            monkeypatch.setenv(name, value)
        code, text = finish(start(folder, "short", "--processes", "2"))
        assert code == 2
        assert text.startswith("bench: --processes is for one machine without torchrun") == (rank == "0")
        assert rank == "0" or not text


def test_the_process_that_failed_is_named_not_one_that_lost_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the one that lost it ends first, and whoever asks twice."""

    def last_words(says: Any, _first: int, rank: int, *_place: Any) -> None:
        time.sleep(0.3 * (rank - 1))
        says.send("RuntimeError: Connection closed by peer" if rank == 1 else "ValueError: a damaged image")

    monkeypatch.setattr(followers, "_follow", last_words)
    others = [followers.Follower(rank, 3, "", "cpu") for rank in (1, 2)]
    others[0].process.join()
    found = [followers._why_failed(others, RuntimeError("Connection closed by peer")) for _ in range(2)]
    assert found == ["process 2 of 3: ValueError: a damaged image"] * 2


def test_the_first_gpu_has_two_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.commands.processes.count_gpus", lambda: 2)
    for device in ("cuda", "cuda:0", "cuda:1"):
        machine = Machine(device, 1, 1, False, 1, 1, processes=2)
        if device != "cuda:1":
            check_processes(Namespace(device=device, executor="local"), machine)
            continue
        with pytest.raises(UserError, match="takes the GPUs from 0 on"):
            check_processes(Namespace(device=device, executor="local"), machine)


def test_a_launcher_that_starts_more_processes_than_gpus_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before they join, by the first of each machine: machines may differ."""
    monkeypatch.setattr(launched, "count_gpus", lambda: 2)
    monkeypatch.setattr(launched, "_join", lambda *place: pytest.fail("they would wait for each other"))
    options = Namespace(device="auto", processes=None, jobs=None, executor="local")
    command = launched.together(lambda options: 0)
    for name, value in {"WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "RANK": "4", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="4 processes on this machine, which shows 2 CUDA devices"):
        command(options)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert command(options) == 2


def test_accelerate_launch_without_gpus_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With --num_processes 2 it starts one process, and says so in no variable."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    command = launched.together(lambda options: 0)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    assert command(Namespace()) == 0  # --num_processes 1
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    with pytest.raises(UserError, match="accelerate launch"):
        command(Namespace())


def test_without_a_launcher_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert launched.processes() == 1
    monkeypatch.setenv("WORLD_SIZE", "")
    assert launched.processes() == 1
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert launched.processes() == 4

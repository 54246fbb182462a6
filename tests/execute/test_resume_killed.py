"""SIGKILL at a random moment, twenty times in a row over one run: its record is that of a run that nobody killed."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from bench.cell import Cell
from bench.data.catalog import DataRoots
from bench.execute.local import Machine, execute_all
from bench.named import load_named
from bench.plan import Choice, make_plan
from bench.record import Status
from bench.spec import Profile, Suite
from bench.store import Store
from tests.execute.commands import (
    finish,
    is_alive,
    saved_steps,
    start,
    the_run,
    training_process,
    wait_for,
    write_suite,
)

EPOCHS, IMAGES = 16, 32  # sixteen steps an epoch, 256 in all
KILLS, OF_COMMANDS = 20, 4  # of the whole process group of a `bench run`; the others hit the run's process alone
OFTEN = "0.002"  # minutes between two checkpoints: every second to tenth step
MACHINE = Machine(device="cpu", jobs=1, threads=1, keep_weights=True, checkpoint_minutes=float(OFTEN), stall_s=600)
EQUAL = (
    "metrics.json",
    "history.jsonl",
    "network.json",
    "spec.json",
    "images.parquet",
    "checkpoint/weights.safetensors",
)


def cell_of(folder: Path) -> Cell:
    choice = Choice(
        suite=load_named("suite", str(folder / "one.yaml"), Suite),
        profile=load_named("profile", str(folder / "short.yaml"), Profile),
        roots=DataRoots({}, None),
        prepared=folder / "prepared",
    )
    (cell,) = make_plan(choice, Store(folder / "results"), lambda what, done, of: None).cells
    return cell


class Killer:
    """Hears a run's events. Once it has said `target` steps it kills the run's process a random moment later."""

    def __init__(self, target: int, chance: random.Random) -> None:
        self.target, self.delay = target, chance.uniform(0, 0.05)
        self.status: Status | None = None
        self.timer: threading.Timer | None = None

    def __call__(self, cell: Cell, message: dict[str, Any]) -> None:
        if message["kind"] == "end":
            self.status = message["status"]
        elif message["kind"] == "step" and message["step"] >= self.target and self.timer is None:
            self.timer = threading.Timer(self.delay, self.kill)
            self.timer.start()

    def kill(self) -> None:
        process = training_process(os.getpid())
        if process is not None:
            os.kill(process, signal.SIGKILL)


def kill_the_run(cell: Cell, store: Store, target: int, chance: random.Random) -> None:
    killer = Killer(target, chance)
    execute_all([cell], store, MACHINE, killer, fail_fast=False)
    assert killer.timer is not None, killer.status
    killer.timer.join()
    assert killer.status is not None
    assert killer.status.reason is not None
    assert "SIGKILL" in killer.status.reason, killer.status


def kill_the_command(folder: Path, chance: random.Random) -> None:
    before = saved_steps(folder)
    process = start(folder, "short", "--checkpoint-minutes", OFTEN)
    wait_for(lambda: saved_steps(folder) != before or process.poll() is not None)
    threading.Event().wait(chance.uniform(0, 0.5))
    assert process.poll() is None, "it ended before it was killed"
    run = training_process(process.pid)
    os.killpg(process.pid, signal.SIGKILL)
    finish(process)
    wait_for(lambda: run is None or not is_alive(run))  # until then its lease is held


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """One for the run that is killed, one for that which is not."""
    found = tmp_path / "killed", tmp_path / "whole"
    for folder in found:
        folder.mkdir()
        write_suite(folder, "short", EPOCHS, IMAGES)
    return found


@pytest.mark.slow
def test_twenty_kills_change_no_bit(folders: tuple[Path, Path]) -> None:
    killed, whole = folders
    chance = random.Random(7)
    targets = sorted(chance.sample(range(200), KILLS))
    commands = set(chance.sample(range(KILLS), OF_COMMANDS))
    store, cell = Store(killed / "results"), cell_of(killed)
    for number, target in enumerate(targets):
        if number in commands:
            kill_the_command(killed, chance)
        else:
            kill_the_run(cell, store, target, chance)
    ended: list[Status] = []

    def hear(cell: Cell, message: dict[str, Any]) -> None:
        if message["kind"] == "end":
            ended.append(message["status"])

    execute_all([cell], store, MACHINE, hear, fail_fast=False)
    execute_all([cell_of(whole)], Store(whole / "results"), MACHINE, hear, fail_fast=False)
    assert [status.state for status in ended] == ["done", "done"]
    assert (ended[0].attempt, ended[1].attempt) == (KILLS + 1, 1)
    one, other = the_run(killed), the_run(whole)
    for name in EQUAL:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    lines = (one / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == list(range(1, EPOCHS + 1))
    assert [path.name for path in (one / "checkpoint").iterdir()] == ["weights.safetensors"]
    attempts = [json.loads((one / "attempts" / f"{n}.json").read_text()) for n in range(1, KILLS + 2)]
    resumed = [attempt["resumed"]["step"] for attempt in attempts if "resumed" in attempt]
    assert resumed == sorted(resumed)
    assert len(set(resumed)) > KILLS / 2, "too few of them were killed in the midst of their training"
    assert any(step % (IMAGES // 2) for step in resumed), "none went on in the midst of an epoch"

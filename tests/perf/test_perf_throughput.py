"""Forty smoke runs, one at a time and two at a time, on two cores; and what the harness itself takes of a run.

Torch is imported before the clock starts, by a first run that does not count.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bench.cell import Cell
from bench.data.catalog import DataRoots
from bench.execute.local import Machine, execute_all
from bench.named import load_named
from bench.plan import Choice, make_plan
from bench.spec import Profile, Suite
from bench.store import Store

CORES, RUNS = 2, 40
SUITE = f"""
name: many
title: a small network, many seeds
task: panoptic
sizes: [64x64]
models: [unet-small]
datasets: [scenes]
seeds: {list(range(RUNS + 1))}
floors: false
"""
WORK = ("train", "evaluate_untrained", "evaluate")  # phases; making batches is part of the first
OWN = ("build", "count", "longrange", "checkpoints")
MOST_OVERHEAD = 2.0  # seconds a run


@pytest.fixture
def choice(tmp_path: Path) -> Choice:
    """The profile smoke, but with all seeds."""
    (tmp_path / "many.yaml").write_text(SUITE)
    smoke = load_named("profile", "smoke", Profile)
    return Choice(
        suite=load_named("suite", str(tmp_path / "many.yaml"), Suite),
        profile=smoke.model_copy(update={"max_seeds": None}),
        roots=DataRoots({}, None),
        prepared=tmp_path / "prepared",
    )


def execute(choice: Choice, results: Path, jobs: int) -> list[dict[str, float]]:
    """Of each run the seconds of its phases and `wall`, from the end of the run before to its own, as the parent sees
    it. The runs have all cores between them.
    """
    store, ends = Store(results), list[float]()
    first, *cells = make_plan(choice, store, lambda what, done, of: None).cells[: RUNS + 1]
    machine = Machine(
        device="cpu", jobs=jobs, threads=CORES // jobs, keep_weights=False, checkpoint_minutes=10, stall_s=600
    )

    def hear(cell: Cell, message: dict[str, Any]) -> None:
        if message["kind"] == "end":
            ends.append(time.monotonic())
            assert message["status"].state == "done", message["status"]

    execute_all([first], store, machine, hear, fail_fast=True)
    ends[:] = [time.monotonic()]
    execute_all(cells, store, machine, hear, fail_fast=True)
    walls = [after - before for before, after in pairwise(ends)]
    return [phases_of(store, cell) | {"wall": wall} for cell, wall in zip(cells, walls, strict=True)]


def phases_of(store: Store, cell: Cell) -> dict[str, float]:
    attempt = json.loads((store.folder(cell.spec.run_id) / "attempts" / "1.json").read_text())
    return {name.removeprefix("seconds_"): value for name, value in attempt.items() if name.startswith("seconds_")}


def own_time(run: dict[str, float]) -> dict[str, float]:
    """The harness's share of a run that was alone, by what it did. `process`: outside of the run itself, its start and
    its end; `record`: inside, but in no phase: looking at the machine, adding up the scores, writing.
    """
    named = {name: run[name] for name in OWN}
    work = sum(run[name] for name in WORK) - run["checkpoints"]  # these are saved in the midst of the training
    inside = run["total"] - work - sum(named.values())
    return named | {"record": inside, "process": run["wall"] - run["total"], "in all": run["wall"] - work}


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


@pytest.mark.perf
@pytest.mark.nightly
def test_two_workers_do_more_runs_a_minute_and_the_harness_takes_under_two_seconds_a_run(
    choice: Choice, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = execute(choice, tmp_path / "one", jobs=1)
    paired = execute(choice, tmp_path / "two", jobs=2)
    speeds = [60 * RUNS / sum(run["wall"] for run in runs) for runs in (alone, paired)]
    own = {name: median([own_time(run)[name] for run in alone]) for name in own_time(alone[0])}
    parts = ", ".join(f"{name} {seconds:.2f}" for name, seconds in own.items() if name != "in all")
    with capsys.disabled():
        sys.stdout.write(
            f"\n{RUNS} smoke runs on {CORES} cores: {speeds[0]:.1f} runs/min with one worker, {speeds[1]:.1f} with "
            f"two ({speeds[1] / speeds[0]:.2f} times)\nof a run of {median([run['wall'] for run in alone]):.1f} s "
            f"the harness takes {own['in all']:.2f} s (medians; {parts})\n"
        )
    assert len(alone) == len(paired) == RUNS
    assert speeds[1] > speeds[0]
    assert own["in all"] < MOST_OVERHEAD

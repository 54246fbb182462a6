"""A real run, interrupted by Ctrl-C and gone on with: what its tracker's files hold is its record."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.cli import main
from tests.execute.commands import the_run, wait_for, write_suite
from tests.track.events import CURVES

EPOCHS, IMAGES = 12, 8  # four steps an epoch
STEPS = 48


def interrupt_after(history: Path, lines: int) -> threading.Thread:
    """Ctrl-C to this process, as a terminal would, when that many epochs are over."""

    def watch() -> None:
        wait_for(lambda: [found for found in history.glob("unet-small-*/history.jsonl") if _lines(found) >= lines])
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())


@pytest.fixture
def hears_ctrl_c() -> Iterator[None]:
    """A shell's background job ignores it, and so would the command."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.usefixtures("hears_ctrl_c")
@pytest.mark.parametrize("tracker", ["tensorboard", "trackio"])
def test_an_interrupted_and_resumed_run_is_tracked_as_recorded(
    tracker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("accelerate")
    pytest.importorskip(tracker)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "2"))  # `bench run` sets its own
    write_suite(tmp_path, "short", EPOCHS, IMAGES)
    command = ["run", "--suite", "./one.yaml", "--profile", "./short.yaml", "--track", tracker]
    watch = interrupt_after(tmp_path / "results", lines=2)
    assert main(command) == 130
    watch.join()
    assert main(command) == 0
    run = the_run(tmp_path)
    resumed = json.loads((run / "attempts" / "2.json").read_text())["resumed"]["step"]
    assert 8 <= resumed < STEPS, "it was not interrupted in the midst of its training"
    curves: dict[str, Any] = CURVES[tracker](tmp_path / "tracking" / tracker, run.name)
    kind = np.float32 if tracker == "tensorboard" else np.float64
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    assert len(lines) == EPOCHS
    assert curves["epoch/loss"] == [(line["step"], kind(line["loss"])) for line in lines]
    for name in lines[0]["terms"]:
        assert curves[f"epoch/{name}"] == [(line["step"], kind(line["terms"][name])) for line in lines]
    steps = [step for step, _ in curves["step/loss"]]
    assert steps == sorted(set(steps)), "a step stands there twice"
    assert set(range(4, STEPS + 1, 4)) <= set(steps)
    metrics = json.loads((run / "metrics.json").read_text())
    for name in ("miou", "pq", "ap"):
        both = [(0, kind(metrics["untrained"][name])), (STEPS, kind(metrics["final"][name]))]
        assert curves[f"scores/{name}"] == both
    assert not any(path.name.startswith("events") for path in (tmp_path / "results").rglob("*"))

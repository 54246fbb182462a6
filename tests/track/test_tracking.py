"""Trackers: what they are told is what their files hold, and nothing that goes wrong in them reaches a run."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from bench.cell import Cell
from bench.cli import main
from bench.store import Store
from bench.track import choices, tracking
from bench.track.curve import settings_of
from bench.track.tracking import Tracking, tracked
from tests.finished import finished
from tests.specs import spec_of_size
from tests.track.events import CURVES, SETTINGS, step

FIRST = (1.0, 0.9, 0.8, 0.7, 0.6)  # losses of steps 1 to 5, of which a checkpoint at step 3 loses the last two
AGAIN = (0.55, 0.45, 0.35)  # of steps 4 to 6, taken by another worker


class FakeCell:
    def __init__(self, spec: Any) -> None:
        self.spec = spec


def cell_of(spec: Any) -> Cell:
    return cast(Cell, FakeCell(spec))


def kinds(tracker: str) -> type[np.floating[Any]]:
    """Event files hold 32 bits of a number."""
    return np.float32 if tracker == "tensorboard" else np.float64


@pytest.mark.parametrize("tracker", ["tensorboard", "trackio"])
def test_a_resumed_run_continues_its_curve_beside_another_run(tracker: str, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    pytest.importorskip(tracker)
    store, said = Store(tmp_path / "results"), list[str]()
    record = finished(store, 0.8)
    other = spec_of_size("24x30")
    events = [
        (record.spec, {"kind": "attempt", "number": 1}),
        (other, {"kind": "attempt", "number": 1}),
        *[(record.spec, step(number, loss)) for number, loss in enumerate(FIRST, 1)],
        *[(other, step(number, 7.0)) for number in (1, 2, 3)],
        (record.spec, {"kind": "attempt", "number": 2}),
        (record.spec, {"kind": "resumed", "place": {"step": 3}}),
        *[(record.spec, step(number, loss)) for number, loss in enumerate(AGAIN, 4)],
        (other, {"kind": "attempt", "number": 2}),
        (other, {"kind": "resumed", "place": None}),  # its checkpoints are damaged: it starts anew
        (other, step(1, 6.0)),
        (record.spec, {"kind": "end", "status": record.status}),
        (other, {"kind": "end", "status": None}),
    ]
    heard: list[Any] = []
    with tracked(tracker, store.root, lambda cell, message: heard.append(message), said.append) as on_event:
        for spec, message in events:
            on_event(cell_of(spec), message)
    assert heard == [message for _, message in events]
    (greeting,) = said
    assert str(tmp_path / "tracking" / tracker) in greeting
    folder, kind = tmp_path / "tracking" / tracker, kinds(tracker)
    curves, losses = CURVES[tracker](folder, record.run_id), (*FIRST[:3], *AGAIN)
    assert curves["step/loss"] == [(number, kind(loss)) for number, loss in enumerate(losses, 1)]
    assert curves["step/ce"] == curves["step/loss"]
    assert curves["step/learning_rate"] == [(number, 0.5) for number in range(1, 7)]
    assert curves["step/images_per_s"] == [(number, 3.0) for number in range(1, 7)]
    assert curves["epoch/loss"] == [(number, kind(10 * losses[number - 1])) for number in (2, 4, 6)]
    assert record.metrics is not None
    assert curves["scores/miou"] == [(0, kind(record.metrics.final.miou))]
    assert CURVES[tracker](folder, other.run_id)["step/loss"] == [(1, 6.0)]
    assert SETTINGS[tracker](folder, record.run_id) == settings_of(record.spec)


def test_the_command_that_shows_it_is_one_for_a_shell(tmp_path: Path) -> None:
    said: list[str] = []
    with tracked("trackio", tmp_path / "it's mine" / "results", lambda cell, message: None, said.append):
        pass
    folder = tmp_path / "it's mine" / "tracking" / "trackio"
    words = shlex.split(said[0].partition(": ")[2])
    assert words == [f"TRACKIO_DIR={folder}", "trackio", "show", "--project", choices.PROJECT]


def test_the_settings_are_flat_and_numbers_stay_numbers() -> None:
    settings = settings_of(spec_of_size("24x30"))
    assert settings["recipe.lr"] == 0.1
    assert settings["options.width"] == 64
    assert settings["size"] == "24x30"
    assert all(isinstance(value, str | int | float) for value in settings.values())


def test_a_tracker_that_cannot_write_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "tracking").write_text("a file where a folder should be")
    said: list[str] = []
    with Tracking("tensorboard", tmp_path / "results", said.append) as tracker:
        for number in range(1, 4):
            tracker.hear(cell_of(spec_of_size("24x30")), {"kind": "attempt", "number": number})
        tracker.process.join(60)
        tracker.hear(cell_of(spec_of_size("24x30")), {"kind": "attempt", "number": 4})
    (line,) = said
    assert line.startswith("tensorboard: NotADirectoryError")
    assert "the runs go on" in line


@pytest.mark.parametrize(
    ("number", "what"), [(signal.SIGSTOP, "did not come to its end"), (signal.SIGKILL, "exit code -9")]
)
def test_a_tracker_that_hangs_or_dies_holds_nobody_up(
    number: signal.Signals, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "PATIENCE", 0.5)
    said: list[str] = []
    with Tracking("tensorboard", tmp_path / "results", said.append) as tracker:
        spec = spec_of_size("24x30")
        tracker.hear(cell_of(spec), {"kind": "attempt", "number": 1})
        os.kill(tracker.process.pid, number)
        for index in range(1, 5000):  # more than the connection holds
            tracker.hear(cell_of(spec), step(index, 1.0))
    (line,) = said
    assert what in line


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_what_waits_for_a_tracker_that_hears_nothing_does_not_grow_without_end(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "MOST", 100)
    said: list[str] = []
    with Tracking("tensorboard", tmp_path / "results", said.append) as tracker:
        spec = spec_of_size("24x30")
        tracker.hear(cell_of(spec), {"kind": "attempt", "number": 1})
        os.kill(tracker.process.pid, number)
        for index in range(1, 5000):
            tracker.hear(cell_of(spec), step(index, 1.0))
        assert tracker.messages.qsize() <= 100
    assert not tracker.process.is_alive()
    (line,) = said
    assert "does not keep up" in line or "exit code -9" in line


def test_nothing_is_started_where_nothing_is_tracked(tmp_path: Path) -> None:
    with Tracking("tensorboard", tmp_path / "results", print) as tracker:
        tracker.hear(cell_of(spec_of_size("24x30")), {"kind": "phase", "phase": "build"})
    assert tracker.process is None

    def hear(cell: Cell, message: dict[str, Any]) -> None: ...

    with tracked(None, tmp_path / "results", hear, print) as on_event:
        assert on_event is hear


@pytest.mark.parametrize("tracker", ["tensorboard", "trackio"])
def test_an_absent_package_is_one_line_and_nothing_runs(
    tracker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(choices, "find_spec", lambda name: None)
    results, prepared = ("--results", str(tmp_path / "results")), ("--prepared", str(tmp_path / "prepared"))
    assert main(["run", "--suite", "table4", "--track", tracker, *results, *prepared]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(
        f"--track {tracker} needs accelerate and {tracker}: python -m pip install accelerate {tracker}"
    )
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_tracker_is_answered_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["run", "--suite", "table4", "--track", "wandb"])
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "'wandb' (choose from" in line
    assert all(name in line for name in choices.TRACKERS)


def test_the_command_that_tracks_imports_no_torch() -> None:
    code = (
        "import sys, bench.commands.carry_out; sys.exit(bool({'torch', 'tensorboard', 'trackio'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_tracker_that_cannot_be_started_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object) -> None:
        raise BlockingIOError("no process is left")

    monkeypatch.setattr("multiprocessing.context.ForkServerProcess.start", fail)
    said: list[str] = []
    with Tracking("tensorboard", tmp_path / "results", said.append) as tracker:
        for number in (1, 2):
            tracker.hear(cell_of(spec_of_size("24x30")), {"kind": "attempt", "number": number})
    (line,) = said
    assert "no process is left" in line

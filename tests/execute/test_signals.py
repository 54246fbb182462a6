"""Ctrl-C, SIGTERM and a parent that is gone: a run saves after the step in hand, leaves, and goes on another time."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.cli import main
from bench.execute.signals import ONE_CTRL_C, SIGNALS, hear, passed_on, unheard
from bench.stop import Stop
from tests.execute.commands import (
    attempt,
    finish,
    is_alive,
    saved_steps,
    start,
    the_run,
    training_process,
    wait_for,
    write_suite,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_suite(tmp_path, "long", epochs=100_000, images=8)  # four steps an epoch
    return tmp_path


class Process:
    def __init__(self) -> None:
        self.heard: list[str] = []

    def terminate(self) -> None:
        self.heard.append("terminate")

    def kill(self) -> None:
        self.heard.append("kill")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the handler takes for the time."""
    now = [10.0]
    monkeypatch.setattr("bench.execute.signals.time.monotonic", lambda: now[0])
    return now


@pytest.fixture(autouse=True)
def signals_are_heard() -> Iterator[None]:
    """As in a terminal's foreground job; afterwards all is as before."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_ctrl_c_that_comes_doubled_is_one(clock: list[float]) -> None:
    """`timeout` signals its child and then its own group; `uv run` passes on what the terminal has sent to all."""
    process = Process()
    with passed_on([process]) as stop:
        os.kill(os.getpid(), signal.SIGINT)
        clock[0] += 0.5 * ONE_CTRL_C
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.by == "SIGINT"
        assert set(process.heard) == {"terminate"}
        clock[0] += ONE_CTRL_C
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert process.heard[-1] == "kill"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_signals_of_a_session_that_ends_kill_nothing(clock: list[float]) -> None:
    process = Process()
    with passed_on([process]) as stop:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGTERM):
            os.kill(os.getpid(), number)
            clock[0] += 10 * ONE_CTRL_C
    assert stop.by == "SIGTERM"
    assert set(process.heard) == {"terminate"}


def test_what_is_ignored_stays_ignored() -> None:
    """As `nohup` and a shell's background jobs have it."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    process = Process()
    with passed_on([process]) as stop:
        os.kill(os.getpid(), signal.SIGHUP)
    assert stop.by is None
    assert process.heard == []


def test_a_run_hears_a_signal_that_came_before_it_could() -> None:
    """Sent to this thread: the libraries that are loaded here have others, where it is not blocked."""
    stop = Stop()
    with unheard():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.pthread_kill(threading.get_ident(), number)
        assert stop.by is None
        hear(stop)
        assert stop.by == "SIGTERM"


def status_json(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.chdir(folder)
    main(["status", "--suite", "./one.yaml", "--profile", "./long.yaml", "--json"])
    content: dict[str, object] = json.loads(capsys.readouterr().out)
    return content


@pytest.mark.slow
def test_ctrl_c_saves_and_the_same_command_goes_on_until_sigterm_saves_again(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = start(folder, "long")
    wait_for(lambda: saved_steps(folder))
    os.killpg(first.pid, signal.SIGINT)  # a terminal's Ctrl-C reaches every process
    code, text = finish(first)
    assert code == 130, text
    step = saved_steps(folder)[-1]
    place = {"step": step, "steps": 400_000, "epoch": 1 + step // 4, "epochs": 100_000}
    assert f"stopped, saved at step {step} of 400000, epoch {1 + step // 4} of 100000" in text
    assert "1 stopped" in text
    assert "stopped by SIGINT; the same command goes on from there" in text
    assert "Traceback" not in text
    assert attempt(folder, 1)["stopped"] == {"by": "SIGTERM", "checkpoint": place}
    assert not (the_run(folder) / "status.json").exists()
    status = status_json(folder, capsys, monkeypatch)
    assert status["states"] == {"started": 1}
    assert status["started"] == {the_run(folder).name: place}

    second = start(folder, "long", "--only", "missing")
    wait_for(lambda: saved_steps(folder)[-1] > step)
    second.send_signal(signal.SIGTERM)  # as a scheduler does
    code, text = finish(second)
    assert code == 143, text
    assert f"goes on from step {step} of 400000" in text
    assert "count" not in text.split("goes on from")[1]  # nothing is computed twice
    assert {name: attempt(folder, 2)["resumed"][name] for name in place} == place
    assert attempt(folder, 2)["resumed"]["made_by"]["attempt"] == 1
    lines = (the_run(folder) / "history.jsonl").read_text().splitlines()
    epochs = saved_steps(folder)[-1] // 4
    assert [json.loads(line)["epoch"] for line in lines] == list(range(1, epochs + 1))


@pytest.mark.slow
def test_a_killed_command_leaves_a_saved_run_and_a_second_ctrl_c_leaves_at_once(folder: Path) -> None:
    first = start(folder, "long")
    wait_for(lambda: saved_steps(folder))
    training = training_process(first.pid)
    assert training is not None
    first.kill()
    finish(first)
    wait_for(lambda: not is_alive(training))
    stopped = attempt(folder, 1)["stopped"]
    assert stopped["by"] == "the end of the command that started it"
    assert stopped["checkpoint"]["step"] == saved_steps(folder)[-1]

    second = start(folder, "long")
    wait_for(lambda: saved_steps(folder)[-1] > stopped["checkpoint"]["step"])
    training = training_process(second.pid)
    assert training is not None
    os.kill(training, signal.SIGSTOP)  # a step that never ends
    second.send_signal(signal.SIGINT)
    assert second.stdout is not None
    for line in second.stdout:
        if re.search("Ctrl-C again leaves at once", line):
            break
    assert is_alive(training)
    time.sleep(ONE_CTRL_C + 0.1)
    second.send_signal(signal.SIGINT)
    code, text = finish(second)
    assert code == 130
    assert "the same command goes on from there" in text
    assert "Traceback" not in text
    wait_for(lambda: not is_alive(training))
    assert not (the_run(folder) / "status.json").exists()
    assert saved_steps(folder)

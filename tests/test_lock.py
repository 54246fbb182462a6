"""A lease is held by one process. All holders are real processes.

A file system that two machines share, without knowing of each other's locks, is played by a flock that always succeeds
and by another name of the machine.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from bench import lock
from bench.cli import main
from bench.lock import LOST, LostLeaseError, lease

HOLD = """
import sys
from pathlib import Path
from bench import lock
folder, machine = Path(sys.argv[1]), sys.argv[2]
lock.BEAT = 0.1
if machine:
    lock.MACHINE, lock.fcntl.flock = machine, lambda *_: None
with lock.lease(folder) as held:
    print(held is not None, flush=True)
    for line in sys.stdin:
        held.check()
        print("still mine", flush=True)
"""


@contextmanager
def holder(folder: Path, machine: str = "") -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the folder until its standard input is closed."""
    command = [sys.executable, "-c", HOLD, str(folder), machine]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        try:
            yield process
        finally:
            process.kill()


def leave(process: subprocess.Popen[str]) -> int:
    assert process.stdin is not None
    process.stdin.close()
    return process.wait(20)


def can_take(folder: Path) -> bool:
    with lease(folder) as held:
        return held is not None


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is on another machine, which knows nothing of the holder's locks, and is not patient."""
    monkeypatch.setattr(lock, "MACHINE", "this")
    monkeypatch.setattr(lock.fcntl, "flock", lambda *_: None)
    monkeypatch.setattr(lock, "EXPIRY", 1.0)
    monkeypatch.setattr(lock, "WATCH", 0.02)


def test_a_live_holder_keeps_it_and_a_dead_one_does_not(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        assert not can_take(tmp_path)
        process.kill()
        process.wait()
        start = time.monotonic()
        assert can_take(tmp_path)
        assert time.monotonic() - start < 1  # at once: the kernel knows that it is dead
    assert list(tmp_path.iterdir()) == []


def test_who_leaves_leaves_nothing_behind(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        assert leave(process) == 0
    assert list(tmp_path.iterdir()) == []
    assert can_take(tmp_path)


def test_two_holders_in_one_process_exclude_each_other(tmp_path: Path) -> None:
    with lease(tmp_path) as first, lease(tmp_path) as second:
        assert first is not None
        assert second is None


def test_a_stopped_holder_on_this_machine_is_not_robbed(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGSTOP)
        assert not can_take(tmp_path)
        process.send_signal(signal.SIGCONT)
        assert leave(process) == 0


@pytest.mark.usefixtures("elsewhere")
def test_a_holder_of_another_machine_that_beats_keeps_it(tmp_path: Path) -> None:
    with holder(tmp_path, machine="that") as process:
        assert not can_take(tmp_path)
        assert leave(process) == 0


@pytest.mark.usefixtures("elsewhere")
def test_a_holder_of_another_machine_that_beats_no_more_is_taken_over_and_ends_when_it_wakes(tmp_path: Path) -> None:
    with holder(tmp_path, machine="that") as process:
        process.send_signal(signal.SIGSTOP)
        start = time.monotonic()
        with lease(tmp_path) as held:
            assert held is not None
            assert time.monotonic() - start >= 1.0
            process.send_signal(signal.SIGCONT)
            assert process.wait(20) == LOST
            held.check()
    assert list(tmp_path.iterdir()) == []


def test_who_was_taken_over_is_told_before_it_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT", 3600)  # it does not find out by itself
    with lease(tmp_path) as held:
        assert held is not None
        held.check()
        (tmp_path / ".lock-2").touch()
        with pytest.raises(LostLeaseError, match="taken over"):
            held.check()
        (tmp_path / ".lock-2").unlink()
        (tmp_path / ".lock-1").write_text("another that 000000000000\n")
        with pytest.raises(LostLeaseError):
            held.check()
    assert [path.name for path in tmp_path.iterdir()] == [".lock-1"]  # another's is not removed


def test_a_holder_whose_folder_is_removed_ends(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with holder(folder) as process:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        assert process.wait(20) == LOST


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("content", ["", "\0\0\0", "one two three four"])
def test_a_file_that_says_nothing_is_watched_and_then_taken(tmp_path: Path, content: str) -> None:
    (tmp_path / ".lock-7").write_text(content)
    start = time.monotonic()
    assert can_take(tmp_path)
    assert time.monotonic() - start >= 1.0


@pytest.mark.usefixtures("elsewhere")
def test_who_looked_before_the_last_two_holders_does_not_rob_the_present_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While we watched a dead lease, another took it over and left, and a third began anew."""
    (tmp_path / ".lock-1").write_text("dead that 000000000001\n")

    def meanwhile(path: Path, _seen: object) -> bool:
        path.write_text("alive third 000000000001\n")
        return False

    monkeypatch.setattr(lock, "_beats", meanwhile)
    assert not can_take(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".lock-1"]


def test_a_forked_child_does_not_hold_on_to_the_lock(tmp_path: Path) -> None:
    """A loader's worker outlives a killed run by seconds."""
    forks = "    import os, time\n    print(os.fork() or time.sleep(60), flush=True)\n"
    script = HOLD.replace("    for line", f"{forks}    for line")
    command = [sys.executable, "-c", script, str(tmp_path), ""]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        child = int(process.stdout.readline())
        process.kill()
        process.wait()
        try:
            assert any(can_take(tmp_path) or time.sleep(0.1) for _ in range(100))  # it lets go once it is scheduled
        finally:
            os.kill(child, signal.SIGKILL)


CONTEND = """
import os, random, sys, time
from pathlib import Path
from bench import lock
folder, machine, turns = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
lock.BEAT, lock.WATCH, lock.EXPIRY = 0.1, 0.02, 3.0
if machine:
    lock.MACHINE, lock.fcntl.flock = machine, lambda *_: None
while turns:
    with lock.lease(folder) as held:
        if held is not None:
            turns -= 1
            alone = folder / "alone"
            os.close(os.open(alone, os.O_CREAT | os.O_EXCL))  # fails where two are inside
            time.sleep(random.random() / 100)
            held.check()
            alone.unlink()
            with open(folder / "log", "a") as log:
                log.write("x")
    time.sleep(random.random() / 100)
"""


@pytest.mark.parametrize("network", [False, True])
def test_twenty_processes_are_never_inside_together(tmp_path: Path, network: bool) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", CONTEND, str(tmp_path), f"machine{n}" if network else "", "3"])
        for n in range(20)
    ]
    assert [process.wait(120) for process in processes] == [0] * 20
    assert (tmp_path / "log").read_text() == "x" * 60
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log"]


def test_who_opened_the_file_of_a_holder_that_left_does_not_rob_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between our opening of a lease and our lock on it, its holder leaves and another takes the same generation."""
    with holder(tmp_path) as first, ExitStack() as stack:
        locks = lock._lock

        def meanwhile(descriptor: int) -> bool | None:
            monkeypatch.setattr(lock, "_lock", locks)
            assert leave(first) == 0
            stack.enter_context(holder(tmp_path))
            return locks(descriptor)

        monkeypatch.setattr(lock, "_lock", meanwhile)
        assert not can_take(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [".lock-1"]


def test_a_command_that_lost_a_folder_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lost(_options: object) -> int:
        raise LostLeaseError("results/run was removed")

    monkeypatch.setattr("bench.commands.report.report", lost)
    assert main(["report"]) == 2
    assert capsys.readouterr().err == "bench: results/run was removed\n"

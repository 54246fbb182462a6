"""The process of a run whose fork server has died: nobody tells how it ends, but it is at work until its pipe ends."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.execute.child import UNKNOWN, Child
from bench.execute.ending import settle
from bench.execute.local import ORPHANED, _status
from bench.lock import LostLeaseError
from bench.store import Store
from tests.test_store import SPEC


class Started:
    """What stands for a process: another one that does live, the pipe it would write to, and the code we are told."""

    def __init__(self) -> None:
        self.alive = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        self.pid, self.exitcode, self.told = self.alive.pid, None, None
        self.sentinel, self._end = multiprocessing.Pipe(duplex=False)
        self.says: Any = None

    def __call__(self, target: object, args: tuple[Any, ...], name: str) -> Started:
        self.says, self.prints = (connection.dup for connection in map(Kept, args[:2]))
        return self

    def start(self) -> None:
        pass

    def terminate(self) -> None:  # as multiprocessing: nothing is sent to a process whose code is known
        pass

    kill = terminate


class Kept:
    """A connection that outlives its closing by the parent."""

    def __init__(self, connection: Any) -> None:
        import os
        from multiprocessing.connection import Connection

        self.dup = Connection(os.dup(connection.fileno()), readable=False)


@pytest.fixture
def started() -> Iterator[Started]:
    one = Started()
    yield one
    one.alive.kill()
    one.alive.wait()


@pytest.fixture
def child(started: Started) -> Child:
    cell: Any = SimpleNamespace(spec=SPEC)
    return Child(SimpleNamespace(Pipe=multiprocessing.Pipe, Process=started), cell, {})


def end(started: Started) -> None:
    started.alive.kill()
    started.alive.wait()
    started.says.close()
    started.prints.close()


def test_a_run_whose_fork_server_died_is_heard_until_its_end(child: Child, started: Started, tmp_path: Path) -> None:
    started.exitcode = UNKNOWN
    assert list(child.take()) == []
    assert not child.over
    assert started.sentinel not in child.sources()  # it is ready for ever: waiting for it would be no waiting
    started.says.send({"kind": "attempt", "number": 1})
    assert [message["kind"] for message in child.take()] == ["attempt"]
    end(started)
    assert list(child.take()) == []
    assert child.over
    store = Store(tmp_path)
    store.write_attempt(SPEC.run_id, store.begin(SPEC), {"schema_version": 1, "number": 1})
    status = _status(child, store)
    assert status is not None
    assert (status.state, status.reason, status.attempt) == ("failed", ORPHANED, 1)


def test_it_is_still_asked_to_leave_and_what_it_saved_is_no_failure(
    child: Child, started: Started, tmp_path: Path
) -> None:
    started.exitcode = UNKNOWN
    list(child.take())
    started.says.send({"kind": "attempt", "number": 1})
    started.says.send({"kind": "stopped", "by": "SIGTERM", "place": None})
    list(child.take())
    child.terminate()
    assert started.alive.wait(20) == -15
    end(started)
    list(child.take())
    assert child.over
    assert _status(child, Store(tmp_path)) is None
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_itself_ends_with_that_code_is_over(child: Child, started: Started) -> None:
    started.alive.kill()
    started.alive.wait()
    started.exitcode = UNKNOWN
    list(child.take())
    assert child.over
    assert not child.orphaned


def test_a_run_that_is_taken_over_while_it_is_settled_is_left_to_its_taker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> None:
        raise LostLeaseError("taken over")

    monkeypatch.setattr(Store, "finish", lost)
    assert settle(SPEC, Store(tmp_path), -9, None, ()) is None

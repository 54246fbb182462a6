"""What the driver does with what becomes of its tasks: a Ray of our own in this process, which loses workers on order.
The real one is in test_ray_cluster.py.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="Ray is not installed: the extra `ray`")

from ray.exceptions import NodeDiedError, RayError, RayTaskError, WorkerCrashedError

import bench.execute.cluster.driver as cluster
from bench.cell import Cell
from bench.data.catalog import DataRoots
from bench.errors import UserError
from bench.execute.cluster import node, transfer
from bench.execute.cluster.connection import Resources
from bench.execute.cluster.mailbox import Mailbox
from bench.execute.cluster.node import Outcome, Request
from bench.execute.local import Machine
from bench.lock import BEAT, EXPIRY
from bench.record import Status
from bench.store import Store
from tests.finished import finished
from tests.specs import spec_of_size

ROOM = 2
MACHINE = Machine(device="cpu", jobs=1, threads=1, keep_weights=False, checkpoint_minutes=1, stall_s=60)


@dataclass(frozen=True)
class Value:
    """A call that has ended: a reference to what it gave."""

    value: Any


class Task:
    """A reference to the result of a run's task."""

    def __init__(self, request: Request) -> None:
        self.request, self.run_id, self.was_cancelled = request, request.cell.spec.run_id, False
        self.result: Outcome | Exception | None = None


Play = Callable[[Task, Mailbox], Outcome]  # what becomes of a task that may start


class OurRay:
    """Tasks end one after another, each time it is waited: as `play` says of a task that the driver let begin."""

    def __init__(self, play: Play) -> None:
        self.play, self.tasks, self.now, self.mailbox = play, list[Task](), 0.0, Mailbox()
        self.most = 0

    def remote(self, **_options: Any) -> Callable[[Any], Any]:
        return lambda what: Remote(self, what)

    def wait(self, given: list[Any], timeout: float, num_returns: int = 1) -> tuple[list[Any], list[Any]]:
        self.now += timeout
        self.most = max(self.most, len(given))
        for task in given[:num_returns]:
            try:
                may = self.mailbox.begin(task.run_id, "node 1")
                task.result = self.play(task, self.mailbox) if may else Outcome(begun=False)
            except Exception as error:
                task.result = error
        return given[:num_returns], given[num_returns:]

    def get(self, what: Any) -> Any:
        if isinstance(what, Value):
            if isinstance(what.value, RayError):
                raise what.value
            return what.value
        if isinstance(what.result, Exception):
            raise what.result
        return what.result

    def cancel(self, task: Task) -> None:
        task.was_cancelled = True

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Remote:
    def __init__(self, ray: OurRay, what: Any) -> None:
        self.ray, self.what = ray, what

    def options(self, **_options: Any) -> Remote:
        return self

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.ray.mailbox, name)
        return type("Method", (), {"remote": staticmethod(lambda *given: Value(method(*given)))})

    def remote(self, *given: Any) -> Any:
        if self.what is Mailbox:
            return self
        if self.what is not node.execute:
            try:
                return Value(self.what(*given))
            except RayError as error:
                return Value(error)
        self.ray.tasks.append(Task(given[0]))
        return self.ray.tasks[-1]


class Driven:
    """The runs of seeds 0, 1, … driven to their end; `heard`: (seed, message)."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, play: Play) -> None:
        self.store, self.ray = Store(tmp_path / "results"), OurRay(play)
        self.heard: list[tuple[int, dict[str, Any]]] = []
        monkeypatch.setattr(cluster, "ray", self.ray)
        monkeypatch.setattr(cluster.connection, "room", lambda resources: ROOM)
        monkeypatch.setattr(cluster.connection, "here", lambda: None)
        monkeypatch.setattr(cluster.connection, "on", lambda node: None)
        monkeypatch.setattr(cluster.connection, "disconnect", lambda: None)
        monkeypatch.setattr(cluster.time, "monotonic", lambda: self.ray.now)
        monkeypatch.setattr(cluster.time, "sleep", self.ray.sleep)

    def run(self, seeds: int, fail_fast: bool = False) -> str | None:
        spec = spec_of_size("24x30")
        cells = [Cell(spec.model_copy(update={"seed": seed}), None) for seed in range(seeds)]
        given = cluster.Cluster(Resources(1, 0), MACHINE, DataRoots())
        return cluster.execute_all(cells, self.store, given, self.hear, fail_fast).by

    def hear(self, cell: Cell, message: dict[str, Any]) -> None:
        self.heard.append((cell.spec.seed, message))

    def ends(self) -> dict[int, Any]:
        """The state of each run that ended; None where another process has it, 'stopped'."""
        found = [(seed, message) for seed, message in self.heard if message["kind"] == "end"]
        assert len(dict(found)) == len(found), "a run ended twice"
        states = {}
        for seed, message in found:
            states[seed] = "stopped" if message["stopped"] else message["status"] and message["status"].state
        return states

    def given(self, seed: int) -> int:
        """How often a run was."""
        return sum(task.request.cell.spec.seed == seed for task in self.ray.tasks)


def ended(task: Task, state: str = "done") -> Outcome:
    reason = None if state == "done" else "r"
    return Outcome(True, Status.model_validate({"run_id": task.run_id, "state": state, "attempt": 1, "reason": reason}))


def test_every_run_is_given_once_and_no_more_than_twice_the_room_at_a_time(tmp_path: Path, monkeypatch: Any) -> None:
    driven = Driven(tmp_path, monkeypatch, lambda task, mailbox: ended(task))
    assert driven.run(20) is None
    assert driven.ends() == dict.fromkeys(range(20), "done")
    assert len(driven.ray.tasks) == 20
    assert driven.ray.most == 2 * ROOM
    kinds = [message["kind"] for seed, message in driven.heard if seed == 7]
    assert kinds == ["phase", "end"]
    assert list(driven.store.root.iterdir()) == []  # the probe is gone


def test_a_lost_worker_costs_nothing_but_time(tmp_path: Path, monkeypatch: Any) -> None:
    lost = {1: 3, 2: 1}

    def play(task: Task, mailbox: Mailbox) -> Outcome:
        seed = task.request.cell.spec.seed
        if lost.get(seed, 0):
            lost[seed] -= 1
            raise WorkerCrashedError
        return ended(task)

    driven = Driven(tmp_path, monkeypatch, play)
    driven.run(4)
    assert driven.ends() == dict.fromkeys(range(4), "done")
    assert [driven.given(seed) for seed in range(4)] == [1, 4, 2, 1]
    told = [message for seed, message in driven.heard if message["kind"] == "lost" and seed == 1]
    assert [(message["times"], message["of"], message["why"]) for message in told] == [
        (times, 3, "a crash of the worker") for times in (1, 2, 3)
    ]


def test_a_run_whose_worker_gets_lost_a_fourth_time_has_failed(tmp_path: Path, monkeypatch: Any) -> None:
    def play(task: Task, mailbox: Mailbox) -> Outcome:
        if task.request.cell.spec.seed == 1:
            mailbox.bring(task.run_id, [{"kind": "attempt", "number": 1}])
            raise NodeDiedError("gone")
        return ended(task)

    driven = Driven(tmp_path, monkeypatch, play)
    driven.run(3)
    assert driven.ends() == {0: "done", 1: "failed", 2: "done"}
    assert driven.given(1) == 4
    (run_id,) = driven.store.run_ids()
    record = driven.store.record(run_id)
    assert record.status.reason == "its worker got lost 4 times, the last time by the loss of its node"


def test_a_run_that_is_held_is_asked_for_until_a_lease_would_have_run_out(tmp_path: Path, monkeypatch: Any) -> None:
    """Seed 1's holder leaves after 20 seconds, seed 2's never."""
    driven = Driven(tmp_path, monkeypatch, lambda task, mailbox: Outcome(True))

    def play(task: Task, mailbox: Mailbox) -> Outcome:
        seed = task.request.cell.spec.seed
        is_held = seed == 2 or (seed == 1 and driven.ray.now < 20)
        return Outcome(True) if is_held else ended(task)

    driven.ray.play = play
    driven.run(3)
    assert driven.ends() == {0: "done", 1: "done", 2: None}
    assert EXPIRY + BEAT < driven.ray.now < EXPIRY + 3 * BEAT
    assert 3 < driven.given(1) < 6
    assert driven.given(2) <= (EXPIRY + BEAT) / BEAT + 2  # not in a busy loop


def test_a_run_that_leaves_unasked_is_given_again(tmp_path: Path, monkeypatch: Any) -> None:
    """As where its node is shut down."""
    left = [2]

    def play(task: Task, mailbox: Mailbox) -> Outcome:
        if task.request.cell.spec.seed in left:
            left.clear()
            return Outcome(True, None, stopped=True)
        return ended(task)

    driven = Driven(tmp_path, monkeypatch, play)
    driven.run(4)
    assert driven.ends() == dict.fromkeys(range(4), "done")
    assert [driven.given(seed) for seed in range(4)] == [1, 1, 2, 1]


@pytest.mark.parametrize("lost_at", ["piece", "discard", None])
def test_a_record_is_fetched_and_a_node_that_is_lost_meanwhile_costs_a_run_only_before_it_is_whole(
    tmp_path: Path, monkeypatch: Any, lost_at: str | None
) -> None:
    elsewhere, folders = Store(tmp_path / "elsewhere"), []
    if lost_at is not None:
        works = getattr(transfer, lost_at)

        def lose(*given: Any) -> Any:
            monkeypatch.setattr(transfer, lost_at, works)
            raise NodeDiedError("gone")

        monkeypatch.setattr(transfer, lost_at, lose)

    def play(task: Task, mailbox: Mailbox) -> Outcome:
        spec = task.request.cell.spec
        record = finished(elsewhere, 0.5, **{name: getattr(spec, name) for name in ("size", "seed", "val_hash")})
        assert record.spec == spec
        folders.append(record.folder)
        return Outcome(True, record.status, record=transfer.remote_record("n", record.folder))

    driven = Driven(tmp_path, monkeypatch, play)
    driven.run(1)
    assert driven.ends() == {0: "done"}
    assert driven.given(0) == (2 if lost_at == "piece" else 1)
    (run_id,) = driven.store.run_ids()
    assert driven.store.record(run_id).metrics is not None
    assert folders[-1].exists() == (lost_at == "discard")


def test_a_record_that_cannot_be_read_on_its_node_costs_its_run_and_no_other(tmp_path: Path, monkeypatch: Any) -> None:
    """As where the node's disk fails, or its /tmp was emptied."""

    def lose(*_given: Any) -> Any:
        raise RayTaskError("piece", "trace", FileNotFoundError("metrics.json"))

    def play(task: Task, mailbox: Mailbox) -> Outcome:
        record = (
            transfer.RemoteRecord("n", tmp_path, {"metrics.json": "0" * 64})
            if task.request.cell.spec.seed == 1
            else None
        )
        return replace(ended(task), record=record)

    monkeypatch.setattr(transfer, "piece", lose)
    driven = Driven(tmp_path, monkeypatch, play)
    driven.run(3)
    assert driven.ends() == {0: "done", 1: "failed", 2: "done"}
    told = {message["why"] for _, message in driven.heard if message["kind"] == "lost"}
    assert told == {"a damaged record (metrics.json cannot be read there: FileNotFoundError)"}


def test_that_no_node_has_room_any_more_is_said_once(tmp_path: Path, monkeypatch: Any) -> None:
    driven = Driven(tmp_path, monkeypatch, lambda task, mailbox: ended(task))
    rooms = iter([2, 2, 0, 0, 0, 2])
    monkeypatch.setattr(cluster.connection, "room", lambda resources: next(rooms, 2))
    driven.run(8)
    assert driven.ends() == dict.fromkeys(range(8), "done")
    said = [message["phase"] for _, message in driven.heard if "no node is left" in message.get("phase", "")]
    assert said == ["waiting: no node is left that has room for a run"]


def test_with_fail_fast_nothing_starts_after_a_failure(tmp_path: Path, monkeypatch: Any) -> None:
    driven = Driven(tmp_path, monkeypatch, lambda task, mailbox: ended(task, "failed"))
    driven.run(20, fail_fast=True)
    assert driven.ends() == {0: "failed"}
    assert all(task.was_cancelled for task in driven.ray.tasks[1:])
    assert len(driven.ray.tasks) == 2 * ROOM


def test_a_signal_stops_what_runs_and_starts_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    def play(task: Task, mailbox: Mailbox) -> Outcome:
        if task.request.cell.spec.seed < 2:
            return ended(task)
        assert mailbox.bring(task.run_id, []) is False
        os.kill(os.getpid(), signal.SIGTERM)  # while this run is at work
        driven.ray.play = leave
        return Outcome(True, None, stopped=True)

    def leave(task: Task, mailbox: Mailbox) -> Outcome:
        raise AssertionError("it began after the signal")

    driven = Driven(tmp_path, monkeypatch, play)
    assert driven.run(10) == "SIGTERM"
    assert driven.ends() == {0: "done", 1: "done", 2: "stopped"}
    assert driven.ray.mailbox.bring("any", []) is True


def test_what_the_user_can_put_right_on_a_node_ends_the_command_in_one_line(tmp_path: Path, monkeypatch: Any) -> None:
    def play(task: Task, mailbox: Mailbox) -> Outcome:
        if task.request.cell.spec.seed == 1:
            raise RayTaskError("execute", "trace", UserError("node 1: it has torch 1.0, this command 2.0"))
        return ended(task)

    driven = Driven(tmp_path, monkeypatch, play)
    with pytest.raises(UserError, match=r"^node 1: it has torch 1\.0, this command 2\.0$"):
        driven.run(10)
    assert driven.ray.mailbox.bring("any", []) is True  # the others save and leave
    assert list(driven.store.root.iterdir()) == []


def test_an_error_in_a_task_is_not_hidden(tmp_path: Path, monkeypatch: Any) -> None:
    def play(task: Task, mailbox: Mailbox) -> Outcome:
        raise RayTaskError("execute", "trace", ZeroDivisionError())

    with pytest.raises(RayTaskError):
        Driven(tmp_path, monkeypatch, play).run(1)

"""A run's channel to the driver: what it says arrives in order, and a stop arrives as a signal."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("ray", reason="Ray is not installed: the extra `ray`")

from ray.exceptions import RayActorError

import bench.execute.cluster.mailbox as mailbox
from bench.cell import Cell
from bench.execute.cluster.mailbox import Channel, Mailbox
from bench.record import Status
from tests.specs import spec_of_size

CELL = Cell(spec_of_size("24x30"), None)
END = Status(run_id=CELL.spec.run_id, state="done", attempt=1)


class Actor:
    """A mailbox in this process, called as Ray's actors are; `gone`: with its driver."""

    def __init__(self) -> None:
        self.mailbox, self.gone, self.callers = Mailbox(), False, set[int | None]()

    def __getattr__(self, name: str) -> Any:
        def call(*given: Any) -> Any:
            self.callers.add(threading.current_thread().ident)
            if self.gone:
                raise RayActorError
            return getattr(self.mailbox, name)(*given)

        return type("Method", (), {"remote": staticmethod(call)})


@pytest.fixture
def actor(monkeypatch: pytest.MonkeyPatch) -> Actor:
    monkeypatch.setattr(mailbox, "EVERY", 0.01)
    monkeypatch.setattr(mailbox.ray, "get", lambda value: value)
    return Actor()


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """The signals that reached this process's main thread."""
    numbers: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: numbers.append(number))
    yield numbers
    signal.signal(signal.SIGTERM, before)


def wait_for(what: Any) -> None:
    until = time.monotonic() + 20
    while not what():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_all_that_is_said_arrives_in_order_and_the_end_stays(actor: Actor) -> None:
    channel = Channel(actor, "a")
    assert channel.begin("node 1")
    with channel:
        for step in range(100):
            channel.hear(CELL, {"kind": "step", "step": step})
        channel.hear(CELL, {"kind": "stopping"})
        channel.hear(CELL, {"kind": "end", "status": END, "stopped": False})
    assert actor.mailbox.take() == [
        ("a", {"kind": "begin", "where": "node 1"}),
        *(("a", {"kind": "step", "step": step}) for step in range(100)),
    ]
    assert actor.mailbox.take() == []
    assert (channel.status, channel.stopped) == (END, False)
    assert threading.main_thread().ident not in actor.callers  # Ray would give the processor away meanwhile


def test_nothing_begins_after_the_post_has_closed(actor: Actor) -> None:
    actor.mailbox.close()
    assert not Channel(actor, "a").begin("node 1")
    assert actor.mailbox.take() == []


@pytest.mark.parametrize("gone", [False, True])
def test_a_stop_or_a_driver_that_is_gone_is_one_signal_once_the_run_hears(
    actor: Actor, heard: list[int], gone: bool
) -> None:
    actor.mailbox.stop()
    actor.gone = gone
    channel = Channel(actor, "a")
    with channel:
        time.sleep(0.1)
        assert heard == []  # nobody is there who could leave in order
        channel.hear(CELL, {"kind": "phase", "phase": "build"})
        wait_for(lambda: heard)
        time.sleep(0.1)
        channel.hear(CELL, {"kind": "end", "status": None, "stopped": True})
    assert heard == [signal.SIGTERM]
    assert channel.stopped


def test_after_the_end_nothing_is_signalled(actor: Actor, heard: list[int]) -> None:
    with Channel(actor, "a") as channel:
        channel.hear(CELL, {"kind": "phase", "phase": "build"})
        channel.hear(CELL, {"kind": "end", "status": END, "stopped": False})
        actor.mailbox.stop()
        time.sleep(0.1)
    assert heard == []


def test_a_preparation_leaves_where_it_is(actor: Actor, heard: list[int]) -> None:
    channel = Channel(actor, "a")
    with channel:
        with channel.interrupts() as stop:
            actor.mailbox.stop()
            time.sleep(20)
            raise AssertionError("it went on")
        assert stop.by == "SIGTERM"
    assert channel.stopped
    assert heard == []  # the block's own handler took it
    assert actor.mailbox.take() == [("a", {"kind": "stopped", "by": "SIGTERM", "place": None})]


def test_a_preparation_that_fails_says_so(actor: Actor, heard: list[int]) -> None:
    channel = Channel(actor, "a")
    with channel, pytest.raises(ZeroDivisionError), channel.interrupts():
        raise ZeroDivisionError
    assert not channel.stopped
    signal.raise_signal(signal.SIGTERM)
    assert heard == [signal.SIGTERM]  # as before the block

"""What a signal does while runs are executed: they save and leave; a Ctrl-C more than a second later leaves at once."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from bench.stop import Stop

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ONE_CTRL_C = 1.0  # seconds: what starts a command (`timeout`, `uv run`) passes on a Ctrl-C that has reached it already


class Process(Protocol):
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


@contextmanager
def passed_on(running: Sequence[Process]) -> Iterator[Stop]:
    """Passes a signal on to the processes of `running` as SIGTERM, and yields what tells that it came.

    A Ctrl-C after that kills them and raises KeyboardInterrupt. SIGTERM and SIGHUP may come together, when a session
    ends: a second one of these does nothing more. What this process was started to ignore, it goes on to ignore.
    """
    stop, asked = Stop(), list[float]()

    def handle(number: int, _frame: FrameType | None) -> None:
        asked.append(time.monotonic())
        if number == signal.SIGINT and asked[-1] - asked[0] > ONE_CTRL_C:
            for process in running:
                process.kill()
            raise KeyboardInterrupt
        stop.ask(signal.Signals(number).name)
        for process in running:
            process.terminate()

    before = {number: signal.getsignal(number) for number in SIGNALS}
    heard = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in heard:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number in heard:
            signal.signal(number, before[number])


@contextmanager
def unheard() -> Iterator[None]:
    """What is started inside goes on with these signals blocked: they wait until a run can hear them.

    Ctrl-C reaches every process of a terminal, also one that is importing torch for others.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def hear(stop: Stop) -> None:
    """In the process of a run: it is the parent that hears Ctrl-C, and asks its runs to stop."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: stop.ask("SIGTERM"))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

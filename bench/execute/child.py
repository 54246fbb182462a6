"""The process of one run, as its parent sees it: what it says, what it prints, and whether it gets on."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

from bench.cell import Cell, trains_by_steps
from bench.execute.followers import forked_group
from bench.execute.log import SHOW, Log, print_into
from bench.execute.signals import hear
from bench.lock import LOST, LostLeaseError
from bench.stop import Stop, StoppedError

UNKNOWN = 255  # multiprocessing's exit code of a process whose fork server, which would tell how it ended, has died
SHOWING = 2.0  # seconds that a process has for printing where it hangs


class Child:
    """A started process. `attempt`: the number that it has given its attempt; `stopped`: it was asked to leave, and
    says that it does; `cause`: why we have killed it; `heard`: when it said something last; `orphaned`: it lives on
    although its fork server has died, so nobody will know how it ends.
    """

    def __init__(self, context: Any, cell: Cell, settings: dict[str, Any], processes: int = 1) -> None:
        self.cell = cell
        self.attempt: int | None = None
        self.stopped, self.over, self.orphaned = False, False, False
        self.cause: str | None = None
        messages, says = context.Pipe(duplex=False)
        output, prints = context.Pipe(duplex=False)
        self.log = Log(output)
        self.process = context.Process(
            target=_execute, args=(says, prints, cell, settings, processes), name=cell.spec.slug
        )
        self.process.start()  # waits until the fork server has imported all
        self.heard = time.monotonic()
        says.close()
        prints.close()
        self._messages = messages
        self._open = [messages, output]

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def sources(self) -> list[Any]:
        """What becomes ready when there is something to `take`."""
        return [*self._open] if self.orphaned else [*self._open, self.process.sentinel]

    def take(self) -> Iterator[dict[str, Any]]:
        """The messages that are there; sets `over` once the process has ended and nothing more can come."""
        ended = self.process.exitcode is not None
        while message := self._next():
            self.heard = time.monotonic()
            self.stopped = self.stopped or message["kind"] == "stopped"
            if message["kind"] == "attempt":
                self.attempt = message["number"]
            yield message
        if self.log.connection in self._open and not self.log.read():
            self._close(self.log.connection)
        if ended and not self.over and not self._lives_on():
            self.over = True
            for connection in tuple(self._open):
                self._close(connection)

    def end_stalled(self, seconds: float) -> None:
        """Has it print where it is, and kills it."""
        self.cause = f"no progress for {seconds / 60:g} minutes"
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, SHOW)
        until = time.monotonic() + SHOWING
        while (left := until - time.monotonic()) > 0 and wait([self.log.connection], left) and self.log.read():
            pass
        self.kill()

    def _lives_on(self) -> bool:
        """Whether the process of a dead fork server is still at work; the end of its pipe is then its own end."""
        if not self.orphaned and self.process.exitcode == UNKNOWN and _is_alive(self.process.pid):
            self.orphaned = True
        return self.orphaned and self._messages in self._open

    def _signal(self, number: int) -> None:
        if not self.orphaned:
            self.process.terminate() if number == signal.SIGTERM else self.process.kill()
        elif not self.over:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    def _next(self) -> dict[str, Any] | None:
        try:
            if self._messages in self._open and self._messages.poll():
                message: dict[str, Any] = self._messages.recv()
                return message
        except (EOFError, ConnectionResetError):
            self._close(self._messages)
        return None

    def _close(self, connection: Connection) -> None:
        self._open.remove(connection)
        connection.close()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _execute(says: Connection, prints: Connection, cell: Cell, settings: dict[str, Any], processes: int) -> None:
    stop = Stop()
    hear(stop)
    print_into(prints)
    from bench.job import job_of
    from bench.run import execute

    def send(message: dict[str, Any]) -> None:
        try:
            says.send(message)
        except BrokenPipeError:  # nobody listens any more
            stop.ask("the end of the command that started it")

    try:
        with forked_group(processes if trains_by_steps(cell.spec) else 1, settings["device"]) as group:
            execute(job_of(cell, **settings), send, stop, group)
    except StoppedError as stopped:
        send({"kind": "stopped", "by": stopped.by, "place": stopped.place})
    except LostLeaseError:
        sys.exit(LOST)

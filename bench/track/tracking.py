"""Runs in a tracker, as the command that executes them sees it: it passes on what it hears of them, and never waits.

The tracker has a process of its own, begun with the first message, so forked from the server that has torch imported:
this process needs no torch, and a tracker that raises, hangs or dies takes no run with it. So it is for every executor.
"""

from __future__ import annotations

import multiprocessing
import queue
import shlex
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.cell import Cell
from bench.execute.executor import Event
from bench.failure import reason_of
from bench.track.choices import TRACKERS, folder_of
from bench.track.writer import write_down

HEARD = ("attempt", "resumed", "step", "end")
MOST = 100_000  # messages that wait for a tracker: some 100 MB
PATIENCE = 120.0  # seconds for writing what is left when all runs have ended


@contextmanager
def tracked(name: str | None, results: Path, on_event: Event, say: Callable[[str], None]) -> Iterator[Event]:
    """`on_event`, which the tracker of that name hears, too; None: no tracker."""
    if name is None:
        yield on_event
        return
    say(f"tracked; to see it: {TRACKERS[name].show.format(folder=shlex.quote(str(folder_of(name, results))))}")
    with Tracking(name, results, say) as tracking:

        def both(cell: Cell, message: dict[str, Any]) -> None:
            on_event(cell, message)
            tracking.hear(cell, message)

        yield both


class Tracking:
    """A context manager; `hear` is told every event. `say`: prints a line, the first that goes wrong and no other."""

    def __init__(self, name: str, results: Path, say: Callable[[str], None]) -> None:
        self.name, self.results, self.say = name, results.resolve(), say
        self.folder = folder_of(name, results.absolute())
        self.said = False
        self.messages: queue.Queue[Any] = queue.Queue(MOST)
        self.process: Any = None

    def hear(self, cell: Cell, message: dict[str, Any]) -> None:
        if message["kind"] not in HEARD:
            return
        if self.process is None and not self.said:
            self._start()
        if self.process is not None:
            self._tell((cell.spec, message))
            self._say_complaints()

    def __enter__(self) -> Tracking:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self.process is None:
            return
        self._tell(None)
        try:
            self.process.join(0.0 if kind is KeyboardInterrupt else PATIENCE)
        finally:
            if self.process.is_alive():
                self.process.kill()  # it hears no other signal
                self._say("it did not come to its end")
        self._say_complaints()
        if self.process.exitcode:
            self._say(f"its process ended with exit code {self.process.exitcode}")

    def _start(self) -> None:
        context = multiprocessing.get_context("forkserver")
        self.connection, theirs = context.Pipe()
        arguments = (theirs, self.name, self.folder, self.results)
        process = context.Process(target=write_down, args=arguments, daemon=True, name="tracker")
        try:
            process.start()
        except (OSError, EOFError) as error:
            self._say(reason_of(error))
            return
        self.process = process
        theirs.close()
        threading.Thread(target=self._pass_on, daemon=True).start()

    def _tell(self, what: Any) -> None:
        try:
            self.messages.put_nowait(what)
        except queue.Full:  # it hangs, is too slow, or died long ago
            self._say("it does not keep up")
            self.process.kill()

    def _pass_on(self) -> None:
        """A connection is full when its reader hangs: this thread may wait for it."""
        try:
            while True:
                message = self.messages.get()
                self.connection.send(message)
                if message is None:
                    return
        except OSError:  # nobody hears it any more
            return

    def _say_complaints(self) -> None:
        try:
            while self.connection.poll():
                self._say(self.connection.recv())
        except (EOFError, OSError):
            if not self.process.is_alive() and self.process.exitcode:
                self._say(f"its process ended with exit code {self.process.exitcode}")

    def _say(self, what: str) -> None:
        if not self.said:
            self.said = True
            self.say(f"{self.name}: {what}; the runs go on, their records are whole")

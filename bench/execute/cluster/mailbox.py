"""Between the driver and the nodes of a Ray cluster: what the runs say, and that they are to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any

import ray
from ray.exceptions import RayError

from bench.cell import Cell
from bench.record import Status
from bench.stop import Stop, StoppedError

EVERY = 0.5  # seconds between two calls of a run at the mailbox

Message = dict[str, Any]


class Mailbox:
    """An actor beside the driver: with the driver it ends, and then its runs save and leave."""

    def __init__(self) -> None:
        self._box: list[tuple[str, Message]] = []
        self._closed = self._stopping = False

    def begin(self, run_id: str, where: str) -> bool:
        """Whether the run may start."""
        if not self._closed:
            self._box.append((run_id, {"kind": "begin", "where": where}))
        return not self._closed

    def bring(self, run_id: str, messages: list[Message]) -> bool:
        """Takes what a run says; whether it is to stop."""
        self._box.extend((run_id, message) for message in messages)
        return self._stopping

    def close(self) -> None:
        """From now on nothing starts."""
        self._closed = True

    def stop(self) -> None:
        """Those that run are to save and leave."""
        self._stopping = True

    def take(self) -> list[tuple[str, Message]]:
        """All that has come since the last time, in order."""
        box, self._box = self._box, []
        return box


class Channel:
    """A run's end of it, in the process that executes the run. While the block runs it carries messages, and passes a
    stop on as SIGTERM to the main thread, where that hears it: in `interrupts`, and while the run is at work.

    It calls from a thread: Ray takes a main thread that waits for an idle one, and gives its processor to another run.
    """

    def __init__(self, mailbox: Any, run_id: str) -> None:
        self._mailbox, self._run_id = mailbox, run_id
        self._box: list[Message] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._hears = self._told = False
        self._thread = threading.Thread(target=self._live, name="mailbox", daemon=True)
        self.status: Status | None = None
        self.stopped = False

    def begin(self, where: str) -> bool:
        with ThreadPoolExecutor(1) as apart:
            may: bool = apart.submit(lambda: ray.get(self._mailbox.begin.remote(self._run_id, where))).result()
        return may

    def hear(self, _cell: Cell, message: Message) -> None:
        """An executor's `on_event`. That all are to stop, and the end, are for the driver to say."""
        with self._lock:
            self._hears = message["kind"] != "end"
            if not self._hears:
                self.status, self.stopped = message["status"], message["stopped"]
            elif message["kind"] != "stopping":
                self._box.append(message)

    @contextmanager
    def interrupts(self) -> Iterator[Stop]:
        """Leaves the block where the run is to stop, and says so: it has nothing to save yet."""
        stop = Stop()

        def leave(_number: int, _frame: FrameType | None) -> None:
            stop.ask("SIGTERM")
            stop.check()

        before = signal.signal(signal.SIGTERM, leave)
        try:
            with suppress(StoppedError):
                try:
                    self._listen(True)
                    yield stop
                finally:
                    self._listen(False)
        finally:
            signal.signal(signal.SIGTERM, before)
        if stop.by is not None:
            self._box.append({"kind": "stopped", "by": stop.by, "place": None})
            self.stopped = True

    def _listen(self, hears: bool) -> None:
        with self._lock:
            self._hears = hears

    def __enter__(self) -> Channel:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _live(self) -> None:
        while not self._over.wait(EVERY):
            self._call()
        self._call()

    def _call(self) -> None:
        with self._lock:
            messages, self._box = self._box, []
        try:
            stopping: bool = ray.get(self._mailbox.bring.remote(self._run_id, messages))
        except RayError:
            stopping = True  # the driver has gone
        with self._lock:
            if stopping and self._hears and not self._told:
                self._told = True
                main = threading.main_thread().ident
                assert main is not None
                signal.pthread_kill(main, signal.SIGTERM)

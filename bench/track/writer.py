"""The tracker's process: it hears what the runs say and writes it down. What goes wrong here reaches no run."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TextIO

from bench.execute.signals import SIGNALS
from bench.failure import reason_of
from bench.spec import RunSpec
from bench.store import Store
from bench.track.curve import point_of, scores_of, settings_of
from bench.track.trackers import OPEN, Tracker, become_one_process

NOTHING = -1  # the last step of a run of which nothing is kept


def write_down(connection: Connection, name: str, folder: Path, results: Path) -> None:
    """Until None comes, or the end of the connection. What goes wrong is sent back, a line each."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # the parent ends this, when all runs have ended
    _print_nothing()
    _hear_warnings(connection.send)
    runs = Runs(name, folder, Store(results), connection.send)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        become_one_process()
        while (heard := connection.recv()) is not None:
            runs.hear(*heard)
    except EOFError:  # the parent was killed
        pass
    except Exception as error:
        connection.send(reason_of(error))
    runs.close()


class Runs:
    """Those that are executed now. A run of which something could not be written is tracked no further."""

    def __init__(self, name: str, folder: Path, store: Store, complain: Callable[[str], None]) -> None:
        self.open, self.folder, self.store, self.complain = OPEN[name], folder, store, complain
        self.after: dict[str, int] = {}  # the last step of each that is kept
        self.trackers: dict[str, Tracker] = {}

    def hear(self, spec: RunSpec, message: Mapping[str, Any]) -> None:
        try:
            self._hear(spec, message)
        except Exception as error:
            self.complain(f"{spec.run_id}: {reason_of(error)}")
            self.after.pop(spec.run_id, None)
            self.trackers.pop(spec.run_id, None)

    def close(self) -> None:
        for run_id in list(self.trackers):
            self._finish(run_id)

    def _hear(self, spec: RunSpec, message: Mapping[str, Any]) -> None:
        run_id, kind = spec.run_id, message["kind"]
        if kind == "attempt":
            self._finish(run_id)  # where a worker got lost, one attempt follows another
            self.after[run_id] = NOTHING
        elif run_id not in self.after:
            return
        elif kind == "resumed":
            self.after[run_id] = message["place"]["step"] if message["place"] else NOTHING
        elif kind == "step":
            self._log(spec, *point_of(message))
        elif kind == "end":
            if message["status"] is not None and message["status"].state == "done":
                for point in scores_of(self.store.record(run_id)):
                    self._log(spec, *point)
            self._finish(run_id)
            del self.after[run_id]

    def _log(self, spec: RunSpec, step: int, values: dict[str, float]) -> None:
        if spec.run_id not in self.trackers:
            self.trackers[spec.run_id] = self.open(spec.run_id, settings_of(spec), self.folder, self.after[spec.run_id])
        self.trackers[spec.run_id].log(values, step=step)

    def _finish(self, run_id: str) -> None:
        if tracker := self.trackers.pop(run_id, None):
            tracker.finish()


def _print_nothing() -> None:
    """trackio greets and takes leave of every run."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)


def _hear_warnings(complain: Callable[[str], None]) -> None:
    """trackio warns where it could not write."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if "trackio" in Path(filename).parts:
            complain(str(message))

    warnings.showwarning = show

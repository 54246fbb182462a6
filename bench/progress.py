"""How far a run is, for its parent; how long its phases took, for its record. No torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from bench.stop import Stop

REPORT_EVERY = 0.1  # seconds between two progress messages
TOTAL = "seconds_total"

Send = Callable[[dict[str, Any]], None]


class Reporter:
    """Sends progress to the parent, at most every REPORT_EVERY seconds, and always at the end of an epoch.

    Between two images, and between two phases, it raises StoppedError where the run was asked to leave; while it trains
    its Saver does.
    """

    def __init__(self, send: Send, stop: Stop) -> None:
        self.send, self.stop, self.phase, self.last = send, stop, "", 0.0

    def begin(self, phase: str) -> None:
        self.stop.check()
        self.phase = phase
        self.send({"kind": "phase", "phase": phase})

    def step(self, row: dict[str, Any]) -> None:
        if row["epoch_end"] or time.monotonic() - self.last > REPORT_EVERY:
            self.last = time.monotonic()
            self.send({"kind": "step", **row})

    def images(self, done: int, of: int) -> None:
        if done == of or time.monotonic() - self.last > REPORT_EVERY:
            self.last = time.monotonic()
            self.send({"kind": "images", "phase": self.phase, "done": done, "of": of})
        self.stop.check()


class Clock:
    """Seconds of the phases, for attempts/<n>.json: metrics and history hold nothing that differs between equal runs.

    Where an attempt goes on from a checkpoint, they count what led there, too: `go_on`. What a killed attempt did after
    its last checkpoint is in no sum.
    """

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.before = 0.0
        self.facts: dict[str, float] = {}
        self.running: dict[str, float] = {}  # phase -> when it began

    @contextmanager
    def time(self, phase: str, report: Reporter | None = None) -> Iterator[None]:
        if report is not None:
            report.begin(phase)
        self.running[phase] = time.monotonic()
        try:
            yield
        finally:
            self._add(f"seconds_{phase}", time.monotonic() - self.running.pop(phase))

    def go_on(self, reading: Mapping[str, float]) -> None:
        """Adds the reading that a checkpoint has."""
        self.before = reading[TOTAL]
        for name, seconds in reading.items():
            if name != TOTAL:
                self._add(name, seconds)

    def reading(self) -> dict[str, float]:
        """All phases, the running ones up to now, and the total."""
        now = time.monotonic()
        found = dict(self.facts)
        for phase, start in self.running.items():
            found[f"seconds_{phase}"] = round(found.get(f"seconds_{phase}", 0.0) + now - start, 3)
        return {**found, TOTAL: round(self.before + now - self.started, 3)}

    def _add(self, name: str, seconds: float) -> None:
        self.facts[name] = round(self.facts.get(name, 0.0) + seconds, 3)

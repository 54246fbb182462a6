"""Latency on a clock of our own: the statistics, how many passes there are, what tells of a busy machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.measure import latency
from bench.measure.cost_records import Latency
from bench.measure.latency import FEWEST, MOST, SECONDS, measure_latency


class Clock:
    """Wall and processor time that pass only in `forward`, by the next of `walls` and `work` times it."""

    def __init__(self, walls: Iterator[float], work: float) -> None:
        self.walls, self.work = walls, work
        self.wall = self.worked = 0.0

    def forward(self) -> None:
        passed = next(self.walls)
        self.wall += passed
        self.worked += self.work * passed


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch):
    def run(walls: Iterator[float], work: float = 1.0, load: float = 1.0, cores: int = 2) -> Latency:
        clock = Clock(walls, work)
        monkeypatch.setattr(latency.time, "perf_counter", lambda: clock.wall)
        monkeypatch.setattr(latency.time, "process_time", lambda: clock.worked)
        monkeypatch.setattr(latency.os, "getloadavg", lambda: (load, 9.0, 9.0))
        monkeypatch.setattr(latency.os, "sched_getaffinity", lambda _: set(range(cores)))
        return measure_latency(clock.forward, 1, "a processor")

    return run


def same(seconds: float) -> Iterator[float]:
    while True:
        yield seconds


def test_median_and_quartiles(measured) -> None:
    found = measured(iter([5.0, 1.0, 4.0, 2.0, 3.0]))
    assert (found.low_s, found.median_s, found.high_s) == pytest.approx((2.0, 3.0, 4.0))
    assert (found.repeats, found.threads, found.processor, found.device) == (5, 1, "a processor", "cpu")


def test_passes_fill_the_time_between_a_fewest_and_a_most(measured) -> None:
    assert measured(same(10.0)).repeats == FEWEST
    assert measured(same(SECONDS / 7.5)).repeats == 8
    assert measured(same(1e-4)).repeats == MOST


@pytest.mark.parametrize(
    ("work", "load", "cores", "shared"),
    [
        (1.0, 1.0, 2, False),
        (0.96, 1.0, 2, False),
        (0.9, 1.0, 2, True),  # it waited for a core
        (1.0, 1.6, 2, True),  # another program had most of a core of two
        (1.0, 1.6, 16, False),
        (1.0, 9.0, 16, True),
    ],
)
def test_a_busy_machine_is_told(measured, work: float, load: float, cores: int, shared: bool) -> None:
    found = measured(same(0.5), work, load, cores)
    assert found.waited == pytest.approx(1 - work)
    assert found.is_shared is shared

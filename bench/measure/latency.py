"""Wall time of a forward pass, with what tells whether the machine was busy with something else."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

from bench.measure.cost_records import Latency

SECONDS = 2.0  # of measuring, at least, where MOST passes do not fill them
FEWEST, MOST = 5, 100  # passes


def measure_latency(forward: Callable[[], object], threads: int, processor: str) -> Latency:
    """Repeats `forward`, which runs on `threads` threads of the CPU and has run before, until enough is known."""
    load = os.getloadavg()[0]
    start, worked = time.perf_counter(), time.process_time()
    times: list[float] = []
    while len(times) < FEWEST or (sum(times) < SECONDS and len(times) < MOST):
        before = time.perf_counter()
        forward()
        times.append(time.perf_counter() - before)
    wall, worked = time.perf_counter() - start, time.process_time() - worked
    low, median, high = statistics.quantiles(times, n=4, method="inclusive")
    return Latency(
        median_s=median,
        low_s=low,
        high_s=high,
        repeats=len(times),
        threads=threads,
        device="cpu",
        processor=processor,
        waited=min(1.0, max(0.0, 1 - worked / wall)),
        load=load,
        cores=len(os.sched_getaffinity(0)),
    )

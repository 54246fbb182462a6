"""One process a run on this machine: a crash in one leaves the others. Imports no torch in the parent.

A fork server imports torch once; each run is forked from it, so that a run costs no import of its own.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import wait
from typing import Any

from bench.cell import Cell
from bench.execute.child import Child
from bench.execute.ending import settle
from bench.execute.executor import Event
from bench.execute.signals import passed_on, unheard
from bench.record import Status
from bench.stop import Stop
from bench.store import Store
from models.registry import find

LOOK = 1.0  # seconds between two looks at who hangs
ORPHANED = "its process ended, and how is not known: the fork server had died before"
LEAVING = 120.0  # seconds that a run has for saving, where an error ends the command


@dataclass(frozen=True)
class Machine:
    """How runs are spread: `jobs` at a time, each by `processes` with `threads` threads, on `device`. `preload`:
    modules that the fork server imports beside those of the runs.
    """

    device: str
    jobs: int
    threads: int
    keep_weights: bool
    checkpoint_minutes: float
    stall_s: float  # without a word from a run, after which it counts as hanging
    processes: int = 1
    preload: tuple[str, ...] = ()


def execute_all(cells: Sequence[Cell], store: Store, machine: Machine, on_event: Event, fail_fast: bool) -> Stop:
    """Executes every cell, as an Executor does."""
    if not cells:
        return Stop()
    context = _fork_server(cells, machine)
    waiting, running, said = deque(cells), list[Child](), False
    with passed_on(running) as stop:
        try:
            while waiting or running:
                while waiting and len(running) < machine.jobs and stop.by is None:
                    _ensure_fork_server()
                    running.append(Child(context, waiting.popleft(), settings_of(store, machine), machine.processes))
                    if stop.by is not None:  # it came before the process was in the list
                        running[-1].terminate()
                for ended in _listen(running, on_event, machine.stall_s):
                    running.remove(ended)
                    status = _status(ended, store)
                    on_event(ended.cell, {"kind": "end", "status": status, "stopped": ended.stopped})
                    if fail_fast and status is not None and status.state != "done":
                        waiting.clear()
                if stop.by is not None and not said:
                    waiting.clear()
                    said = True
                    for child in [child for child in running if not child.stopped][:1]:
                        on_event(child.cell, {"kind": "stopping"})
        finally:
            for one in running:
                one.terminate()
            for one in running:
                one.process.join(LEAVING)
                one.kill()  # where it hangs, and does not hear
                one.process.join()
    return stop


def _fork_server(cells: Sequence[Cell], machine: Machine) -> Any:
    """Started, with torch and the networks of these runs imported; returns its multiprocessing context."""
    os.environ["OMP_NUM_THREADS"] = str(machine.threads)  # read when torch is imported, in the fork server
    # Threads that spin while they wait steal the core that the one they wait for needs: with a second busy process on
    # two cores a step of DETR took six times as long. Alone, Mask2Former pays up to half for sleeping, U-Net nothing.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    context = multiprocessing.get_context("forkserver")
    modules = ["bench.run", "bench.execute.preload", *networks_of(cells)]
    context.set_forkserver_preload([*machine.preload, *modules])
    _ensure_fork_server()
    return context


def networks_of(cells: Sequence[Cell]) -> list[str]:
    """The modules of their networks."""
    entries = [find(cell.spec.model) for cell in cells]
    return sorted({entry.builder.partition(":")[0] for entry in entries if entry.is_network})


def _ensure_fork_server() -> None:
    """Starts it, also in place of one that has died."""
    resource_tracker.ensure_running()  # it would unblock signals in the midst of the next
    with unheard():
        forkserver.ensure_running()


def settings_of(store: Store, machine: Machine) -> dict[str, Any]:
    """What a process is told of all runs alike."""
    return {
        "results": store.root.resolve(),
        "device": machine.device,
        "threads": machine.threads,
        "keep_weights": machine.keep_weights,
        "checkpoint_minutes": machine.checkpoint_minutes,
    }


def _listen(running: list[Child], on_event: Event, stall_s: float) -> list[Child]:
    """Waits for messages, passes them on, kills who hangs, and returns the runs whose process has ended."""
    start = time.monotonic()
    wait([source for child in running for source in child.sources()], LOOK)
    late = time.monotonic() - start - LOOK
    for child in running:
        if late > 0:  # this process was stopped itself, and its runs as well
            child.heard += late
        for message in child.take():
            on_event(child.cell, message)
        if child.cause is None and time.monotonic() - child.heard > stall_s:
            child.end_stalled(stall_s)
    return [child for child in running if child.over]


def _status(ended: Child, store: Store) -> Status | None:
    code, output = ended.process.exitcode, ended.log.tail()
    if ended.orphaned and ended.stopped:
        code = 0  # it left as it was asked to
    cause = ended.cause or (ORPHANED if ended.orphaned else None)
    return settle(ended.cell.spec, store, code, None if ended.stopped else ended.attempt, output, cause)


def count_gpus() -> int:
    """CUDA devices, asked of the driver: importing torch for that would take seconds."""
    import ctypes

    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value

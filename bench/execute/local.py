"""One process a run on this machine: a crash in one leaves the others. Imports no torch in the parent.

A fork server imports torch once; each run is forked from it, so that a run costs no import of its own.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from bench.plan import Cell
from bench.store import Status, Store
from models.registry import find

Event = Callable[[Cell, dict[str, Any]], None]


@dataclass(frozen=True)
class Machine:
    """How runs are spread: `jobs` at a time, each with `threads` threads, on `device`."""

    device: str
    jobs: int
    threads: int
    keep_weights: bool


@dataclass
class _Running:
    cell: Cell
    process: ForkServerProcess
    connection: Connection


def execute_all(cells: Sequence[Cell], store: Store, machine: Machine, on_event: Event, fail_fast: bool) -> None:
    """Executes every cell; `on_event` hears its progress and, last, {'kind': 'end', 'status': Status | None}.

    With `fail_fast` nothing new starts after a failure. On an interrupt the running processes are ended.
    """
    if not cells:
        return
    os.environ["OMP_NUM_THREADS"] = str(machine.threads)  # read when torch is imported, in the fork server
    # Threads that spin while they wait steal the core that the one they wait for needs: with a second busy process on
    # two cores a step of DETR took six times as long. Alone, Mask2Former pays up to half for sleeping, U-Net nothing.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    context = multiprocessing.get_context("forkserver")
    entries = [find(cell.spec.model) for cell in cells]
    networks = {entry.builder.partition(":")[0] for entry in entries if entry.is_network}
    context.set_forkserver_preload(["bench.run", *sorted(networks)])
    waiting, running = deque(cells), list[_Running]()
    try:
        while waiting or running:
            while waiting and len(running) < machine.jobs:
                running.append(_start(context, waiting.popleft(), store, machine))
            for ended in _listen(running, on_event):
                running.remove(ended)
                status = _status(ended, store)
                on_event(ended.cell, {"kind": "end", "status": status})
                if fail_fast and status is not None and status.state != "done":
                    waiting.clear()
    finally:
        for one in running:
            one.process.terminate()
            one.process.join()


def _start(context: Any, cell: Cell, store: Store, machine: Machine) -> _Running:
    mine, theirs = context.Pipe(duplex=False)
    settings = {
        "results": store.root.resolve(),
        "device": machine.device,
        "threads": machine.threads,
        "keep_weights": machine.keep_weights,
    }
    process = context.Process(target=_child, args=(theirs, cell, settings), name=cell.spec.slug)
    process.start()
    theirs.close()  # so that the end of the process is the end of the pipe
    return _Running(cell, process, mine)


def _child(connection: Connection, cell: Cell, settings: dict[str, Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends its runs
    from bench.run import Job, execute

    assert cell.val is not None

    def send(message: dict[str, Any]) -> None:
        try:
            connection.send(message)
        except BrokenPipeError:  # the parent is gone: leave the run unfinished, to be redone
            os._exit(1)

    job = Job(spec=cell.spec, train=cell.train, val=cell.val, weights=cell.weights, roots=cell.roots, **settings)
    execute(job, send)


def _listen(running: list[_Running], on_event: Event) -> list[_Running]:
    """Waits for messages, passes them on, and returns the runs whose process has ended."""
    by_connection = {one.connection: one for one in running}
    ended = []
    for ready in wait(list(by_connection)):
        one = by_connection[ready]  # type: ignore[index]
        try:
            on_event(one.cell, one.connection.recv())
        except (EOFError, ConnectionResetError):
            one.process.join()
            one.connection.close()
            ended.append(one)
    return ended


def _status(ended: _Running, store: Store) -> Status | None:
    """The run's status; where its process died without one, that is recorded as its failure. None: held elsewhere."""
    run_id = ended.cell.spec.run_id
    code = ended.process.exitcode
    status = store.status(run_id)
    if code == 0 or (status is not None and status.state == "done"):
        return status
    attempts = store.folder(run_id) / "attempts"
    number = max((int(path.stem) for path in attempts.glob("*.json") if path.stem.isdigit()), default=0)
    if number == 0:
        number = store.begin(ended.cell.spec)
        store.write_attempt(run_id, number, {"schema_version": 1, "number": number})
    status = Status(run_id=run_id, state="failed", attempt=number, reason=f"its process {_how(code)}")
    store.finish(status)
    return status


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


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


def free_bytes(folder: Path) -> int:
    """Free disk at the nearest folder that exists."""
    import shutil

    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free

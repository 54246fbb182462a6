"""A command under torchrun or `accelerate launch`: the first process is the command and executes its runs itself, the
others follow it. Imports no torch where nothing of the kind is the case.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from bench.cell import Cell, trains_by_steps
from bench.errors import FAILED, MISTAKE, OK, UserError
from bench.execute.executor import Event
from bench.execute.followers import is_lost_peer
from bench.execute.local import Machine, count_gpus, settings_of
from bench.execute.signals import SIGNALS, passed_on
from bench.failure import reason_of
from bench.stop import Stop, StoppedError
from bench.store import Store

if TYPE_CHECKING:
    from bench.group import Group

LAUNCHER = "torchrun"
LOST = "another process of the run ended; what it printed says why"
_joined: list[Group] = []  # the group of this process, once it has joined one


def processes() -> int:
    """How many the launcher has started, on all machines; 1 without one."""
    return _number("WORLD_SIZE", 1)


def processes_here() -> int:
    """On this machine."""
    return _number("LOCAL_WORLD_SIZE", 1)


def together(command: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """The command, which executes runs, for any number of processes: the first is the command, the others follow it
    until it ends. What the user has to put right is said by the first alone.
    """

    def led(options: argparse.Namespace) -> int:
        if processes() == 1:
            _check_alone()
            return command(options)
        rank = _number("RANK", 0)
        try:
            _check(options)
        except UserError:
            if _number("LOCAL_RANK", 0):  # the first of each machine says it, since machines may differ
                return MISTAKE
            raise
        group = _join(rank, "cpu" if options.device == "cpu" or not count_gpus() else "cuda")
        if rank:
            return _follow(group)
        try:
            return command(options)
        finally:
            group.leave()

    return led


def execute_all(cells: Sequence[Cell], store: Store, machine: Machine, on_event: Event, fail_fast: bool) -> Stop:
    """Executes every cell in this process, as an Executor does. After a failure that left the others in the midst of
    something nothing new starts.
    """
    from bench.group import ALONE
    from bench.job import job_of
    from bench.run import execute

    (group,) = _joined
    with passed_on([]) as stop:
        for cell in cells:
            if stop.by is not None or group.broken:
                break
            stop.place, status, stopped = None, None, False
            job = job_of(cell, **settings_of(store, machine))
            try:
                those = group if trains_by_steps(cell.spec) else ALONE
                status = execute(job, lambda message, cell=cell: on_event(cell, message), stop, those)  # type: ignore[misc]
            except StoppedError as left:
                stopped = True
                on_event(cell, {"kind": "stopped", "by": left.by, "place": left.place})
            on_event(cell, {"kind": "end", "status": status, "stopped": stopped})
            if fail_fast and status is not None and status.state != "done":
                break
    return stop


def _check_alone() -> None:
    """Raises UserError where several processes were asked for of a launcher that does not tell them of each other."""
    if os.environ.get("ACCELERATE_USE_CPU") == "True" and "MASTER_ADDR" in os.environ:
        raise UserError(f"`accelerate launch` joins no processes without GPUs; use {LAUNCHER}, or --processes N alone")


def _check(options: argparse.Namespace) -> None:
    if find_spec("accelerate") is None:
        raise UserError(f"under {LAUNCHER} it needs accelerate: python -m pip install accelerate")
    if (options.processes or 1) > 1:
        raise UserError(f"--processes is for one machine without {LAUNCHER}, which says itself how many there are")
    if (options.jobs or 1) > 1 or options.executor != "local":
        raise UserError(f"under {LAUNCHER} there is one run at a time, on all its processes: no --jobs, no --executor")
    if ":" in options.device:
        raise UserError(f"under {LAUNCHER} each process has a GPU of its own: --device is cuda, not {options.device}")
    gpus = 0 if options.device == "cpu" else count_gpus()
    if gpus and processes_here() > gpus:
        asked = f"{processes_here()} processes on this machine, which shows {gpus} CUDA devices"
        raise UserError(f"{asked}: each takes one; use at most {gpus}, or --device cpu")


def _join(rank: int, device: str) -> Group:
    os.environ.setdefault(
        "TORCH_CPP_LOG_LEVEL", "ERROR"
    )  # read when torch is imported; its warnings are for developers
    from bench.group import ENVIRONMENT, Group

    group = Group(rank, processes(), lambda error: LOST if is_lost_peer(error) else None)
    group.join(ENVIRONMENT, device, _number("LOCAL_RANK", 0))
    _joined.append(group)
    return group


def _follow(group: Group) -> int:
    from bench.follow import follow

    for number in SIGNALS:  # the launcher passes them on to all; the first process leads
        signal.signal(number, signal.SIG_IGN)
    try:
        follow(group)
        group.leave()
    except Exception as error:
        print(f"bench: process {group.rank} of {group.size}: {reason_of(error)}", file=sys.stderr)  # noqa: T201
        return FAILED
    return OK


def _number(name: str, otherwise: int) -> int:
    return int(os.environ.get(name) or otherwise)

"""What a task does on a node of a Ray cluster: it has the local executor execute one run, as on any machine."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ray

from bench.cell import Cell
from bench.data.catalog import DataRoots
from bench.errors import UserError
from bench.execute.cluster.mark import Mark
from bench.execute.cluster.node_data import with_data
from bench.execute.cluster.post import Line
from bench.execute.cluster.same_code import Code, check_same, code_here
from bench.execute.cluster.transfer import Parcel, pack, take_over
from bench.execute.local import Machine, execute_all
from bench.record import Status
from bench.store import Store


@dataclass(frozen=True)
class Order:
    """What a node is to execute. `attempts`: those that the driver's store knows of; `code`: the driver's."""

    cell: Cell
    mark: Mark
    machine: Machine
    roots: DataRoots
    code: Code
    attempts: Mapping[str, bytes]


@dataclass(frozen=True)
class Outcome:
    """How it ended. `begun`: False where the driver wants nothing to start any more; `status`: None where another
    process has the run in hand; `parcel`: the record, where the node does not share the driver's results folder.
    """

    begun: bool
    status: Status | None = None
    stopped: bool = False
    parcel: Parcel | None = None


def execute(order: Order, post: Any) -> Outcome:
    """Raises UserError, which names the node, where it cannot execute the run."""
    run_id = order.cell.spec.run_id
    with _named():
        check_same(order.code, code_here())
        line = Line(post, run_id)
        if not line.begin(_name()):
            return Outcome(begun=False)
        own = scratch(order.code)
        store = Store(order.mark.path.parent if order.mark.is_here() else own / "results")
        is_shared = store.root != own / "results"
        if not is_shared:
            take_over(order.attempts, store.folder(run_id))
        with _as_bench(), line:
            with line.interrupts() as stop:
                cell = with_data(order.cell, order.roots, own / "prepared", order.machine.threads)
            if stop.by is None:
                execute_all([cell], store, order.machine, line.hear, fail_fast=False)
    parcel = None if is_shared or line.status is None else pack(node_id(), store.folder(run_id))
    return Outcome(True, line.status, line.stopped, parcel)


def look(code: Code) -> None:
    """Raises UserError where this node has other code than the driver."""
    with _named():
        check_same(code, code_here())


def scratch(code: Code) -> Path:
    """A folder of this machine for runs whose results folder it does not see, one for each user and state of the code.
    It stays: a run that is given again goes on from its checkpoint.
    """
    own = Path(tempfile.gettempdir()) / f"maskattn-bench-{os.getuid()}"
    own.mkdir(mode=0o700, exist_ok=True)
    if own.stat().st_uid != os.getuid():
        raise UserError(f"{own} belongs to another user; set TMPDIR for `ray start`")
    (own / code.short).mkdir(exist_ok=True)
    return own / code.short


def node_id() -> str:
    found: str = ray.get_runtime_context().get_node_id()
    return found


def _name() -> str:
    return f"node {node_id()[:6]} at {ray.util.get_node_ip_address()}"


@contextmanager
def _named() -> Iterator[None]:
    """Says of a mistake on which node it was found."""
    try:
        yield
    except (UserError, OSError) as error:
        raise UserError(f"{_name()}: {error}") from None


@contextmanager
def _as_bench() -> Iterator[None]:
    """A run's process imports its parent's main module again, unless that is a package's: Ray's own takes a second."""
    main = sys.modules["__main__"]
    before, main.__spec__ = main.__spec__, find_spec("bench.__main__")
    try:
        yield
    finally:
        main.__spec__ = before

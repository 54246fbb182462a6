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
from bench.execute.cluster.mailbox import Channel
from bench.execute.cluster.node_data import with_data
from bench.execute.cluster.probe import Probe
from bench.execute.cluster.same_code import Code, check_same, code_here
from bench.execute.cluster.transfer import RemoteRecord, remote_record, take_over
from bench.execute.local import Machine, execute_all
from bench.record import Status
from bench.store import Store


@dataclass(frozen=True)
class Request:
    """What a node is to execute. `attempts`: those that the driver's store knows of; `code`: the driver's."""

    cell: Cell
    probe: Probe
    machine: Machine
    roots: DataRoots
    code: Code
    attempts: Mapping[str, bytes]


@dataclass(frozen=True)
class Outcome:
    """How it ended. `begun`: False where the driver wants nothing to start any more; `status`: None where another
    process has the run in hand; `record`: the record, where the node does not share the driver's results folder.
    """

    begun: bool
    status: Status | None = None
    stopped: bool = False
    record: RemoteRecord | None = None


def execute(request: Request, mailbox: Any) -> Outcome:
    """Raises UserError, which names the node, where it cannot execute the run."""
    run_id = request.cell.spec.run_id
    with _named():
        check_same(request.code, code_here())
        channel = Channel(mailbox, run_id)
        if not channel.begin(_name()):
            return Outcome(begun=False)
        own = scratch(request.code)
        store = Store(request.probe.path.parent if request.probe.is_here() else own / "results")
        is_shared = store.root != own / "results"
        if not is_shared:
            take_over(request.attempts, store.folder(run_id))
        with _as_bench(), channel:
            with channel.interrupts() as stop:
                cell = with_data(request.cell, request.roots, own / "prepared", request.machine.threads)
            if stop.by is None:
                execute_all([cell], store, request.machine, channel.hear, fail_fast=False)
    record = None if is_shared or channel.status is None else remote_record(node_id(), store.folder(run_id))
    return Outcome(True, channel.status, channel.stopped, record)


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

"""`--executor ray`: its options, read into an Executor. Imports Ray only where that is asked for."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec

from bench.cell import Cell
from bench.commands.options import data_roots
from bench.errors import UserError
from bench.execute.executor import Event, Executor
from bench.execute.local import Machine
from bench.stop import Stop
from bench.store import Store


def check_executor(options: argparse.Namespace) -> None:
    """Raises UserError where options are given that belong to the other executor."""
    if options.executor == "ray":
        if options.jobs is not None:
            raise UserError("--jobs is for this machine; with --executor ray --cpus-per-run says how many runs fit")
        if options.device != "auto":
            raise UserError("--device is for this machine; with --executor ray use --gpus-per-run, 0 for processors")
        return
    given = {
        "--address": options.address,
        "--cpus-per-run": options.cpus_per_run,
        "--gpus-per-run": options.gpus_per_run,
    }
    for name, value in given.items():
        if value is not None:
            raise UserError(f"{name} is for a cluster; give --executor ray, too")


def ray_executor(options: argparse.Namespace, machine: Machine) -> Executor:
    """Connected: the cluster answers, its nodes have this code, and one of them has room for a run. `machine`: what a
    run would have here. Raises UserError.
    """
    if find_spec("ray") is None:
        raise UserError("--executor ray needs Ray: python -m pip install ray")
    from bench.execute.cluster import connection
    from bench.execute.cluster.driver import Cluster, check_nodes, execute_all

    roots = data_roots(options)
    connection.connect(options.address)
    gpus = options.gpus_per_run
    if gpus is None:
        gpus = float(connection.has_gpus())
    resources = connection.Resources(cpus=options.cpus_per_run or 1, gpus=gpus)
    room = connection.require_room(resources)
    check_nodes()
    each = replace(machine, device="cuda:0" if gpus else "cpu", jobs=1, threads=resources.cpus)
    cluster = Cluster(resources, each, roots)

    def execute(cells: Sequence[Cell], store: Store, on_event: Event, fail_fast: bool) -> Stop:
        return execute_all(cells, store, cluster, on_event, fail_fast)

    return Executor(execute, at_once=room)

"""What `--processes` and torchrun need: said before any run starts."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.util import find_spec

from bench.cell import Cell, trains_by_steps
from bench.data.prepared import load
from bench.data.view import View
from bench.errors import UserError
from bench.execute.local import Machine, count_gpus


def check_processes(options: argparse.Namespace, machine: Machine) -> None:
    """Raises UserError where this machine cannot give a run its processes."""
    count = machine.processes
    if count == 1:
        return
    if find_spec("accelerate") is None:
        raise UserError("--processes needs accelerate: python -m pip install accelerate")
    if options.executor != "local":
        raise UserError("--processes is for this machine, without --executor; a run of a cluster has one process")
    if machine.device != "cpu" and (machine.device not in ("cuda", "cuda:0") or count > count_gpus()):
        found = f"--device {options.device}, and this machine shows {count_gpus()} CUDA devices"
        raise UserError(f"--processes {count} takes the GPUs from 0 on, one each; got {found}; or use --device cpu")


def check_batches(cells: Sequence[Cell], processes: int) -> None:
    """Raises UserError for the first run with batches that so many processes cannot share. The data is prepared."""
    for cell in cells:
        if processes == 1 or not trains_by_steps(cell.spec):
            continue
        assert cell.train is not None
        spec = cell.spec
        images = len(View(load(cell.train), spec.task, spec.budget.train_percent, spec.budget.held_out))
        rows = min(spec.recipe.batch_size, images)
        if rows < processes:
            raise UserError(
                f"{processes} processes cannot share the batches of {spec.slug}, which have {rows} images; "
                f"use at most {rows}, each takes one image at least"
            )

"""plan --slurm: what of a plan is not done, as a Slurm array."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from bench.commands.options import data_roots, prepared_root
from bench.errors import OK, UserError
from bench.execute.slurm import Array, write_script
from bench.plan import Plan


def write_array(options: argparse.Namespace, plan: Plan, console: Console) -> int:
    """Writes the script, and says how it is submitted; nothing where all is done."""
    run_ids = tuple(cell.spec.run_id for cell in plan.cells if cell.is_left)
    if not run_ids:
        console.print(f"nothing to run, so no script is written: none of {len(plan.cells)} runs is missing or failed")
        return OK
    if not options.slurm.absolute().parent.is_dir():
        raise UserError(f"no folder {options.slurm.absolute().parent} for the script; make it first")
    array = Array(Path(options.suite).stem, tuple(run_command(options)), Path.cwd(), run_ids)
    write_script(options.slurm, array)
    count = len(array.elements)
    console.print(f"{options.slurm}: {len(run_ids)} runs in {count} elements; its output will lie beside it")
    console.print("next: set time, CPUs and GPU in its lines between the dashes; then `sbatch` it")
    console.print(f"at most 4 at a time: `sbatch --array=0-{count - 1}%4`")
    return OK


def run_command(options: argparse.Namespace) -> Iterator[str]:
    """`bench run` with the options of this command that choose its runs and their folders, paths absolute."""
    roots = data_roots(options)
    given = {
        "suite": _named(options.suite),
        "profile": _named(options.profile),
        "models": options.models,
        "datasets": options.datasets,
        "seeds": options.seeds,
        "tuned": options.tuned,
        "results": options.results.absolute(),
        "prepared": prepared_root(options).absolute(),
        "data-root": roots.root and roots.root.absolute(),
    }
    yield from (sys.executable, "-m", "bench", "run")
    yield from (f"--{name}={value}" for name, value in given.items() if value is not None)
    yield from (f"--dataset={name}={path.absolute()}" for name, path in roots.paths.items())


def _named(name: str) -> str:
    """A suite or profile: its name, or the absolute path of the user's own file."""
    return os.path.abspath(name) if name.endswith((".yaml", ".yml")) else name  # noqa: PTH100

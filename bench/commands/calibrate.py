"""plan --calibrate: every network of a plan is timed on this machine, once, and what it took is kept."""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from bench.arguments import CHECKPOINT_MINUTES, STALL_MINUTES
from bench.cell import Cell
from bench.commands.carry_out import device_named
from bench.commands.headline import CHECKPOINT_BYTES
from bench.commands.workload import Workload
from bench.disk import require
from bench.errors import FAILED, OK
from bench.estimate.calibration import FOLDER, Calibration, Setting, write_calibration
from bench.estimate.hours import Planned
from bench.execute.calibrating import STEPS, WARM_UP, Wanted, calibrate, this_hardware
from bench.execute.local import Machine
from bench.spec import size_text


def calibrate_plan(options: argparse.Namespace, work: Workload, console: Console) -> int:
    """Calibrates what has no calibration of this machine yet, with `--again` all; the exit code."""
    machine = this_machine()
    here = this_hardware(machine)
    kept = set() if options.again else {c.setting.canonical() for c in work.calibrations if c.hardware == here}
    everything = _settings([*work.runs, *(run for runs in work.absent.values() for run in runs)])
    wanted = [one for key, one in everything.items() if key not in kept]
    count = f"{len(wanted)} to do, {len(everything) - len(wanted)} kept"
    console.print(f"calibrating the networks on {here.name}, {WARM_UP + STEPS} steps each: {count}")
    if not wanted:
        return OK
    require(options.results / FOLDER, 0, "calibrations")
    require(Path(tempfile.gettempdir()), CHECKPOINT_BYTES, "the short runs of a calibration")
    failed = []

    def done(cell: Cell, result: Calibration | str) -> None:
        if isinstance(result, Calibration):
            write_calibration(options.results, result)
            console.print(f"  {_line(result)}")
        else:
            failed.append(cell)
            console.print(f"  {cell.spec.model} at {size_text(cell.spec.size)} failed: {result}")

    stop = calibrate(wanted, machine, done)
    if stop.by is not None:
        console.print(f"stopped by {stop.by}; the same command calibrates what is left")
        return int(128 + signal.Signals[stop.by])
    return FAILED if failed else OK


def this_machine() -> Machine:
    """As `bench run` would use it by default: one run at a time."""
    return Machine(
        device=device_named("auto"),
        jobs=1,
        threads=len(os.sched_getaffinity(0)),
        keep_weights=True,
        checkpoint_minutes=CHECKPOINT_MINUTES,
        stall_s=60 * STALL_MINUTES,
    )


def _settings(runs: Iterable[Planned]) -> dict[str, Wanted]:
    """One run for each setting, by what it is."""
    found: dict[str, Wanted] = {}
    for run in runs:
        if run.setting is not None and run.data.categories is not None:
            found.setdefault(run.setting.canonical(), Wanted(run.cell, run.setting, run.data.categories))
    return found


def _line(found: Calibration) -> str:
    step = f"{found.steps.median_s:.3g} s a step, " if found.steps else ""
    image = f"{found.seconds.trained_image:.3g} s an evaluated image, {found.seconds.fixed:.1f} s once a run"
    return f"{_what(found.setting)}: {step}{image}{' (machine shared)' if found.is_shared else ''}"


def _what(setting: Setting) -> str:
    return f"{setting.model} at {size_text(setting.size)}, batch {setting.batch_size}, {setting.classes} classes"

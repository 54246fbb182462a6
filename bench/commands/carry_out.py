"""Carries a plan out: executes what of it is not done, shows it, and says how it ended and what comes next."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Sequence

from rich.console import Console

from bench.cell import Cell, looked_up
from bench.commands.headline import complaint, disk_needed, headline, say_missing
from bench.commands.options import terminal
from bench.commands.processes import check_batches, check_processes
from bench.commands.ray_cluster import check_executor, ray_executor
from bench.data.intact import assure
from bench.disk import require
from bench.display import Display
from bench.errors import FAILED, OK, UserError
from bench.execute import launched
from bench.execute.executor import Event, Executor
from bench.execute.local import Machine, count_gpus, execute_all
from bench.plan import Plan
from bench.spec import Profile
from bench.stop import Stop
from bench.store import Store
from bench.track.choices import require_packages
from bench.track.tracking import tracked
from bench.train.checkpoints import Checkpoints


def executor_of(options: argparse.Namespace, profile: Profile) -> Executor:
    """What the options ask for."""
    check_executor(options)
    if options.track is not None:
        require_packages(options.track)
    cores, jobs, processes = len(os.sched_getaffinity(0)), options.jobs or 1, options.processes or 1
    machine = Machine(
        device=device_named(options.device),
        jobs=jobs,
        threads=max(1, cores // (jobs * processes * launched.processes_here())),
        keep_weights=profile.keep_weights,
        checkpoint_minutes=options.checkpoint_minutes,
        stall_s=60 * options.stall_minutes,
        processes=processes,
        preload=("bench.follow", "accelerate") if processes > 1 else (),
    )
    check_processes(options, machine)
    if options.executor == "ray":
        return ray_executor(options, machine)

    def execute(cells: Sequence[Cell], store: Store, on_event: Event, fail_fast: bool) -> Stop:
        how = launched.execute_all if launched.processes() > 1 else execute_all
        return how(cells, store, machine, on_event, fail_fast)

    return Executor(execute, at_once=machine.jobs, processes=processes * launched.processes())


def carry_out(options: argparse.Namespace, profile: Profile, executor: Executor, plan: Plan, next_step: str) -> int:
    """Executes what of the plan is not done, shows it and says what comes next; the exit code."""
    console, store = terminal(), Store(options.results)
    say_missing(console, plan)
    require_runs(plan, profile)
    _sweep(plan, store)
    chosen = [cell for cell in plan.cells if _is_chosen(cell, options.only)]
    console.print(headline(options.suite, profile, plan, chosen, executor.at_once))
    if not chosen:
        console.print(_done_rows(Display(console, 0, store), plan).table())
        return _verdict(console, plan, store, next_step)
    check_batches(chosen, executor.processes)
    assure(folder for cell in chosen for folder in (cell.train, cell.val, *cell.others) if folder is not None)
    require(store.root, disk_needed(chosen, profile.keep_weights, executor.at_once), "the records of these runs")
    with Display(console, len(chosen), store) as display:
        _done_rows(display, plan)
        with tracked(options.track, store.root, display.event, console.print) as on_event:
            stop = executor.execute(chosen, store, on_event, options.fail_fast)
    if display.live is None:
        console.print(display.table())
    elsewhere, failed, stopped = len(display.elsewhere), len(display.failures), len(display.stopped)
    counts = {
        "done": display.ended - elsewhere - failed - stopped,
        "failed": failed,
        "stopped": stopped,
        "left to another `bench run`": elsewhere,
        "not started": len(chosen) - display.ended,
    }
    console.print(", ".join(f"{count} {what}" for what, count in counts.items() if count or what == "done"))
    if stop.by is not None:
        console.print(f"stopped by {stop.by}; the same command goes on from there")
        return int(128 + signal.Signals[stop.by])  # as shells count: 130 after Ctrl-C, 143 after SIGTERM
    return _verdict(console, plan, store, next_step)


def require_runs(plan: Plan, profile: Profile) -> None:
    """Raises UserError where the plan has none."""
    if plan.cells:
        return
    if plan.missing:
        missing = ", ".join(plan.missing)
        raise UserError(f"nothing to run: {missing} not here; --datasets scenes runs the embedded one")
    raise UserError(f"nothing to run at this size: {'; '.join(plan.skipped)}; the profile {profile.name} may cap it")


def _sweep(plan: Plan, store: Store) -> None:
    """Removes the checkpoints of runs that are done: left by a process killed between its last two steps."""
    for cell in plan.cells:
        folder = store.folder(cell.spec.run_id) / "checkpoint"
        if cell.state == "done" and any(folder.glob("step-*")):
            with store.lock(cell.spec.run_id) as mine:
                if mine:
                    Checkpoints(folder, cell.spec.run_id).clear()


def _done_rows(display: Display, plan: Plan) -> Display:
    """Shows what earlier calls finished."""
    for cell in plan.cells:
        if cell.state == "done":
            display.done_before(cell)
    return display


def _verdict(console: Console, plan: Plan, store: Store, next_step: str) -> int:
    """Names every run of the plan that failed, diverged or is damaged, and what to do next; the exit code."""
    cells = [looked_up(cell, store) for cell in plan.cells]
    states = {cell.state for cell in cells}
    for cell in cells:
        if reason := complaint(cell):
            console.print(f"  {cell.state}: {cell.spec.run_id}: {reason}")
    if states & {"failed", "diverged"}:
        console.print("next: the same command with `--only failed` runs these again")
    if "damaged" in states:
        console.print("next: the same command with `--only damaged` runs the damaged ones again, from the beginning")
    if states & {"started", "missing"}:
        console.print("next: the same command runs what is left")
    if states == {"done"}:
        console.print(f"next: {next_step}")
    return OK if states == {"done"} else FAILED


def _is_chosen(cell: Cell, only: str | None) -> bool:
    if only == "damaged":
        return cell.state == "damaged"
    if only == "missing":
        return cell.state in ("started", "missing")
    if only == "failed":
        return cell.state in ("failed", "diverged")
    return cell.is_left


def device_named(name: str) -> str:
    if name == "auto":
        return "cuda:0" if count_gpus() else "cpu"
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise UserError(f"--device is auto, cpu, cuda or cuda:N; got {name!r}")
    if kind == "cuda" and int(number or 0) >= count_gpus():
        raise UserError(f"--device {name}: this machine shows {count_gpus()} CUDA devices; use --device cpu")
    return name

"""run, plan, status."""

from __future__ import annotations

import argparse
import os
import signal
from collections import Counter
from collections.abc import Sequence

from rich.console import Console

from bench.commands.options import print_json, read_choices, terminal
from bench.data.intact import assure
from bench.data.prepared import load
from bench.disk import amount, require
from bench.display import Display, duration, place_text
from bench.errors import FAILED, OK, UserError
from bench.execute.local import Machine, count_gpus, execute_all
from bench.plan import EMBEDDED, Cell, Choice, Plan, Progress, looked_up, make_plans, merged
from bench.spec import NO_TRAINING, Profile, size_text
from bench.store import Store
from bench.train.checkpoints import Checkpoints
from bench.tune import Search, read_factors, tune_command, tuned_plan
from models.registry import find as find_model

RECORD_BYTES = 1_000_000  # a record with its pictures
IMAGE_BYTES = 2_000  # of an evaluated image in images.parquet, with its 100 detections
WEIGHT_BYTES = 260_000_000  # the largest network's, 63 M parameters in float32
CHECKPOINT_BYTES = 3 * 3 * WEIGHT_BYTES  # weights and AdamW's two moments, of a run at work: two kept, one written


def run(options: argparse.Namespace) -> int:
    choices, console, store = read_choices(options), terminal(), Store(options.results)
    machine = machine_of(options, choices[0].profile)
    plan = _plan(options, choices, store, preparation(console))
    return carry_out(
        options, choices[0].profile, machine, plan, "`python -m bench report` writes the tables and the page"
    )


def machine_of(options: argparse.Namespace, profile: Profile) -> Machine:
    cores = len(os.sched_getaffinity(0))
    return Machine(
        device=_device(options.device),
        jobs=options.jobs,
        threads=max(1, cores // options.jobs),
        keep_weights=profile.keep_weights,
        checkpoint_minutes=options.checkpoint_minutes,
        stall_s=60 * options.stall_minutes,
    )


def carry_out(options: argparse.Namespace, profile: Profile, machine: Machine, plan: Plan, next_step: str) -> int:
    """Executes what of the plan is not done, shows it and says what comes next; the exit code."""
    console, store = terminal(), Store(options.results)
    _say_missing(console, plan)
    if not plan.cells:
        if plan.missing:
            missing = ", ".join(plan.missing)
            raise UserError(f"nothing to run: {missing} not here; --datasets scenes runs the embedded one")
        raise UserError(
            f"nothing to run at this size: {'; '.join(plan.skipped)}; the profile {profile.name} may cap it"
        )
    _sweep(plan, store)
    chosen = [cell for cell in plan.cells if _is_chosen(cell, options.only)]
    console.print(_headline(options.suite, profile, plan, chosen, machine.jobs))
    if not chosen:
        console.print(_done_rows(Display(console, 0, store), plan).table())
        return _verdict(console, plan, store, next_step)
    assure(folder for cell in chosen for folder in (cell.train, cell.val, *cell.others) if folder is not None)
    require(store.root, _disk_needed(chosen, machine.keep_weights, machine.jobs), "the records of these runs")
    with Display(console, len(chosen), store) as display:
        _done_rows(display, plan)
        stop = execute_all(chosen, store, machine, display.event, options.fail_fast)
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


def _plan(
    options: argparse.Namespace, choices: Sequence[Choice], store: Store, prepare_data: Progress | None = None
) -> Plan:
    """The runs of the suites, with `--tuned` at the rates that `bench tune` found."""
    if options.tuned is None:
        return make_plans(choices, store, prepare_data)
    factors = read_factors(options.tuned)
    plans = []
    for choice in choices:
        made = make_plans([choice], store, prepare_data)
        name = options.suite if len(choices) == 1 else choice.suite.name
        command = tune_command(name, options.profile, factors)
        plans.append(tuned_plan(made, store, Search(factors, choice.suite.seeds[0]), command))
    return merged(plans)


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
        if reason := _complaint(cell):
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


def _complaint(cell: Cell) -> str | None:
    """Why a run that ended has no numbers."""
    if cell.status is not None and cell.state != "done":
        return cell.status.reason or "no reason is recorded"
    return cell.damaged


def _is_chosen(cell: Cell, only: str | None) -> bool:
    """A run that diverged did end: it would diverge again, so it is redone only when asked for. So is one that is
    damaged, of which something may be left to save, or which a newer program wrote.
    """
    if only == "damaged":
        return cell.state == "damaged"
    if only == "missing":
        return cell.state in ("started", "missing")
    if only == "failed":
        return cell.state in ("failed", "diverged")
    return cell.state in ("started", "missing", "failed")


def preparation(console: Console) -> Progress:
    """One line for each preparation, growing in place where there is a terminal."""

    def progress(what: str, done: int, of: int) -> None:
        if console.is_terminal:
            console.print(f"{what}: {done} of {of}", end="\n" if done == of else "\r")
        elif done == of:
            console.print(f"{what}: {of} images")

    return progress


def _say_missing(console: Console, plan: Plan) -> None:
    for missing in plan.missing.values():
        console.print(f"{missing.name}: {missing.what}; {missing.how}")
    for reason in plan.skipped:
        console.print(f"skipped: {reason}")
    if plan.missing and set(plan.sources) == {EMBEDDED}:
        console.print("running on the embedded dataset 'scenes', in a column of its own")


def _headline(name: str, profile: Profile, plan: Plan, chosen: list[Cell], jobs: int = 1) -> str:
    """How many runs, the expected time and the disk."""
    done = sum(cell.state == "done" for cell in plan.cells)
    text = f"{name}, profile {profile.name}: {len(plan.cells)} runs, {done} done"
    if not chosen:
        return text + ", nothing to do"
    known = [cell.seconds for cell in chosen if cell.seconds is not None]
    times = [f"about {duration(sum(known))} for {len(known)} by past runs"] if known else []
    if len(known) < len(chosen):
        times.append(f"no past run tells for {len(chosen) - len(known)} (this profile: {profile.summary})")
    disk = amount(_disk_needed(chosen, profile.keep_weights, jobs))
    return f"{text}, {len(chosen)} to run; time: {'; '.join(times)}; disk: up to {disk}"


def _disk_needed(cells: list[Cell], keep_weights: bool, jobs: int) -> int:
    """At most, in bytes: how many images a whole split has is known where it is prepared."""
    images = sum(len(load(cell.val)) if cell.val else cell.spec.budget.val_images or 0 for cell in cells)
    trained = sum(cell.spec.train_hash != NO_TRAINING and not find_model(cell.spec.model).is_floor for cell in cells)
    weights = trained * WEIGHT_BYTES if keep_weights else 0
    return len(cells) * RECORD_BYTES + images * IMAGE_BYTES + weights + min(jobs, trained) * CHECKPOINT_BYTES


def _device(name: str) -> str:
    if name == "auto":
        return "cuda:0" if count_gpus() else "cpu"
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise UserError(f"--device is auto, cpu, cuda or cuda:N; got {name!r}")
    if kind == "cuda" and int(number or 0) >= count_gpus():
        raise UserError(f"--device {name}: this machine shows {count_gpus()} CUDA devices; use --device cpu")
    return name


def plan(options: argparse.Namespace) -> int:
    choices, console = read_choices(options), terminal()
    profile = choices[0].profile
    made = _plan(options, choices, Store(options.results))
    if options.json:
        print_json(
            {
                "suite": options.suite,
                "profile": profile.name,
                "runs": [_plan_row(cell) for cell in made.cells],
                "skipped": list(made.skipped),
                "missing": {name: {"what": m.what, "how": m.how} for name, m in made.missing.items()},
            }
        )
        return OK
    _say_missing(console, made)
    for size in dict.fromkeys(cell.spec.size for cell in made.cells):
        console.print(f"size {size_text(size)}: height {size[0]}, width {size[1]}")
    for cell in made.cells:
        expected = f", about {duration(cell.seconds)}" if cell.seconds is not None and cell.state != "done" else ""
        saved = f", saved at {place_text(cell.place)}" if cell.place else ""
        why = f": {cell.damaged}" if cell.damaged else ""
        console.print(f"{cell.state:9}{cell.spec.run_id}{saved}{expected}{why}")
    chosen = [cell for cell in made.cells if cell.state in ("started", "missing", "pending", "failed")]
    console.print(_headline(options.suite, profile, made, chosen))
    return OK


def _plan_row(cell: Cell) -> dict[str, object]:
    spec = cell.spec.model_dump(mode="json", include={"model", "dataset", "size", "seed"})
    return {"run_id": cell.spec.run_id, "state": cell.state, "expected_seconds": cell.seconds, **spec}


def status(options: argparse.Namespace) -> int:
    made = _plan(options, read_choices(options), Store(options.results))
    states = Counter(cell.state for cell in made.cells)
    bad = {cell.spec.run_id: reason for cell in made.cells if (reason := _complaint(cell))}
    started = {cell.spec.run_id: cell.place for cell in made.cells if cell.place}
    if options.json:
        missing = {name: entry.what for name, entry in made.missing.items()}
        print_json(
            {"runs": len(made.cells), "states": dict(states), "failures": bad, "started": started, "missing": missing}
        )
        return OK
    console = terminal()
    rest = "".join(f", {count} {state}" for state, count in states.items() if state != "done")
    console.print(f"{states['done']}/{len(made.cells)} done{rest}")
    for run_id, reason in bad.items():
        console.print(f"{run_id}: {reason}")
    for run_id, place in started.items():
        console.print(f"{run_id}: saved at {place_text(place)}")
    _say_missing(console, made)
    return OK

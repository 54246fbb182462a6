"""run, plan, status."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence

from rich.console import Console

from bench.commands.carry_out import carry_out, executor_of, require_runs
from bench.commands.headline import complaint, run_counts, say_missing
from bench.commands.options import name_list, preparation, print_json, read_choices, terminal
from bench.commands.slurm import write_array
from bench.commands.workload import Workload, prices_of, run_json, workload_json, workload_lines, workload_of
from bench.display import duration, place_text
from bench.errors import OK, UserError
from bench.estimate.hours import Planned
from bench.execute.launched import together
from bench.plan import Choice, Plan, Progress, make_plans, merged, only_runs
from bench.spec import size_text
from bench.store import Store
from bench.tune import Search, read_factors, tune_command, tuned_plan


@together
def run(options: argparse.Namespace) -> int:
    choices, console, store = read_choices(options), terminal(), Store(options.results)
    executor = executor_of(options, choices[0].profile)
    plan = _plan(options, choices, store, preparation(console))
    return carry_out(
        options, choices[0].profile, executor, plan, "`python -m bench report` writes the tables and the page"
    )


def _plan(
    options: argparse.Namespace, choices: Sequence[Choice], store: Store, prepare_data: Progress | None = None
) -> Plan:
    """The runs of the suites, with `--tuned` at the rates that `bench tune` found, with `--run-id` only those."""
    if options.run_id is not None:  # an id is known when the data is prepared, so there is nothing to prepare
        return only_runs(_whole_plan(options, choices, store), name_list(options.run_id))
    return _whole_plan(options, choices, store, prepare_data)


def _whole_plan(
    options: argparse.Namespace, choices: Sequence[Choice], store: Store, prepare_data: Progress | None = None
) -> Plan:
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


def plan(options: argparse.Namespace) -> int:
    choices, console = read_choices(options), terminal()
    profile = choices[0].profile
    if options.slurm is not None:
        return _slurm(options, choices, console)
    made = _plan(options, choices, Store(options.results))
    work, code = _workload(options, made)
    prices = prices_of(options, work.hardware)
    if options.json:
        print_json(
            {
                "suite": options.suite,
                "profile": profile.name,
                "runs": [_plan_row(run) for run in work.runs],
                "skipped": list(made.skipped),
                "missing": {name: {"what": m.what, "how": m.how} for name, m in made.missing.items()},
                **workload_json(work, profile, prices),
            }
        )
        return code
    say_missing(console, made)
    for size in dict.fromkeys(cell.spec.size for cell in made.cells):
        console.print(f"size {size_text(size)}: height {size[0]}, width {size[1]}")
    for cell in made.cells:
        expected = f", about {duration(cell.seconds)}" if cell.seconds is not None and cell.state != "done" else ""
        saved = f", saved at {place_text(cell.place)}" if cell.place else ""
        why = f": {cell.damaged}" if cell.damaged else ""
        console.print(f"{cell.state:9}{cell.spec.run_id}{saved}{expected}{why}")
    console.print(run_counts(options.suite, profile, made, [run.cell for run in work.left]))
    for line in workload_lines(work, profile, prices):
        console.print(line)
    return code


def _workload(options: argparse.Namespace, made: Plan) -> tuple[Workload, int]:
    """How much the runs are, calibrated first where that is asked for; and the exit code."""
    work = workload_of(made, options.results)
    if not options.calibrate:
        if options.again:
            raise UserError("--again goes with --calibrate")
        return work, OK
    from bench.commands.calibrate import calibrate_plan

    code = calibrate_plan(options, work, terminal(stderr=options.json))
    return workload_of(made, options.results), code


def _slurm(options: argparse.Namespace, choices: Sequence[Choice], console: Console) -> int:
    if options.calibrate or options.again or options.price_per_hour:
        raise UserError("--slurm writes a script and estimates nothing; leave it out to see hours and costs")
    made = _plan(options, choices, Store(options.results), preparation(console))
    say_missing(console, made)
    require_runs(made, choices[0].profile)
    return write_array(options, made, console)


def _plan_row(run: Planned) -> dict[str, object]:
    cell = run.cell
    spec = cell.spec.model_dump(mode="json", include={"model", "dataset", "size", "seed"})
    return {"run_id": cell.spec.run_id, "state": cell.state, "expected_seconds": cell.seconds, **spec} | run_json(run)


def status(options: argparse.Namespace) -> int:
    made = _plan(options, read_choices(options), Store(options.results))
    states = Counter(cell.state for cell in made.cells)
    bad = {cell.spec.run_id: reason for cell in made.cells if (reason := complaint(cell))}
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
    say_missing(console, made)
    return OK

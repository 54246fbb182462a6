"""run, plan, status."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence

from bench.commands.carry_out import carry_out, executor_of
from bench.commands.headline import complaint, headline, say_missing
from bench.commands.options import preparation, print_json, read_choices, terminal
from bench.display import duration, place_text
from bench.errors import OK
from bench.plan import Cell, Choice, Plan, Progress, make_plans, merged
from bench.spec import size_text
from bench.store import Store
from bench.tune import Search, read_factors, tune_command, tuned_plan


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
    say_missing(console, made)
    for size in dict.fromkeys(cell.spec.size for cell in made.cells):
        console.print(f"size {size_text(size)}: height {size[0]}, width {size[1]}")
    for cell in made.cells:
        expected = f", about {duration(cell.seconds)}" if cell.seconds is not None and cell.state != "done" else ""
        saved = f", saved at {place_text(cell.place)}" if cell.place else ""
        why = f": {cell.damaged}" if cell.damaged else ""
        console.print(f"{cell.state:9}{cell.spec.run_id}{saved}{expected}{why}")
    chosen = [cell for cell in made.cells if cell.state in ("started", "missing", "pending", "failed")]
    console.print(headline(options.suite, profile, made, chosen))
    return OK


def _plan_row(cell: Cell) -> dict[str, object]:
    spec = cell.spec.model_dump(mode="json", include={"model", "dataset", "size", "seed"})
    return {"run_id": cell.spec.run_id, "state": cell.state, "expected_seconds": cell.seconds, **spec}


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

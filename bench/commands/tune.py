"""tune."""

from __future__ import annotations

import argparse
from dataclasses import replace

from rich.table import Table

from bench.commands.carry_out import carry_out, executor_of
from bench.commands.options import preparation, read_choice, terminal
from bench.display import percent
from bench.errors import UserError
from bench.execute.launched import together
from bench.plan import Plan, make_plan
from bench.spec import size_text
from bench.store import Store
from bench.tune import FACTORS, MAIN, Search, best_factor, factor_text, read_factors, search_plan, searched_scores
from models.registry import REGISTRY


@together
def tune(options: argparse.Namespace) -> int:
    """Runs every candidate that is not done yet, then shows what each rate gave."""
    chosen, console, store = read_choice(options), terminal(), Store(options.results)
    profile = chosen.profile.model_copy(update={"keep_weights": False})
    choice = replace(chosen, profile=profile, seeds=chosen.suite.seeds[:1])
    search = Search(read_factors(options.factors), choice.suite.seeds[0])
    executor = executor_of(options, profile)
    made = make_plan(choice, store, preparation(console))
    grid = "" if search.factors == FACTORS else f" {factor_text(search.factors)}"
    tried = search_plan(made, store, search)
    if made.cells and not tried.cells:
        raise UserError(
            f"nothing to search: no row of suite {choice.suite.name} is trained by steps at a learning rate"
        )
    command = f"python -m bench run --suite {options.suite} --profile {options.profile} --tuned{grid}"
    code = carry_out(options, profile, executor, tried, f"`{command}`")
    console.print(_table(made, store, search))
    return code


def _table(made: Plan, store: Store, search: Search) -> Table:
    """What each factor gave, and the best with its rate; '-' where it has not ended or has no number."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    found = searched_scores(made, store, search)
    metric = MAIN[found[0][0].task]
    for head in ("model", "dataset", *(f"{metric} % at x{factor:g}" for factor in search.factors), "best rate"):
        table.add_column(head)
    for spec, scores in found:
        best = best_factor(scores) if len(scores) == len(search.factors) else None
        numbers = [percent(scores.get(factor)) for factor in search.factors]
        rate = "-" if best is None else f"x{best:g}, {best * spec.recipe.lr:g}"
        table.add_row(REGISTRY[spec.model].label, f"{spec.dataset} {size_text(spec.size)}", *numbers, rate)
    return table

"""The same search over learning rates for every network of a table: a plan -> its candidates -> the plan, tuned.

A candidate is an ordinary run with its recipe's rate times a factor, trained on all but HELD_OUT percent of its
training images and evaluated on those. Which are held out follows from the images' ids alone, so they are the same for
every network; the validation split takes no part. What is best is read off the records whenever it is needed: nothing
is stored that could grow stale. Imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bench.cell import Cell, looked_up, with_times
from bench.errors import UserError
from bench.plan import Plan
from bench.record import Fraction
from bench.spec import RunSpec, Tuning
from bench.store import Store
from bench.train.recipes import scaled, tuned
from models.categories import Task
from models.registry import REGISTRY

FACTORS = (0.3, 1.0, 3.0)  # of the recipe's own rate: half a decade apart
HELD_OUT = 20  # percent
MAIN: Mapping[Task, str] = {"semantic": "mIoU", "instance": "AP", "panoptic": "PQ"}  # what decides

Scores = Mapping[float, Fraction]  # by factor; None: diverged, or the number does not exist


@dataclass(frozen=True)
class Search:
    """One search, the same for every network. `seed`: of its runs."""

    factors: tuple[float, ...] = FACTORS
    seed: int = 0


def read_factors(text: str) -> tuple[float, ...]:
    """'0.3,1,3' -> (0.3, 1.0, 3.0), ascending. Raises UserError unless 1 is among them: the recipe's own rate."""
    try:
        factors = sorted({float(part) for part in text.split(",")})
    except ValueError:
        factors = []
    if 1.0 not in factors or not all(0 < factor < math.inf for factor in factors):
        raise UserError(f"factors of a learning rate are positive numbers, 1 among them, such as 0.3,1,3; got {text!r}")
    return tuple(factors)


def tune_command(suite: str, profile: str, factors: tuple[float, ...] = FACTORS) -> str:
    text = f"python -m bench tune --suite {suite} --profile {profile}"
    return text if factors == FACTORS else f"{text} --factors {factor_text(factors)}"


def factor_text(factors: tuple[float, ...]) -> str:
    return ",".join(f"{factor:g}" for factor in factors)


def search_plan(plan: Plan, store: Store, search: Search) -> Plan:
    """The candidates of every trained network of a plan, once for all its seeds."""
    cells: dict[str, Cell] = {}
    for cell in filter(_is_tunable, plan.cells):
        for factor in search.factors:
            spec = candidate(cell.spec, factor, search.seed)
            cells[spec.canonical()] = replace(_of(cell, spec, store), val=cell.train, others=())
    return replace(plan, cells=tuple(with_times(list(cells.values()), store)))


def tuned_plan(plan: Plan, store: Store, search: Search, command: str) -> Plan:
    """The plan with the best rate of each network's search. Raises UserError, naming `command`, where one lacks."""
    found = {_key(spec, search): (spec, scores) for spec, scores in searched_scores(plan, store, search)}
    lacking = [_where(spec) for spec, scores in found.values() if len(scores) < len(search.factors)]
    if lacking:
        done = len(found) - len(lacking)
        raise UserError(f"{done} of {len(found)} networks searched, not {', '.join(lacking)}; run `{command}` first")
    cells = []
    for cell in plan.cells:
        if _is_tunable(cell):
            cell = _of(cell, tuned_spec(cell.spec, found[_key(cell.spec, search)][1], search), store)
        cells.append(cell)
    return replace(plan, cells=tuple(with_times(cells, store)))


def searched_scores(plan: Plan, store: Store, search: Search) -> list[tuple[RunSpec, Scores]]:
    """Each trained row of a plan, once for all its seeds, and what each factor gave that has ended."""
    specs = {_key(cell.spec, search): cell.spec for cell in reversed(plan.cells) if _is_tunable(cell)}
    return [(spec, _scores(spec, store, search)) for spec in reversed(specs.values())]


def _scores(spec: RunSpec, store: Store, search: Search) -> Scores:
    scores: dict[float, Fraction] = {}
    for factor in search.factors:
        tried = candidate(spec, factor, search.seed)
        status = None if tried.is_pending else store.whole(tried.run_id)
        if status is not None and status.state != "failed":
            metrics = store.record(tried.run_id).metrics
            scores[factor] = getattr(metrics.final, MAIN[spec.task].lower()) if metrics else None
    return scores


def candidate(spec: RunSpec, factor: float, seed: int) -> RunSpec:
    """The run that tries a factor. Both of its splits are parts of the training split."""
    changes: dict[str, Any] = {
        "seed": seed,
        "budget": spec.budget.model_copy(update={"held_out": HELD_OUT, "val_images": None}),
        "recipe": scaled(spec.recipe, factor),
        "val_hash": spec.train_hash,
        "val_pixels": spec.train_pixels,
        "also_at": (),
    }
    return spec.model_copy(update=changes)


def best_factor(scores: Scores) -> float | None:
    """That of the highest score; of equal ones the nearest to 1, then the smaller. None where there is no score."""
    known = [(score, -abs(math.log(factor)), -factor) for factor, score in scores.items() if score is not None]
    return -max(known)[2] if known else None


def tuned_spec(spec: RunSpec, scores: Scores, search: Search) -> RunSpec:
    """Raises UserError where every candidate diverged."""
    factor = best_factor(scores)
    if factor is None:
        raise UserError(f"no rate of the search has a score for {_where(spec)}; search with other `--factors`")
    tuning = Tuning(factors=search.factors, factor=factor, metric=MAIN[spec.task], held_out=HELD_OUT, seed=search.seed)
    return spec.model_copy(update={"recipe": tuned(spec.recipe, tuning)})


def _of(cell: Cell, spec: RunSpec, store: Store) -> Cell:
    """The cell of another spec on the same data, its state looked up anew."""
    return looked_up(replace(cell, spec=spec), store)


def _is_tunable(cell: Cell) -> bool:
    entry = REGISTRY[cell.spec.model]
    return entry.is_network and not entry.is_floor


def _key(spec: RunSpec, search: Search) -> str:
    """The same for all seeds of one row."""
    return candidate(spec, 1.0, search.seed).canonical()


def _where(spec: RunSpec) -> str:
    return f"{REGISTRY[spec.model].label} on {spec.dataset}"

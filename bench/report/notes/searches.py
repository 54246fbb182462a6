"""What the search of each row's learning rate found: the score of every candidate, on images held out of training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bench.record import Record
from bench.report.facts import Facts
from bench.report.tables.columns import dataset_label
from bench.report.tables.rows import Variant
from bench.report.tables.table import NONE, number
from bench.spec import Recipe, RunSpec
from bench.train.recipes import TUNED

TITLE = "The search of the learning rates"
EXPLAINED = (
    "Factors are of the recipe's own rate. Each candidate is a run like the row's, for as many epochs, trained on the "
    "training images but those held out and scored on these, which makes its score not comparable with the table's. "
    "The validation split takes no part."
)
NEARLY = 1e-4  # rates are rounded to six digits
SAME = ("model", "options", "task", "dataset", "size", "train_hash", "train_pixels", "profile", "recipe_version")


def searches(lines: Iterable[Variant], candidates: Sequence[Record]) -> Facts | None:
    """A line a searched row and split; None where no row was searched."""
    told, heads = [], dict[float, None]()
    for variant in lines:
        for split, runs in variant.runs.items():
            if tuning := runs[0].spec.recipe.tuning:
                heads |= dict.fromkeys(tuning.factors)
                told.append((variant.label, dataset_label(split.dataset), runs[0].spec, tuning.metric))
    factors = sorted(heads)
    rows = [
        (label, data, metric, *(_score(spec, metric, factor, candidates) for factor in factors))
        for label, data, spec, metric in told
    ]
    names = ("Network", "Data", "Score (%)", *(f"×{factor:g}" for factor in factors))
    return Facts(TITLE, names, tuple(rows), (EXPLAINED,)) if rows else None


def _score(spec: RunSpec, metric: str, factor: float, candidates: Iterable[Record]) -> str:
    """Of the candidate that tried this factor for a row: its score, how it ended, or '-' where there is none."""
    for record in candidates:
        if _tried(spec, factor, record.spec):
            scores = record.metrics.final if record.metrics else None
            value = getattr(scores, metric.lower()) if scores else None
            return record.status.state if scores is None else number(None if value is None else 100 * value, 1)
    return NONE


def _tried(spec: RunSpec, factor: float, candidate: RunSpec) -> bool:
    tuning = spec.recipe.tuning
    assert tuning is not None
    rate = spec.recipe.lr / tuning.factor * factor
    same = all(getattr(spec, key) == getattr(candidate, key) for key in SAME)
    same = same and _but_the_rate(spec.recipe) == _but_the_rate(candidate.recipe)
    part = (candidate.budget.train_percent, candidate.budget.held_out, candidate.seed)
    searched = part == (spec.budget.train_percent, tuning.held_out, tuning.seed)
    return same and searched and abs(candidate.recipe.lr / rate - 1) < NEARLY


def _but_the_rate(recipe: Recipe) -> dict[str, Any]:
    told = recipe.model_dump(exclude={"lr", "source", "tuning"})
    return {**told, "name": recipe.name.removesuffix(TUNED)}

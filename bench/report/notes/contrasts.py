"""Whether the rows of a comparison differ from those that its suite sets them against: points, interval, verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from bench.report.facts import Facts
from bench.report.tables.cells import score_cell
from bench.report.tables.columns import SCORES, dataset_label
from bench.report.tables.rows import Variant
from bench.report.tables.table import NONE, Cell, number
from bench.spec import ModelEntry, Suite
from bench.student import t_quantile

TITLE = "Differences between rows"
FEWEST_SEEDS = 3  # of each row, for an interval
CONFIDENCE = 0.95
EXPLAINED = (
    "Each row's mean over its seeds minus that of the row it is set against, in percentage points, with the interval "
    f"of {100 * CONFIDENCE:g} % by Welch's t over the seeds: 'higher' or 'lower' where it leaves out zero, else 'tie': "
    "these seeds cannot tell, which does not prove that nothing differs. No interval is given below "
    f"{FEWEST_SEEDS} seeds of each."
)


def contrasts(suite: Suite, lines: Sequence[Variant]) -> Facts | None:
    """A line a pair and split; None where the suite sets nothing against anything, or no such pair was run."""
    metrics = SCORES[suite.task]
    told = []
    for one, other in pairs_against(suite.against, lines):
        for split in one.runs:
            if split in other.runs:
                cells = [[score_cell(metric, "network", v.runs[split]) for v in (one, other)] for metric in metrics]
                seeds = " and ".join(str(len(v.runs[split])) for v in (one, other))
                found = (verdict(*pair) for pair in cells)
                told.append((one.label, other.label, dataset_label(split.dataset), seeds, *found))
    if not told:
        return None
    heads = ("Row", "Against", "Data", "Seeds", *(f"{metric} (pp)" for metric in metrics))
    intervals = sum("(" in text for line in told for text in line[4:])
    return Facts(TITLE, heads, tuple(told), (EXPLAINED,), intervals)


def verdict(one: Cell, other: Cell) -> str:
    """'+0.4 (-0.8 to +1.6): tie', or why it cannot be told. The cells hold means over seeds, in percent."""
    if one.value is None or other.value is None:
        return NONE
    difference = one.value - other.value
    seeds = min(one.n, other.n)
    if seeds < FEWEST_SEEDS:
        return f"{_points(difference)}: {'one seed' if seeds == 1 else f'{seeds} seeds'}, cannot tell"
    margin = welch_margin(one, other)
    word = "tie" if abs(difference) <= margin else "higher" if difference > 0 else "lower"
    return interval_text(difference, difference - margin, difference + margin, word)


def interval_text(points: float, low: float, high: float, word: str, digits: int = 1) -> str:
    difference, start, end = (number(value, digits, signed=True) for value in (points, low, high))
    return f"{difference} ({start} to {end}): {word}"


def welch_margin(one: Cell, other: Cell) -> float:
    """Half the width of Welch's interval for the difference of two means; both cells have two seeds or more."""
    parts = [((cell.sd or 0.0) ** 2 / cell.n, cell.n) for cell in (one, other)]
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return 0.0
    freedom = variance**2 / sum(part**2 / (n - 1) for part, n in parts)
    return t_quantile((1 + CONFIDENCE) / 2, freedom) * math.sqrt(variance)


def pairs_against(references: Sequence[ModelEntry], lines: Sequence[Variant]) -> Iterator[tuple[Variant, Variant]]:
    """Every row with each of the rows `references`; two of those once."""
    rows = [variant for variant in lines if variant.row.entry is not None and not variant.number]
    for place, entry in enumerate(references):
        for other in (variant for variant in rows if variant.row.entry == entry):
            for one in rows:
                if one.row.entry not in references[: place + 1]:
                    yield one, other


def _points(value: float) -> str:
    return number(value, 1, signed=True)

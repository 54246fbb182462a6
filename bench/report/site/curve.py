"""A learning curve as a small SVG inside a page: its colours are the page's, light or dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.record import Epoch
from bench.report.tables.table import number

WIDTH, HEIGHT = 260.0, 96.0  # of the plot, in the SVG's own units
MOST_POINTS = 200  # of a line: a page stays small
TOTAL = "loss"
DIGITS = 3


@dataclass(frozen=True)
class Curve:
    """One quantity over the epochs. `points`: 'x,y x,y …' for a polyline, which ends at `end`; `first`, `last`, `top`
    and `bottom`: values as text, the last two of the plot's edges.
    """

    name: str
    points: str
    end: tuple[str, str]
    first: str
    last: str
    top: str
    bottom: str


@dataclass(frozen=True)
class Curves:
    """`every`: one epoch in so many is drawn, and the last."""

    epochs: int
    every: int
    lines: tuple[Curve, ...]


def curves(history: Sequence[Epoch]) -> Curves | None:
    """The training loss and each of its terms; None without epochs."""
    if not history:
        return None
    every = -(-len(history) // MOST_POINTS)
    terms = [name for name in history[0].terms if all(name in epoch.terms for epoch in history)]
    told = [_curve(TOTAL, [epoch.loss for epoch in history], every)]
    told += [_curve(name, [epoch.terms[name] for epoch in history], every) for name in terms if len(terms) > 1]
    return Curves(len(history), every, tuple(told))


def _curve(name: str, values: Sequence[float], every: int) -> Curve:
    """From 0, or the least value below it, to the largest."""
    top, bottom = max(values), min(0.0, *values)
    scale = HEIGHT / ((top - bottom) or 1.0)
    step = WIDTH / max(1, len(values) - 1)
    kept = sorted({*range(0, len(values), every), len(values) - 1})
    places = [(f"{n * step:.1f}", f"{(top - values[n]) * scale:.1f}") for n in kept]
    first, last, highest, lowest = (number(value, DIGITS) for value in (values[0], values[-1], top, bottom))
    return Curve(name, " ".join(map(",".join, places)), places[-1], first, last, highest, lowest)

"""Learning curves: the training loss of every row by epoch, and whether it had come to rest. Reads only the records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from textwrap import fill

from bench.record import Record
from bench.report.drawing.figures import Chart, Line, Panel
from bench.report.drawing.looks import DASHES
from bench.report.tables.columns import dataset_label
from bench.report.tables.rows import Variant
from bench.report.tables.table import number

ACROSS = 3  # panels side by side
MOST_SEEDS = len(DASHES)  # drawn of a row
CURVES = "-curves"  # ends the name of such a chart
Y_LABEL = "training loss\n(its own terms)"
TITLE_WIDTH = 32  # characters that fit over a panel
STILL_FALLING = 0.01  # of the loss; ours
RULE = (
    "A row counts as not converged where the mean training loss of the last tenth of its epochs (at least one) lies "
    f"more than {100 * STILL_FALLING:g} % below that of the tenth before it, on average over its seeds"
)
DASH_NAMES = ("solid", "dashed", "dotted", "dash-dotted", "long dashes and dots", "sparse dots")


def learning_curves(name: str, title: str, lines: Sequence[Variant]) -> tuple[Chart, ...]:
    """One chart, a panel a row and split, a line a seed; none where no run has a history. Of more seeds than there are
    dashes the first are drawn.
    """
    splits = dict.fromkeys(split for variant in lines for split in variant.runs)
    found = [(s, one, [run for run in one.runs.get(s, ()) if run.history]) for s in splits for one in lines]
    more = any(len(runs) > MOST_SEEDS for *_, runs in found)
    seeds = sorted({run.spec.seed for *_, runs in found for run in runs[:MOST_SEEDS]})
    dashes = {seed: n for n, seed in enumerate(seeds)}
    panels: list[Panel] = []
    for split, variant, runs in found:
        if runs:
            drawn = tuple(_line(run, dashes[run.spec.seed]) for run in runs[:MOST_SEEDS])
            where = fill(f"{dataset_label(split.dataset)}: {variant.label}", TITLE_WIDTH)
            panels.append(Panel(where, "", drawn, bottom=None))
    if not panels:
        return ()
    told = ", ".join(f"{seed} {DASH_NAMES[n % len(DASHES)]}" for seed, n in dashes.items())
    chart = Chart(
        name=name,
        alt="Training loss by epoch, a panel a network; each has its own loss terms, so heights are not comparable",
        title=title,
        x_label=f"epoch ({f'the first {MOST_SEEDS} seeds' if more else 'seed'}: {told})",
        ticks=(),
        rows=_in_rows(panels),
        legend=False,
    )
    return (chart,)


def _in_rows(panels: Sequence[Panel]) -> tuple[tuple[Panel, ...], ...]:
    """The first of each row says what its y axis is."""
    named = [replace(panel, y_label="" if n % ACROSS else Y_LABEL) for n, panel in enumerate(panels)]
    return tuple(tuple(named[n : n + ACROSS]) for n in range(0, len(named), ACROSS))


def joined_curves(name: str, title: str, named: Iterable[tuple[str, Chart]]) -> tuple[Chart, ...]:
    """Learning curves of several sections as one chart, each panel with its section's name; one more for each other
    way in which seeds are dashed.
    """
    by_dashes: dict[str, list[tuple[str, Chart]]] = defaultdict(list)
    for section, chart in named:
        by_dashes[chart.x_label].append((section, chart))
    joined = []
    for nth, charts in enumerate(by_dashes.values(), 1):
        panels = [
            replace(panel, title=fill(f"{section}: {' '.join(panel.title.split())}", TITLE_WIDTH))
            for section, chart in charts
            for row in chart.rows
            for panel in row
        ]
        own = f"{name}{CURVES}" if nth == 1 else f"{name}{CURVES}-{nth}"
        joined.append(replace(charts[0][1], name=own, title=title, rows=_in_rows(panels)))
    return tuple(joined)


def convergence(lines: Iterable[Variant]) -> list[str]:
    """The rule and the rows that it finds still falling, then those it says nothing of: whose loss rose, and those
    without two epochs. One note; none where no run has two epochs.
    """
    falls = [
        (f"{variant.label} on {dataset_label(split.dataset)}", _mean_fall(runs))
        for variant in lines
        for split, runs in variant.runs.items()
    ]
    known = [(row, fall) for row, fall in falls if fall is not None]
    if not known:
        return []
    falling = [f"{row}: the loss still fell by {_percent(f)} %" for row, f in known if f > STILL_FALLING]
    rising = [f"{row} by {_percent(-f)} %" for row, f in known if f < -STILL_FALLING]
    unjudged = [row for row, fall in falls if fall is None]
    told = [f"Not converged: {'; '.join(falling)}"] if falling else []
    told += [f"The loss rose: {'; '.join(rising)}"] if rising else []
    told += [f"Not judged, for want of two epochs: {'; '.join(unjudged)}"] if unjudged else []
    if not falling and len(rising) < len(known):
        told.append("All other rows count as converged" if told else "All rows count as converged")
    return [f"{'. '.join((RULE, *told))}."]


def _mean_fall(runs: Iterable[Record]) -> float | None:
    falls = [fall for run in runs if (fall := last_fall(run)) is not None]
    return sum(falls) / len(falls) if falls else None


def _percent(fraction: float) -> str:
    return number(100 * fraction, 1)


def last_fall(record: Record) -> float | None:
    """By which part the mean loss of the last tenth of the epochs lies below that of the tenth before; None where
    there are not two epochs, or no loss above 0 to fall from.
    """
    losses = [epoch.loss for epoch in record.history]
    tenth = max(1, len(losses) // 10)
    if len(losses) < 2 * tenth:
        return None
    before = sum(losses[-2 * tenth : -tenth]) / tenth
    last = sum(losses[-tenth:]) / tenth
    return (before - last) / before if before > 0 else None


def _line(run: Record, dash: int) -> Line:
    points = tuple((float(epoch.epoch), epoch.loss) for epoch in run.history)
    return Line(f"seed {run.spec.seed}", points, method=run.spec.model, dash=dash)

"""Figure 4: the combined loss, its terms without their weight, and the scores, against the weight lambda."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from textwrap import fill

from bench.paper.numbers import content
from bench.record import Epoch, Record
from bench.report.drawing.figures import Axis, Chart, Line, Panel
from bench.report.exhibit import Exhibit, Section
from bench.report.exhibits.comparison import Keyed
from bench.report.exhibits.comparison import build_exhibit as compare
from bench.report.facts import Facts
from bench.report.gaps import Missing
from bench.report.tables.columns import metrics_of
from bench.report.tables.marks import Candidate, pooled_sd
from bench.report.tables.rows import label_of
from bench.report.tables.table import NONE, PURE, Cell, Row, Table, number, summarise
from bench.settings import profile_named
from bench.spec import Suite

WEIGHT = "contrastive_weight"  # the option
GROUP = "training, mean of the last epoch (nats)"
COMBINED = "combined loss"
TITLE = "What the weight does"
EXPLAINED = (
    "A fall of the combined loss from one weight to the next counts where it is larger than the pooled standard "
    "deviation of the seeds. At convergence it cannot fall, so one that does is noise of the optimisation or a "
    "training that had not come to rest; a lowest point in the middle chooses nothing."
)
ROW_HEIGHT = 1.9  # inches
TITLE_WIDTH = 20  # characters that fit over a panel
MOST_TICKS = 6  # that stand beside each other below a panel

Points = Mapping[float, Cell]  # weight -> its cell


@dataclass(frozen=True)
class Where:
    """A curve's data and its network: a registered name, with its other options where several rows share it."""

    data: str
    network: str

    @property
    def model(self) -> str:
        return self.network.split()[0]

    @property
    def title(self) -> str:
        return f"{self.data}: {self.network.replace(self.model, label_of(self.model), 1)}"


def _unweighted(epoch: Epoch, weight: float) -> float | None:
    term = epoch.terms.get("instance_contrastive")
    return term / weight if term is not None and weight else None  # a weight of 0 leaves nothing of it


# of the last epoch's means
LOSSES: Mapping[str, Callable[[Epoch, float], float | None]] = {
    COMBINED: lambda epoch, _: epoch.loss,
    "contrastive, without its weight": _unweighted,
    "cross-entropy": lambda epoch, _: epoch.terms.get("cross_entropy"),
    "instance classification": lambda epoch, _: epoch.terms.get("instance_classification"),
}


def build_exhibit(suite: Suite, records: Sequence[Record], missing: Mapping[str, Missing]) -> Exhibit:
    return compare(suite, records, missing, _with_losses)


def _with_losses(suite: Suite, found: Sequence[Keyed], _missing: Mapping[str, Missing]) -> list[Section]:
    return [_section(suite, keyed) for keyed in found]


def _section(suite: Suite, keyed: Keyed) -> Section:
    runs = {record.run_id: record for record in keyed.records}
    table = _with_loss_columns(keyed.section.table, runs)
    splits = list(dict.fromkeys((c.group, c.dataset, c.split) for c in table.columns if c.metric in metrics_of(suite)))
    curves = {}
    for group, dataset, split in splits:
        for network, rows in _networks(table, runs).items():
            if found := _curves(replace(table, rows=tuple(rows)), dataset, split, runs):
                curves[Where(group, network)] = found
    name = f"{suite.name}-{keyed.key.name}"
    told = f"{suite.name}, {table.size}, {_epochs(keyed.records)} epochs; {table.label}"
    return replace(
        keyed.section,
        table=replace(table, notes=(*_thinned(suite, keyed.key.profile), *table.notes)),
        figures=(*([_chart(suite, name, told, curves)] if curves else []), *keyed.section.figures),
        facts=(*([_facts(suite, curves)] if curves else []), *keyed.section.facts),
    )


def _networks(table: Table, runs: Mapping[str, Record]) -> dict[str, list[Row]]:
    """The rows of each network as trained, under each choice of its other options: one weight once in each."""
    found: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in table.rows:
        if weight_of(row, runs) is not None:
            options = next(runs[run].spec.options for cell in row.cells for run in cell.runs if run in runs)
            rest = json.dumps({key: value for key, value in options.items() if key != WEIGHT}, sort_keys=True)
            found[row.model, rest].append(row)
    several = len({model for model, _ in found}) < len(found)
    return {f"{model} {rest}" if several else model: rows for (model, rest), rows in found.items()}


def weight_of(row: Row, runs: Mapping[str, Record]) -> float | None:
    """Of a row's runs, which have one; None for floors and what was not run."""
    options = [runs[run].spec.options for cell in row.cells for run in cell.runs if run in runs]
    found = {float(one[WEIGHT]) for one in options if WEIGHT in one}
    return found.pop() if row.kind == "network" and len(found) == 1 else None


def _with_loss_columns(table: Table, runs: Mapping[str, Record]) -> Table:
    """The training losses of each split's runs behind its scores; they take no marks: the lowest is not the best."""
    last = {
        (column.dataset, column.split): j for j, column in enumerate(table.columns) if column.dataset and column.split
    }
    splits = [j for j in last.values() if table.columns[j].unit == "%"]
    columns = [
        replace(table.columns[j], key=f"{table.columns[j].key}.{name}", group=f"{table.columns[j].group}: {GROUP}",
                metric=name, unit=PURE, better="lower", digits=3, paper_digits=3, beside=False, difference=False)
        for j in splits
        for name in LOSSES
    ]  # fmt: skip
    rows = [replace(row, cells=(*row.cells, *_loss_cells(row, splits, runs))) for row in table.rows]
    return replace(table, columns=(*table.columns, *columns), rows=tuple(rows))


def _loss_cells(row: Row, splits: Sequence[int], runs: Mapping[str, Record]) -> list[Cell]:
    weight = weight_of(row, runs)
    if weight is None:
        return [Cell()] * len(splits) * len(LOSSES)
    cells = []
    for j in splits:
        behind = [runs[run] for run in row.cells[j].runs if run in runs]
        for of in LOSSES.values():
            cells.append(summarise([(r.run_id, of(r.history[-1], weight) if r.history else None) for r in behind]))
    return cells


def _curves(table: Table, dataset: str | None, split: str | None, runs: Mapping[str, Record]) -> dict[str, Points]:
    """Metric or loss -> weight -> cell, of one split."""
    curves: dict[str, dict[float, Cell]] = defaultdict(dict)
    for row in table.rows:
        weight = weight_of(row, runs)
        for column, cell in zip(table.columns, row.cells, strict=True):
            if weight is not None and (column.dataset, column.split) == (dataset, split) and cell.value is not None:
                curves[column.metric][weight] = cell
    return {name: dict(sorted(points.items())) for name, points in curves.items()}


def _epochs(records: Sequence[Record]) -> str:
    trained = {record.spec.recipe.epochs for record in records if record.history}
    return " or ".join(map(str, sorted(trained))) or "no"


def _thinned(suite: Suite, profile: str) -> list[str]:
    taken, of = len(suite.entries(profile_named(profile))), len(suite.models)
    return [f"The sweep is thinned: the profile {profile} takes {taken} of its {of} points."] if taken < of else []


def _chart(suite: Suite, name: str, told: str, curves: Mapping[Where, Mapping[str, Points]]) -> Chart:
    """Two rows of panels a split and network: losses, then scores."""
    weights = sorted({weight for by in curves.values() for points in by.values() for weight in points})
    ticks = tuple((weight, f"{weight:g}") for weight in weights) if len(weights) <= MOST_TICKS else ()
    axis = Axis("weight λ", ticks)
    minimum = content()["figures"]["figure4"]["minimum_at"]
    rows = []
    for where, by in curves.items():
        losses = tuple(_panel(_title(loss, minimum), "nats", by.get(loss, {}), axis, where.model) for loss in LOSSES)
        scores = tuple(
            _panel("" if n else where.title, f"{m} (%)", by.get(m, {}), axis, where.model)
            for n, m in enumerate(metrics_of(suite))
        )
        rows += [losses, scores]
    return Chart(
        name=name,
        alt="The combined training loss, its terms and the scores against lambda; the numbers are in the table",
        title=told,
        x_label="",
        ticks=(),
        rows=tuple(rows),
        legend=False,
        row_height=ROW_HEIGHT,
    )


def _title(loss: str, minimum: float) -> str:
    return f"{loss}\n(lowest at {minimum:g} in the paper)" if loss == COMBINED else fill(loss, TITLE_WIDTH)


def _panel(title: str, y_label: str, points: Points, axis: Axis, model: str) -> Panel:
    line = Line(
        label=label_of(model),
        points=tuple((weight, cell.value or 0.0) for weight, cell in points.items()),
        method=model,
        errors=tuple(cell.sd or 0.0 for cell in points.values()),
    )
    return Panel(title, y_label, (line,) if points else (), bottom=None if y_label == "nats" else 0.0, x=axis)


def _facts(suite: Suite, curves: Mapping[Where, Mapping[str, Points]]) -> Facts:
    """A line a split and network: which weight each number would choose, and whether the combined loss ever falls."""
    metrics = metrics_of(suite)
    lines = [
        (
            where.title,
            _chosen(by.get(COMBINED, {}), -1),
            *(_chosen(by.get(m, {}), 1) for m in metrics),
            falls(by.get(COMBINED, {})),
        )
        for where, by in curves.items()
    ]
    heads = (
        "Data",
        "Lowest combined loss at",
        *(f"Highest {metric} at" for metric in metrics),
        "As the weight grows, the loss",
    )
    return Facts(TITLE, heads, tuple(lines), (EXPLAINED,))


def _chosen(points: Points, sign: int) -> str:
    """The weight with the best number; of several that are equal, all."""
    best = max((sign * (cell.value or 0.0) for cell in points.values()), default=None)
    return ", ".join(f"{w:g}" for w, cell in points.items() if sign * (cell.value or 0.0) == best) or NONE


def falls(points: Points) -> str:
    """Whether the combined loss falls from any weight to the next, beyond the seeds' spread."""
    if len(points) < 2:
        return NONE
    found = [(low, high, _fall(points[low], points[high])) for low, high in pairwise(points)]
    down = [(low, high, fall) for low, high, fall in found if fall > 0]
    if not down:
        return "never falls"
    return "; ".join(
        f"falls by {number(f, 3)} from {a:g} to {b:g}, {_beyond(points[a], points[b], f)}" for a, b, f in down
    )


def _fall(low: Cell, high: Cell) -> float:
    return (low.value or 0.0) - (high.value or 0.0)


def _beyond(low: Cell, high: Cell, fall: float) -> str:
    noise = pooled_sd(Candidate(low.value, low.sd, low.n), Candidate(high.value, high.sd, high.n))
    if noise is None:
        return "one seed: cannot tell from noise"
    return "beyond the seeds' spread" if fall > noise else "within the seeds' spread"

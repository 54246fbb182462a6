"""Figure 3: scores against the part of the training images, and what each doubling of them gains."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from bench.paper.numbers import POINTS, cells_of
from bench.record import Record
from bench.report.drawing.figures import Axis, Chart, Line, Panel
from bench.report.exhibit import Exhibit, Section
from bench.report.exhibits.comparison import Keyed
from bench.report.exhibits.comparison import build_exhibit as compare
from bench.report.exhibits.joined import gaps_of, over_parts, stacked, unlike
from bench.report.facts import Facts
from bench.report.gaps import Missing
from bench.report.tables.columns import dataset_label, metrics_of, printed_column
from bench.report.tables.printed import ONE_VALUE
from bench.report.tables.rows import label_of
from bench.report.tables.table import NONE, Cell, Column, Row, Table, number
from bench.spec import Suite

SCALING = "Gain for each doubling of the training images"
EXPLAINED = (
    "The difference between two neighbouring parts, in percentage points, divided by the base-2 logarithm of how many "
    "times the images are more; ± is the root of the sum of both variances over seeds, divided alike. A power law's "
    "gains fall from doubling to doubling."
)
X = "part of the training images (%)"
ROW_HEIGHT = 1.9  # inches

Curve = Mapping[int, Cell]  # percent of the training images -> its cell


def build_exhibit(suite: Suite, records: Sequence[Record], missing: Mapping[str, Missing]) -> Exhibit:
    exhibit = compare(suite, records, missing, _by_part)
    return replace(exhibit, printed=_printed(suite))


def _by_part(suite: Suite, found: Sequence[Keyed], missing: Mapping[str, Missing]) -> list[Section]:
    return [_section(suite, group, missing) for group in over_parts(found)]


def _section(suite: Suite, group: Sequence[Keyed], missing: Mapping[str, Missing]) -> Section:
    key = replace(group[0].key, percent=100)
    by_percent = {keyed.key.percent: keyed.section for keyed in group}
    percents = sorted({*suite.train_percent, *by_percent})
    planned = [(_name(percent), by_percent.get(percent)) for percent in percents]
    named = [(name, section) for name, section in planned if section]
    section = stacked(named, f"{suite.name}/{key.name}", f"Profile {key.profile}, by part of the training images")
    curves = _curves(by_percent)
    told = f"{suite.name}, {section.table.size}; {section.table.label}"
    apart = unlike([(_name(keyed.key.percent), keyed) for keyed in group])
    return replace(
        section,
        table=replace(section.table, notes=(*apart, *section.table.notes)),
        gaps=gaps_of(suite, group, planned, missing),
        figures=(*_chart(suite, f"{suite.name}-{key.name}", told, curves), *section.figures),
        facts=(_gains(curves, _images(group)), *section.facts) if curves else section.facts,
    )


def _name(percent: int) -> str:
    return f"{percent} %"


def _curves(by_percent: Mapping[int, Section]) -> dict[tuple[str, str, Column], Curve]:
    """(model, label of its row, column) -> its cells; a column of scores, without its part."""
    curves: dict[tuple[str, str, Column], dict[int, Cell]] = {}
    for percent, section in sorted(by_percent.items()):
        for row in section.table.rows:
            for column, cell in zip(section.table.columns, row.cells, strict=True):
                if row.kind == "network" and column.dataset and column.unit == "%":
                    plain = replace(column, beside=False, difference=False)
                    curves.setdefault((row.model, row.label, plain), {})[percent] = cell
    return dict(curves)


def _chart(suite: Suite, name: str, told: str, curves: Mapping[tuple[str, str, Column], Curve]) -> tuple[Chart, ...]:
    """A row of panels a split, a panel a score. The paper's values stand in the same panel where its numbers may stand
    beside ours, else in a row of their own.
    """
    percents = sorted({*suite.train_percent, *(percent for curve in curves.values() for percent in curve)})
    metrics = metrics_of(suite)
    rows = []
    for where in dict.fromkeys(column.group for _, _, column in curves):
        of_split = {key: curve for key, curve in curves.items() if key[2].group == where}
        rows.append(tuple(_panel(where if m == metrics[0] else "", m, of_split) for m in metrics))
    if not rows:
        return ()
    if not any(cell.paper is not None for curve in curves.values() for cell in curve.values()):
        rows.append(tuple(_printed_panel(m, first=m == metrics[0]) for m in metrics))
    axis = Axis(X, tuple((float(p), str(p)) for p in percents), "log2")
    chart = Chart(
        name=name,
        alt="Scores against the part of the training images, the paper's hollow; the numbers are in the tables",
        title=told,
        x_label=X,
        ticks=axis.ticks,
        rows=tuple(rows),
        row_height=ROW_HEIGHT,
    )
    return (chart,)


def _panel(title: str, metric: str, curves: Mapping[tuple[str, str, Column], Curve]) -> Panel:
    lines = []
    for (model, label, column), curve in curves.items():
        known = {percent: cell for percent, cell in curve.items() if cell.value is not None}
        if column.metric == metric and known:
            points = tuple((float(percent), cell.value or 0.0) for percent, cell in known.items())
            errors = tuple(cell.sd or 0.0 for cell in known.values())
            lines.append(Line(label, points, method=model, errors=errors))
            paper = tuple((float(p), cell.paper) for p, cell in curve.items() if cell.paper is not None)
            lines += [Line(f"{label}, the paper", paper, printed=True, method=model)] if paper else []
    return Panel(title, f"{metric} (%)", tuple(lines))


def _printed_panel(metric: str, first: bool) -> Panel:
    cells = [cell for cell in cells_of(POINTS) if cell.metric == metric]
    model, points = cells[0].model or "", tuple((float(cell.train_percent), cell.value) for cell in cells)
    title = f"The paper, {dataset_label(cells[0].dataset or '')}, as printed" if first else ""
    return Panel(title, f"{metric} (%)", (Line(f"{label_of(model)}, the paper", points, printed=True, method=model),))


def _images(group: Sequence[Keyed]) -> dict[str, dict[int, int]]:
    """dataset -> percent -> how many images were trained on, where all runs agree: small parts are rounded down."""
    seen: dict[tuple[str, int], set[int]] = defaultdict(set)
    for record in (record for keyed in group for record in keyed.records if record.metrics):
        assert record.metrics is not None
        seen[record.spec.dataset, record.spec.budget.train_percent].add(record.metrics.train_images)
    images: dict[str, dict[int, int]] = defaultdict(dict)
    for (dataset, percent), counts in seen.items():
        images[dataset] |= {percent: min(counts)} if len(counts) == 1 else {}
    return images


def _gains(curves: Mapping[tuple[str, str, Column], Curve], images: Mapping[str, Mapping[int, int]]) -> Facts:
    """A line a network, split and score; then the paper's, by its percentages."""
    percents = sorted({percent for curve in curves.values() for percent in curve})
    printed: dict[str, dict[int, Cell]] = {}
    for cell in cells_of(POINTS):
        printed.setdefault(cell.metric, {})[cell.train_percent] = Cell(value=cell.value)
    steps = list(pairwise(sorted({*percents, *(p for curve in printed.values() for p in curve)})))
    lines = [
        (f"{label}, {column.group}", column.metric, *_told(curve, steps, images.get(column.dataset or "", {})))
        for (_, label, column), curve in curves.items()
    ]
    lines += [
        ("the paper, as printed", metric, *_told(curve, steps, {p: p for p in curve}))
        for metric, curve in printed.items()
    ]
    heads = ("Row", "Score", *(f"{low} to {high} % (pp)" for low, high in steps), "Each below the one before")
    return Facts(SCALING, heads, tuple(lines), (EXPLAINED,))


def _told(curve: Curve, steps: Sequence[tuple[int, int]], images: Mapping[int, int]) -> list[str]:
    ratios = [images[high] / images[low] if {low, high} <= images.keys() else 1.0 for low, high in steps]
    gains = [gain(curve.get(low), curve.get(high), times) for (low, high), times in zip(steps, ratios, strict=True)]
    known = [value for value, _ in filter(None, gains)]
    falls = NONE if len(known) < len(steps) or len(steps) < 2 else _yes(all(b < a for a, b in pairwise(known)))
    return [*(_points(one) for one in gains), falls]


def gain(low: Cell | None, high: Cell | None, times: float) -> tuple[float, float | None] | None:
    """(percentage points a doubling, their standard deviation or None) between two cells, where the second has `times`
    the images of the first.
    """
    if low is None or high is None or low.value is None or high.value is None or times <= 1:
        return None
    doublings = math.log2(times)
    spread = None if low.sd is None or high.sd is None else math.hypot(low.sd, high.sd) / doublings
    return (high.value - low.value) / doublings, spread


def _points(found: tuple[float, float | None] | None) -> str:
    if found is None:
        return NONE
    value, spread = found
    text = number(value, 2, signed=True)
    return text if spread is None else f"{text} ± {number(spread, 2)}"


def _yes(said: bool) -> str:
    return "yes" if said else "no"


def _printed(suite: Suite) -> Table:
    """The points of Figure 3, whose text gives them."""
    metrics = metrics_of(suite)
    cells = {(cell.train_percent, cell.metric): cell for cell in cells_of(POINTS)}
    dataset = cells_of(POINTS)[0].dataset
    rows = [
        Row(f"paper/{p}", _name(p), "paper", "maskattn-unet", tuple(Cell(paper=cells[p, m].value) for m in metrics))
        for p in sorted({percent for percent, _ in cells})
    ]
    return Table(
        key=f"{POINTS}/paper",
        title="The points of the paper's Figure 3, as its text gives them",
        columns=tuple(printed_column(dataset, metric) for metric in metrics),
        rows=tuple(rows),
        label=ONE_VALUE,
        row_head="Part of the training images",
    )

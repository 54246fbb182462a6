"""The size sweep beside Table 8: trained at each size, and trained at the largest and evaluated at each."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from bench.paper.numbers import cells_of, read_as
from bench.record import Record, Scores
from bench.report.drawing.figures import Chart, Line, Panel
from bench.report.exhibit import Exhibit, Section
from bench.report.exhibits.comparison import Keyed
from bench.report.exhibits.comparison import build_exhibit as compare
from bench.report.exhibits.joined import over_sizes, sizes_side_by_side
from bench.report.facts import Facts
from bench.report.gaps import Missing
from bench.report.tables.columns import dataset_label
from bench.report.tables.grouping import FLOORS
from bench.report.tables.rows import label_of
from bench.report.tables.table import NONE, Cell, Column, Row, Table, number, summarise
from bench.settings import largest
from bench.spec import Suite, parse_size, size_text

METRIC = "mIoU"
TITLE = f"Steps of {METRIC} from size to size"
ACROSS = "/across"  # ends the key of a row that was trained at the largest size
CLIFF = 3.0  # times the larger of the steps beside it
EXPLAINED = (
    "A step is the difference between two neighbouring sizes, in percentage points, divided by the base-2 logarithm of "
    f"how many times the pixels are fewer. A cliff is a step that is steeper than {CLIFF:g} times the steeper of the "
    "steps beside it. Below three sizes none can be told; noise of the seeds can make one where the curve is flat."
)
ROW_HEIGHT = 2.6  # inches

Cells = Mapping[tuple[int, int], Cell]  # by (height, width)


@dataclass(frozen=True)
class Curve:
    """One row on one dataset. `across`: of networks trained at the largest size."""

    dataset: str
    label: str
    model: str
    across: bool
    cells: Cells


@dataclass(frozen=True)
class Step:
    """Percentage points gained (lost where negative) for each halving of the pixels."""

    start: tuple[int, int]
    end: tuple[int, int]
    slope: float


def build_exhibit(suite: Suite, records: Sequence[Record], missing: Mapping[str, Missing]) -> Exhibit:
    return compare(suite, records, missing, _with_sweep)


def _with_sweep(suite: Suite, found: Sequence[Keyed], missing: Mapping[str, Missing]) -> list[Section]:
    sections = sizes_side_by_side(suite, found, missing)
    return [_section(suite, *pair) for pair in zip(over_sizes(found), sections, strict=True)]


def _section(suite: Suite, group: Sequence[Keyed], section: Section) -> Section:
    table = _with_row(_scores_alone(section.table), group)
    curves, several = _curves(table), _with_several_splits(table)
    notes = [f"{dataset_label(one)}: no curve: a size has several splits, which belong together is not known."
             for one in several]  # fmt: skip
    table = replace(table, notes=(*notes, *table.notes))
    name, told = table.key.replace("/", "-"), f"{suite.name}; {table.label}"
    charts = [_chart(name, told, curves)] if curves else []
    return replace(section, table=table, figures=(*charts, *section.figures), facts=(_facts(curves), *section.facts))


def _scores_alone(table: Table) -> Table:
    """Without the costs and what is said of them: Table 8 and the report on costs hold them."""
    kept = [j for j, column in enumerate(table.columns) if column.metric == METRIC]
    rows = tuple(replace(row, cells=tuple(row.cells[j] for j in kept)) for row in table.rows)
    notes = tuple(note for note in table.notes if "(FLOPs)" not in note)
    return replace(table, columns=tuple(table.columns[j] for j in kept), rows=rows, notes=notes)


def _with_row(table: Table, group: Sequence[Keyed]) -> Table:
    """Below each network, the same as trained at the largest size, at every size that it was evaluated at."""
    first = largest([keyed.key.size for keyed in group])
    runs = {r.run_id: r for keyed in group if keyed.key.size == first for r in keyed.records if r.spec.also_at}
    rows: list[Row] = []
    for row in table.rows:
        rows.append(row)
        behind = [runs[run] for run in dict.fromkeys(run for cell in row.cells for run in cell.runs) if run in runs]
        if row.kind == "network" and behind:
            cells = tuple(_cell(column, first, behind) for column in table.columns)
            label = f"{row.label}, trained at {size_text(first)}"
            rows.append(Row(f"{row.key}{ACROSS}", label, "setting", row.model, cells))
    return replace(table, rows=tuple(rows))


def _cell(column: Column, first: tuple[int, int], runs: Sequence[Record]) -> Cell:
    """At the column's size and on its truth; empty where a run was not evaluated on that."""
    values = []
    for run in runs:
        assert run.metrics is not None
        scores: Scores | None = run.metrics.final
        truth = run.spec.val_hash
        if column.size != size_text(first):
            truth = next((other.val_hash for other in run.spec.also_at if size_text(other.size) == column.size), None)
            scores = (run.metrics.at_sizes or {}).get(column.size or "")
        if scores is not None and run.spec.dataset == column.dataset and (truth or "").startswith(column.split or NONE):
            values.append((run.run_id, scores.miou))
    return summarise(values, 100.0)


def _curves(table: Table) -> list[Curve]:
    """Of floors and networks as trained; none of a dataset whose sizes cannot be told to be of one split."""
    several = _with_several_splits(table)
    found: dict[tuple[str, str, str, bool], dict[tuple[int, int], Cell]] = {}
    for row in (row for row in table.rows if row.kind in ("floor", "network", "setting")):
        for column, cell in zip(table.columns, row.cells, strict=True):
            if cell.value is not None and column.dataset not in several:
                key = (column.dataset or "", row.label, row.model, row.key.endswith(ACROSS))
                found.setdefault(key, {})[parse_size(column.size)] = cell
    return [Curve(*key, cells) for key, cells in found.items()]


def _with_several_splits(table: Table) -> list[str]:
    """The datasets that have two columns at one size: a split's hash differs from size to size, so it joins none."""
    count = Counter((column.dataset or "", column.size) for column in table.columns)
    return list(dict.fromkeys(dataset for (dataset, _), times in count.items() if times > 1))


def _chart(name: str, told: str, curves: Sequence[Curve]) -> Chart:
    """A panel a dataset, then the paper's Tables 1 and 8 as printed; x is the number of pixels."""
    datasets = dict.fromkeys(curve.dataset for curve in curves)
    panels = [_panel(dataset, [curve for curve in curves if curve.dataset == dataset]) for dataset in datasets]
    sizes = {size for curve in curves for size in curve.cells} | {*_printed()}
    return Chart(
        name=name,
        alt=f"{METRIC} against the number of pixels; the numbers are in the table",
        title=told,
        x_label="height x width (pixels)",
        ticks=tuple((_pixels(size), size_text(size)) for size in sorted(sizes, key=lambda s: (_pixels(s), s))),
        rows=((*panels, _printed_panel()),),
        row_height=ROW_HEIGHT,
    )


def _panel(dataset: str, curves: Sequence[Curve]) -> Panel:
    lines = []
    for curve in curves:
        trained = curve.across or curve.model in FLOORS
        cells = sorted(curve.cells.items(), key=lambda item: _pixels(item[0]))
        lines.append(
            Line(
                label=curve.label if trained else f"{curve.label}, trained at the size",
                points=tuple((_pixels(size), cell.value or 0.0) for size, cell in cells),
                method=curve.model,
                errors=tuple(cell.sd or 0.0 for _, cell in cells),
                dash=1 if curve.across else None,
            )
        )
    return Panel(dataset_label(dataset), f"{METRIC} (%)", tuple(lines))


def _printed() -> dict[tuple[int, int], Cell]:
    """The proposed network's values: Table 8, and Table 1 at its own size, both read as COCO's."""
    found = {
        read_as(cell): cell for cell in (*cells_of("table8"), *cells_of("table1")) if cell.model == "maskattn-unet"
    }
    return {size: Cell(value=cell.value) for (dataset, size), cell in found.items() if dataset == "coco" and size}


def _printed_panel() -> Panel:
    points = tuple(sorted((_pixels(size), cell.value or 0.0) for size, cell in _printed().items()))
    line = Line(f"{label_of('maskattn-unet')}, the paper", points, printed=True, method="maskattn-unet")
    return Panel("The paper's Tables 1 and 8, as printed", "", (line,))


def _facts(curves: Sequence[Curve]) -> Facts:
    """A line a curve of a network; then the paper's."""
    networks = [curve for curve in curves if curve.model not in FLOORS]
    lines = [(f"{dataset_label(one.dataset)}: {one.label}", *_told(steps(one.cells))) for one in networks]
    lines.append(("the paper, as printed (Tables 1 and 8)", *_told(steps(_printed()))))
    heads = ("Curve", "Steps (pp a halving of the pixels)", "Steepest", "Times the steeper beside it", "Cliff")
    return Facts(TITLE, heads, tuple(lines), (EXPLAINED,))


def steps(cells: Cells) -> list[Step]:
    """From the largest size down, between sizes of different numbers of pixels."""
    by_pixels = {_pixels(size): size for size in sorted(cells)}
    order = [by_pixels[pixels] for pixels in sorted(by_pixels, reverse=True)]
    return [
        Step(a, b, ((cells[b].value or 0.0) - (cells[a].value or 0.0)) / math.log2(_pixels(a) / _pixels(b)))
        for a, b in pairwise(order)
    ]


def steepest(found: Sequence[Step]) -> tuple[Step, float | None]:
    """The steepest step, and how many times the steeper of the steps beside it it is; None where these are level."""
    place = max(range(len(found)), key=lambda n: abs(found[n].slope))
    beside = max(
        (abs(step.slope) for step in (*found[max(0, place - 1) : place], *found[place + 1 : place + 2])), default=0.0
    )
    return found[place], abs(found[place].slope) / beside if beside else None


def _told(found: Sequence[Step]) -> tuple[str, str, str, str]:
    said = "; ".join(f"{_between(step)} {number(step.slope, 1, signed=True)}" for step in found) or NONE
    if len(found) < 2:
        return said, NONE, NONE, NONE
    step, times = steepest(found)
    return said, _between(step), number(times, 1), NONE if times is None else "yes" if times > CLIFF else "no"


def _between(step: Step) -> str:
    return f"{size_text(step.start)} to {size_text(step.end)}"


def _pixels(size: tuple[int, int]) -> float:
    return float(size[0] * size[1])

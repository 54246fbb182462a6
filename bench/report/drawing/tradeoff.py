"""What a network's accuracy costs: scores against FLOPs and against the time of training, with the Pareto front."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from bench.record import Record
from bench.report.drawing.figures import Axis, Chart, Line, Panel
from bench.report.drawing.looks import LOOKS
from bench.report.tables.cells import score_cell
from bench.report.tables.columns import dataset_label
from bench.report.tables.grouping import Split
from bench.report.tables.rows import Variant
from bench.report.tables.runs import known
from models.categories import Task

MAIN: Mapping[Task, str] = {"semantic": "mIoU", "instance": "AP", "panoptic": "PQ"}  # the score that stands for a task
FRONT = "Pareto front"
ROW_HEIGHT = 2.3  # inches
TIME = Axis("training (s of wall time, whatever ran beside it)")
NO_TIMES = "no times: the runs come from several machines"


@dataclass(frozen=True)
class Point:
    """One row of a table: its cost, and its score in percent with the standard deviation over seeds."""

    label: str
    method: str
    cost: float
    score: float
    sd: float


def tradeoffs(name: str, title: str, task: Task, lines: Sequence[Variant]) -> tuple[Chart, ...]:
    """One chart, a row of panels a split; none where no two rows differ in FLOPs."""
    named = _methods(lines)
    splits = dict.fromkeys(split for variant in lines for split in variant.runs)
    rows, told = [], title
    for split in splits:
        flops = _points(lines, named, split, MAIN[task], _flops)
        if len({point.cost for point in flops}) < 2:
            continue
        where = dataset_label(split.dataset)
        panels = [_panel(where, MAIN[task], Axis("FLOPs (G)"), flops)]
        if _on_one_machine(lines, split):
            times = _points(lines, named, split, MAIN[task], _training)
            panels += [_panel("", MAIN[task], TIME, times)] if times else []
        else:
            told = f"{title}; {NO_TIMES}"
        rows.append(tuple(panels))
    if not rows:
        return ()
    alt = f"{MAIN[task]} against FLOPs and the time of training, a point a row of the table; {FRONT}: no row beyond it"
    return (Chart(name, alt, told, "", (), tuple(rows), row_height=ROW_HEIGHT),)


def pareto_front(points: Iterable[Point]) -> list[Point]:
    """Those that no other point beats: none has a higher score at the same cost or less. By cost."""
    front: list[Point] = []
    for point in sorted(points, key=lambda one: (one.cost, -one.score)):
        if not front or point.score > front[-1].score:
            front.append(point)
    return front


def _points(
    lines: Sequence[Variant],
    named: Mapping[str, str],
    split: Split,
    metric: str,
    cost: Callable[[Record], float | None],
) -> list[Point]:
    """The rows that have both numbers in each of their runs."""
    points = []
    for variant in lines:
        runs = variant.runs.get(split, ())
        costs = [one for run in runs if (one := cost(run)) is not None]
        cell = score_cell(metric, "network", runs)
        if cell.value is not None and len(costs) == len(runs) == cell.n:
            points.append(Point(variant.label, named[variant.key], fmean(costs), cell.value, cell.sd or 0.0))
    return points


def _methods(lines: Sequence[Variant]) -> dict[str, str]:
    """The network whose look each row has: none where another row is of the same network, or it has no look."""
    models = [variant.row.model for variant in lines]
    return {
        variant.key: variant.row.model if models.count(variant.row.model) == 1 and variant.row.model in LOOKS else ""
        for variant in lines
    }


def _flops(run: Record) -> float | None:
    return run.network.flops / 1e9 if run.network and run.network.flops is not None else None


def _training(run: Record) -> float | None:
    return known(run.attempt.get("seconds_train"))


def _on_one_machine(lines: Iterable[Variant], split: Split) -> bool:
    attempts = [run.attempt for variant in lines for run in variant.runs.get(split, ())]
    return len({tuple(str(one.get(key)) for key in ("device", "processor", "threads")) for one in attempts}) == 1


def _panel(title: str, metric: str, x: Axis, points: Sequence[Point]) -> Panel:
    front = [(one.cost, one.score) for one in pareto_front(points)]
    dearest = max(one.cost for one in points)  # the front goes on: a dearer network may be as good
    lines = [Line(FRONT, (*front, (dearest, front[-1][1])), front=True)]
    lines += [Line(one.label, ((one.cost, one.score),), method=one.method, errors=(one.sd,)) for one in points]
    return Panel(title, f"{metric} (%)", tuple(lines), bottom=None, x=x)

"""The paper's printed costs against what is counted: at which input, if any, is each number met?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from bench.measure.cost_records import FITTED_SIZE, ONLY_COUNTED, PAPER_SIZES, CostRecord, cost_label, cost_of
from bench.paper.numbers import PaperCell, paper_value
from bench.report.drawing.figures import Chart, Line, Panel
from bench.report.facts import Facts
from bench.report.tables.table import number
from bench.spec import size_text

MET = 0.03  # a printed whole number counts as met within 3 %
# What a row of Table 4 may stand for; the first is the reading whose curve is drawn. The paper does not say which U-Net
# it is nor whether DETR segments.
CANDIDATES = {
    "unet": ("unet", "unet-resnet50", "maskattn-unet-none"),
    "detr-r50": ("detr-r50-detector", "detr-r50"),
    "detr-r101": ("detr-r101-detector", "detr-r101"),
    "mask2former-r50": ("mask2former-r50",),
    "mask2former-r101": ("mask2former-r101",),
    "maskattn-unet": ("maskattn-unet", "maskattn-unet-released"),
}
BASELINES = ("detr-r50", "detr-r101", "mask2former-r50", "mask2former-r101")
HEADS = ("Printed in Table 4", "Network", "Nearest count", "At", "Printed over counted", f"Within {100 * MET:g} %")


def printed_facts(costs: Sequence[CostRecord]) -> tuple[Facts, ...]:
    """Each printed number beside the nearest count of each network that it may be of."""
    flops = [_nearest(row, model, costs) for row, models in CANDIDATES.items() for model in models]
    params = [_parameters(row, model, costs) for row, models in CANDIDATES.items() for model in models]
    note = "Nearest among the sizes counted here. A number that is not met may be met at another size."
    return (
        Facts("Which input each printed FLOPs belongs to", HEADS, tuple(filter(None, flops)), (note,)),
        Facts("Which network each printed number of parameters belongs to", HEADS, tuple(filter(None, params))),
    )


def _nearest(row: str, model: str, costs: Sequence[CostRecord]) -> tuple[str, ...] | None:
    printed = _cell(row, "FLOPs")
    counted = [cost for cost in costs if cost.model == model and cost.flops]
    if not counted:
        return None
    best = min(counted, key=lambda cost: _distance(printed.value, (cost.flops or 0) / 1e9))
    return _line(printed, model, (best.flops or 0) / 1e9, best.size_text)


def _parameters(row: str, model: str, costs: Sequence[CostRecord]) -> tuple[str, ...] | None:
    sizes = [cost for cost in costs if cost.model == model and cost.parameters]
    if not sizes:
        return None
    return _line(_cell(row, "Params"), model, (sizes[0].parameters or 0) / 1e6, "any size")


def _line(printed: PaperCell, model: str, counted: float, where: str) -> tuple[str, ...]:
    ratio = printed.value / counted
    met = "yes" if abs(ratio - 1) <= MET else "no"
    value = f"{number(counted, 2)} {printed.unit}"
    return (f"{printed.row}: {printed.value:g} {printed.unit}", cost_label(model), value, where, number(ratio, 2), met)


def _distance(printed: float, counted: float) -> float:
    """How many times one is the other, at least 1."""
    return max(printed / counted, counted / printed)


def _cell(row: str, metric: str) -> PaperCell:
    cell = paper_value("table4", row, None, metric)
    assert cell is not None
    return cell


def fit_notes(costs: Sequence[CostRecord]) -> Iterator[str]:
    """How well one input explains the four baselines, and the order of the rows at the paper's own size."""
    fitted = [(row, _flops(CANDIDATES[row][0], FITTED_SIZE, costs)) for row in BASELINES]
    ratios = [_cell(row, "FLOPs").value / counted for row, counted in fitted if counted]
    if len(ratios) == len(BASELINES):
        most = max(abs(ratio - 1) for ratio in ratios)
        met = f"are met, all within {number(_percent_up(most), 1)} %"
        if most > MET:
            met = f"are not all met: the furthest is {number(100 * most, 1)} % off"
        yield (
            f"At {size_text(FITTED_SIZE)} the four printed FLOPs of DETR (as a detector) and Mask2Former {met}. The "
            "width is fitted: of the multiples of 32 at height 800 it has the least largest deviation, one free number "
            "for four equations."
        )
    size = PAPER_SIZES[0]
    counted = [(value, row) for row in CANDIDATES if (value := _flops(row, size, costs))]
    if len(counted) == len(CANDIDATES):
        ours = ", ".join(f"{cost_label(row)} {number(value, 2)}" for value, row in sorted(counted))
        printed = sorted((_cell(row, "FLOPs").value, cost_label(row)) for row in CANDIDATES)
        theirs = ", ".join(f"{label} {value:g}" for value, label in printed)
        yield f"From the cheapest, at {size_text(size)} (G): {ours}. As printed (G): {theirs}."


def _percent_up(fraction: float) -> float:
    """To the next tenth of a percent, so that 'within' holds; 0.0200000001 is 2 %."""
    return math.ceil(round(1000 * fraction, 6)) / 10


def _flops(model: str, size: tuple[int, int], costs: Sequence[CostRecord]) -> float | None:
    record = cost_of(costs, model, size)
    return record.flops / 1e9 if record and record.flops else None


def printed_chart(name: str, costs: Sequence[CostRecord], sizes: Sequence[tuple[int, int]]) -> tuple[Chart, ...]:
    """FLOPs over the number of pixels; each printed number at the counted size that is nearest to it."""
    sizes = [size for size in sizes if size not in ONLY_COUNTED]  # too near to the size beside it to be told apart
    lines, printed = [], []
    for row, (model, *_) in CANDIDATES.items():
        points = [(_pixels(size), value) for size in sizes if (value := _flops(model, size, costs))]
        if points:
            lines.append(Line(cost_label(model), tuple(sorted(points)), method=model))
            value = _cell(row, "FLOPs").value
            nearest = min(points, key=lambda point: _distance(value, point[1]))
            printed.append(Line("", ((nearest[0], value),), printed=True, method=model))
    if not lines:
        return ()
    chart = Chart(
        name=name,
        alt="FLOPs of each network of Table 4 against the size of the input; the numbers are in the table",
        title="Hollow: printed in Table 4, at the nearest counted size",
        x_label="height x width (pixels)",
        ticks=tuple((_pixels(size), size_text(size)) for size in sorted(sizes, key=_pixels)),
        rows=((Panel("", "FLOPs (G)", (*lines, *printed), bottom=None, logarithmic=True),),),
        row_height=2.8,
    )
    return (chart,)


def _pixels(size: tuple[int, int]) -> float:
    return float(size[0] * size[1])

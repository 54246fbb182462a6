"""What each network costs, all at equal inputs, beside the paper's cost columns: one table of FLOPs over the sizes,
then one a size with parameters, peak memory and latency.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.measure.cost_records import (
    COMMAND,
    DETECTORS,
    SIZES,
    CostRecord,
    cost_label,
    cost_models,
    cost_of,
    cost_path,
    readable_costs,
)
from bench.paper.numbers import paper_value
from bench.record import Record
from bench.report.exhibit import Exhibit, Section, Subject
from bench.report.exhibits.cost_printed import fit_notes, printed_chart, printed_facts
from bench.report.tables.table import Cell, Column, Row, Table
from bench.spec import size_text

SUBJECT = Subject(
    name="costs", title="What each network costs at equal input", nothing=f"Nothing is measured yet: run `{COMMAND}`."
)
LEGEND = (
    "Every network is built with random weights, its default options and 133 classes (COCO's), and given one image of "
    "the size named (height x width). Table 4 of the paper prints one cost a network and no input size; its numbers "
    "belong to different inputs, so they stand beside ours with their ratio and without a difference. The paper speaks "
    "of a moderate memory footprint and prints no memory at all. `detector` is DETR without its mask head: it finds "
    "boxes and cannot segment. From 480x640 a detector makes 800x1066; DETR and Mask2Former take multiples of 4 "
    "here, hence 800x1068, and from stride 4 on the maps are the same."
)
UNITS = (
    "FLOPs are G multiply-adds, each counted once (fvcore's way), every output and attention's products included; "
    "Params are M. Peak memory is MiB of tensors alive at one time in a forward pass in float32, weights and input "
    "included: the same on every machine, and without what a kernel takes for itself while it runs. Latency is ms a "
    "forward pass on one thread of the processor named, median and quartiles; one that was taken while other programs "
    "ran is not shown."
)
PRINTED = "printed in Table 4"


@dataclass(frozen=True)
class _Quantity:
    """A column of the table of one size."""

    group: str
    metric: str
    unit: str
    digits: int
    value: Callable[[CostRecord], float | None]
    printed: bool = False


FLOPS = _Quantity("counted", "FLOPs", "G", 2, lambda r: _scaled(r.flops, 1e9))
PRINTED_FLOPS = _Quantity(PRINTED, "FLOPs", "G", 0, lambda r: _printed(r, "FLOPs"), printed=True)
AT_A_SIZE = (
    FLOPS,
    _Quantity("counted", "Params", "M", 2, lambda r: _scaled(r.parameters, 1e6)),
    PRINTED_FLOPS,
    _Quantity(PRINTED, "FLOPs over counted", "ratio", 2, lambda r: _ratio(r)),
    _Quantity(PRINTED, "Params", "M", 0, lambda r: _printed(r, "Params"), printed=True),
    _Quantity("memory", "peak", "MiB", 1, lambda r: _scaled(r.peak_memory_bytes, 2**20)),
    _Quantity("memory", "of it weights", "MiB", 1, lambda r: _scaled(r.weights_bytes, 2**20)),
    _Quantity("latency", "median", "ms", 1, lambda r: _milliseconds(r, "median_s")),
    _Quantity("latency", "lower quartile", "ms", 1, lambda r: _milliseconds(r, "low_s")),
    _Quantity("latency", "upper quartile", "ms", 1, lambda r: _milliseconds(r, "high_s")),
)


def build_exhibit(_records: Sequence[Record], results: Path) -> Exhibit:
    """From the cost records below `results`. One that is damaged or of other options is left out and named."""
    costs, notes = readable_costs(results)
    sizes = [size for size in SIZES if any(cost.size == size for cost in costs)]
    sizes += sorted({cost.size for cost in costs} - set(sizes))
    sections = [_over_sizes(costs, sizes), *(_at_size(costs, size) for size in sizes)] if costs else []
    wanted = len(SIZES) * len(cost_models())
    lacking = wanted - sum(cost.size in SIZES for cost in costs)
    if costs and lacking:
        notes.append(f"{lacking} of {wanted} costs are not measured yet: {COMMAND}")
    return Exhibit(
        suite=SUBJECT,
        sections=tuple(sections),
        gaps=(),
        printed=None,
        records=(),
        notes=tuple(notes),
        legend=LEGEND,
        units=UNITS,
    )


def _over_sizes(costs: Sequence[CostRecord], sizes: Sequence[tuple[int, int]]) -> Section:
    columns = [_column(PRINTED_FLOPS), *(_column(FLOPS, size_text(size), size_text(size)) for size in sizes)]
    rows = []
    for model in _models(costs):
        any_size = next(cost for cost in costs if cost.model == model)
        cells = [_cell(FLOPS, cost_of(costs, model, size)) for size in sizes]
        rows.append(_row(model, (_cell(PRINTED_FLOPS, any_size), *cells)))
    table = Table(
        key=f"{SUBJECT.name}/flops",
        title="FLOPs over the size of the input",
        label="counted; nothing trained",
        columns=tuple(columns),
        rows=tuple(rows),
        protocol="one image, every output",
        notes=tuple(fit_notes(costs)),
    )
    return Section(table, (), printed_chart(f"{SUBJECT.name}-flops", costs, sizes), printed_facts(costs))


def _at_size(costs: Sequence[CostRecord], size: tuple[int, int]) -> Section:
    here = {cost.model: cost for cost in costs if cost.size == size}
    text = size_text(size)
    rows = [_row(model, [_cell(q, here[model]) for q in AT_A_SIZE]) for model in _models(list(here.values()))]
    timed = any(_milliseconds(cost, "median_s") is not None for cost in here.values())
    table = Table(
        key=f"{SUBJECT.name}/{text}",
        title=f"At {text}",
        label="random weights" + ("; latency of the machine named below" if timed else ""),
        columns=tuple(_column(q, size=text) for q in AT_A_SIZE),
        rows=tuple(rows),
        size=text,
        protocol="one image, evaluation mode, float32",
        notes=tuple(_notes(here)),
    )
    return Section(table, ())


def _models(costs: Sequence[CostRecord]) -> list[str]:
    there = {cost.model for cost in costs}
    return [model for model in cost_models() if model in there]


def _row(model: str, cells: Sequence[Cell]) -> Row:
    return Row(f"{SUBJECT.name}/{model}", cost_label(model), "network", model, tuple(cells))


def _cell(quantity: _Quantity, record: CostRecord | None) -> Cell:
    value = quantity.value(record) if record else None
    if record is None or value is None:
        return Cell(notes=(record.reason,) if record and record.reason else ())
    if quantity.printed:
        return Cell(paper=value)
    file = cost_path(Path(), record.model, record.size).as_posix()
    return Cell(value=value, n=1, file=file, notes=_uncounted(record) if quantity.metric == "FLOPs" else ())


def _uncounted(record: CostRecord) -> tuple[str, ...]:
    listed = ", ".join(f"{name.removeprefix('aten::')} ({times})" for name, times in record.uncounted.items())
    return (f"not counted: {listed}",) if listed else ()


def _printed(record: CostRecord, metric: str) -> float | None:
    """The paper's number for the network; a detector has that of its DETR."""
    cell = paper_value("table4", DETECTORS.get(record.model, record.model), None, metric)
    return cell.value if cell else None


def _scaled(value: float | None, scale: float) -> float | None:
    return None if value is None else value / scale


def _milliseconds(record: CostRecord, field: str) -> float | None:
    """None where other programs ran: the number would be theirs."""
    latency = record.latency
    return None if latency is None or latency.is_shared else 1000 * float(getattr(latency, field))


def _ratio(record: CostRecord) -> float | None:
    printed = _printed(record, "FLOPs")
    return printed * 1e9 / record.flops if printed and record.flops else None


def _column(quantity: _Quantity, group: str | None = None, size: str | None = None) -> Column:
    return Column(
        key=f"{size}.{quantity.group}.{quantity.metric}",
        group=group or quantity.group,
        metric=quantity.metric,
        unit=quantity.unit,
        better="lower",
        digits=quantity.digits,
        paper_digits=quantity.digits,
        size=size,
        printed=quantity.printed,
    )


def _notes(here: Mapping[str, CostRecord]) -> list[str]:
    """What was not measured and why, equal reasons together; then the machine of the latencies."""
    reasons: dict[str, list[str]] = {}
    for model in _models(list(here.values())):
        if reason := here[model].reason:
            reasons.setdefault(reason, []).append(cost_label(model))
    notes = [f"{', '.join(names)}: {reason}." for reason, names in reasons.items()]
    latencies = [record.latency for record in here.values() if record.latency]
    timed = [one for one in latencies if not one.is_shared]
    for machine in sorted({(one.processor, one.threads) for one in timed}):
        own = [one for one in timed if (one.processor, one.threads) == machine]
        passes = f"{min(one.repeats for one in own)} to {max(one.repeats for one in own)} passes"
        notes.append(f"Latency on {machine[0]}, threads: {machine[1]}, {passes} of batch 1.")
    if timed != latencies:
        notes.append(
            f"{len(latencies) - len(timed)} of {len(latencies)} latencies were taken while other programs ran and are "
            f"not shown; on a quiet machine {COMMAND} --again takes them anew."
        )
    return notes

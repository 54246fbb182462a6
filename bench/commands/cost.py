"""cost: one network at one size, or every network at the sizes of the cost tables, kept in results/costs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from bench.commands.options import name_list, print_json, terminal
from bench.errors import FAILED, OK, UserError
from bench.execute.apart import ApartError, call_apart
from bench.files import write_json
from bench.measure.cost_records import (
    CLASSES,
    SIZES,
    CostRecord,
    cost_models,
    cost_path,
    is_current,
    read_cost,
)
from bench.spec import parse_size, size_text
from models.registry import UnknownNameError, build, find

MEMORY = 8 * 2**30  # bytes a measurement may take: DETR with masks at 800x1120 takes 7.5
PRELOAD = ("bench.measure.network_cost",)  # torch, once for all processes
HEAD = f"{'network':27}{'size':>9}{'FLOPs':>10}{'params':>9}{'memory':>10}{'latency':>10}"


def cost(options: argparse.Namespace) -> int:
    if not options.all:
        return _one(options)
    if options.model or options.input or options.json or options.classes != CLASSES:
        raise UserError("--all goes with --sizes, --again and --results alone")
    sizes = _sizes(options.sizes)
    return _all([(name, size) for size in sizes for name in cost_models()], options.results, options.again)


def _sizes(text: str | None) -> Sequence[tuple[int, int]]:
    try:
        return [parse_size(part) for part in name_list(text)] or SIZES
    except ValueError as error:
        raise UserError(f"--sizes: {error}") from None


def _all(wanted: Sequence[tuple[str, tuple[int, int]]], results: Path, again: bool) -> int:
    """Measures what has no current record, one process each; what fails is said and leaves the others."""
    console, failed, kept = terminal(), 0, 0
    console.print(HEAD)
    for name, size in wanted:
        path = cost_path(results, name, size)
        record = None if again else _current(path)
        kept += record is not None
        if record is None:
            try:
                record = measure_apart(name, size)
            except ApartError as error:
                failed += 1
                console.print(f"{name} at {size_text(size)} failed: {error}")
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, record.model_dump(mode="json"))
        console.print(_line(record))
    console.print(f"{len(wanted) - kept - failed} measured, {kept} kept, {failed} failed; see `python -m bench report`")
    return FAILED if failed else OK


def measure_apart(name: str, size: tuple[int, int], memory: int = MEMORY) -> CostRecord:
    return CostRecord.model_validate(call_apart(_measured, name, size, memory=memory, preload=PRELOAD))


def _measured(name: str, size: tuple[int, int]) -> dict[str, object]:
    from bench.measure.network_cost import measure_network

    return measure_network(name, size).model_dump(mode="json")


def _current(path: Path) -> CostRecord | None:
    """The record that is there, where it can be read and its network still is what was measured."""
    try:
        record = read_cost(path)
    except UserError:
        return None
    return record if is_current(record) else None


def _line(record: CostRecord) -> str:
    flops = "-" if record.flops is None else f"{record.flops / 1e9:.2f} G"
    parameters = "-" if record.parameters is None else f"{record.parameters / 1e6:.1f} M"
    memory = "-" if record.peak_memory_bytes is None else f"{record.peak_memory_bytes / 2**20:.0f} MiB"
    latency = "-" if record.latency is None else f"{1000 * record.latency.median_s:.0f} ms"
    shared = " (machine shared)" if record.latency and record.latency.is_shared else ""
    numbers = f"{record.model:27}{record.size_text:>9}{flops:>10}{parameters:>9}{memory:>10}{latency:>10}"
    return f"{numbers}{shared}" + (f"  {record.reason}" if record.reason else "")


def _one(options: argparse.Namespace) -> int:
    if not (options.model and options.input):
        raise UserError("give --model and --input for one network, or --all")
    if options.sizes or options.again:
        raise UserError("--again and --sizes go with --all")
    try:
        find(options.model)
        size = parse_size(options.input)
    except (UnknownNameError, ValueError) as error:
        raise UserError(str(error)) from None
    from bench.measure.cost import measure, numbered_categories

    try:
        model = build(options.model, numbered_categories(options.classes), size)
    except ValueError as error:
        raise UserError(str(error)) from None
    network = measure(model, options.model, size)
    if options.json:
        print_json(network.model_dump(mode="json"))
        return OK
    console = terminal()
    console.print(f"{network.model} at {network.input} (height x width), {network.classes} classes, batch 1")
    console.print(f"parameters: {network.parameters_total:,} ({network.parameters_trainable:,} trainable)")
    if network.flops is not None:
        console.print(f"FLOPs: {network.flops / 1e9:.2f} G, one multiply-add counted once (fvcore)")
        left = ", ".join(f"{name.removeprefix('aten::')} x{count}" for name, count in network.uncounted.items())
        console.print(f"not counted: {left or 'nothing'}")
    return OK

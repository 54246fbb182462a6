"""models, cost, score, doctor: one network, one set of predictions, this machine."""

from __future__ import annotations

import argparse

from bench.commands.options import data_roots, prepared_root, print_json, terminal
from bench.display import percent
from bench.errors import FAILED, OK, UserError
from bench.spec import parse_size
from models.registry import ENTRIES, UnknownNameError, build, find


def models(options: argparse.Namespace) -> int:
    if options.json:
        print_json(
            [{"name": e.name, "family": e.family, "summary": e.summary, "options": dict(e.options)} for e in ENTRIES]
        )
        return OK
    for entry in ENTRIES:
        defaults = " ".join(f"{key}={value}" for key, value in entry.options.items())
        terminal().print(f"{entry.name:27}{entry.summary}" + (f" [{defaults}]" if defaults else ""))
    return OK


def cost(options: argparse.Namespace) -> int:
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


def score(options: argparse.Namespace) -> int:
    from bench.evaluate.score import score_files

    if options.instances_truth and not options.instances:
        raise UserError("--instances-truth needs --instances, the detections to score against it")
    scores = score_files(options.truth, options.predictions, options.instances, options.instances_truth)
    if options.json:
        print_json(scores)
        return OK
    for name, value in scores.items():
        if name == "classes":
            continue  # a row each; --json has them
        text = f"{percent(value)} %" if isinstance(value, float) else "-" if value is None else str(value)
        terminal().print(f"{name:16}{text}")
    return OK


def doctor(options: argparse.Namespace) -> int:
    from bench.doctor import examine

    problems = 0
    for finding in examine(data_roots(options), prepared_root(options), options.results, options.deep):
        problems += not finding.ok
        terminal().print(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.text}")
    return FAILED if problems else OK

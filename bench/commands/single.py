"""models, score, doctor: the networks, one set of predictions, this machine."""

from __future__ import annotations

import argparse

from bench.commands.options import data_roots, prepared_root, print_json, terminal
from bench.display import percent
from bench.errors import FAILED, OK, UserError
from models.registry import ENTRIES


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

"""A page a run: what it was asked to do, what came out, on what, and how to do it again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench.files import read
from bench.record import ClassScores, Metrics, Record, Scores
from bench.report.drawing.samples import is_public
from bench.report.facts import Facts
from bench.report.site.curve import Curves, curves
from bench.report.site.html import Frame, address, render
from bench.report.site.rerun import repeat
from bench.report.tables.columns import dataset_label
from bench.report.tables.rows import label_of
from bench.report.tables.runs import Run, run_line
from bench.report.tables.table import NONE, number
from bench.spec import size_text
from bench.store import OPTIONAL, RECORD_FILES

SCORES = {
    "mIoU": "miou",
    "PQ": "pq",
    "SQ": "sq",
    "RQ": "rq",
    "AP": "ap",
    "AP50": "ap50",
    "AP75": "ap75",
    "AR": "ar",
}  # heading -> field of Scores
PARTS = {"mIoU": "miou", "PQ": "pq", "SQ": "sq", "RQ": "rq"}  # those that exist of things and of stuff alone
OF_A_CLASS = {"IoU": "iou", "PQ": "pq", "SQ": "sq", "RQ": "rq", "AP": "ap"}  # heading -> field of ClassScores
RAW = ("status.json", *(name for name in RECORD_FILES if name not in OPTIONAL))  # git has these
DIRTY = "-dirty"  # at the end of a commit, where tracked files differed
DIGITS = 1  # of a percentage


@dataclass(frozen=True)
class Use:
    """Where a run stands: an exhibit's title and page; its suite where that plans the run, and whether on the datasets
    it names.
    """

    title: str
    page: str
    suite: str | None
    is_named: bool


@dataclass(frozen=True)
class RunPage:
    """`folder`: the way from the page to the run's folder. `lead`: what it is, in one line. `withheld`: the dataset
    whose pictures are not passed on; '' where they are.
    """

    run: Run
    lead: str
    folder: str
    state: tuple[tuple[str, str], ...]
    is_dirty: bool
    scores: Facts | None
    classes: Facts | None
    spec: Facts
    attempt: Facts
    curves: Curves | None
    samples: tuple[str, ...]
    withheld: str
    raw: tuple[str, ...]
    uses: tuple[Use, ...]
    commands: tuple[str, ...]


def run_page(record: Record, results: str, uses: tuple[Use, ...]) -> str:
    """`results`: the way from the report's folder to the store; the page lies one folder below."""
    planning = sorted((use for use in uses if use.suite), key=lambda use: not use.is_named)
    suite = planning[0].suite if planning else None
    page = RunPage(
        run=run_line(record),
        lead=_lead(record),
        folder=f"../{results}/{address(record.run_id)}",
        state=tuple(_network(record)),
        is_dirty=any(str(value).endswith(DIRTY) for key, value in flat(record.attempt) if key.endswith("git_commit")),
        scores=_scores(record.metrics) if record.metrics else None,
        classes=_classes(record),
        spec=_words("What it was asked to do", record.spec.model_dump(mode="json")),
        attempt=_words(f"Attempt {record.status.attempt}: what it ran on", record.attempt),
        curves=curves(record.history),
        samples=_samples(record),
        withheld="" if is_public(record.spec.dataset) else dataset_label(record.spec.dataset),
        raw=tuple(_raw(record)),
        uses=uses,
        commands=repeat(record.spec, suite) if suite else (),
    )
    return render("run.html.j2", Frame(root="../"), page=page)


def _samples(record: Record) -> tuple[str, ...]:
    """Of datasets whose images git has not, no page that others get may name any."""
    paths = record.folder.glob("samples/*.png") if is_public(record.spec.dataset) else ()
    return tuple(sorted(path.name for path in paths))


def flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Keys with dots -> values, mappings taken apart."""
    for key, value in content.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _words(title: str, content: Mapping[str, Any]) -> Facts:
    return Facts(title, ("Key", "Value"), tuple((key, _text(value)) for key, value in flat(content)))


def _text(value: Any) -> str:
    """A string as it is, anything else as in the file."""
    return value if isinstance(value, str) else NONE if value is None else json.dumps(value)


def _lead(record: Record) -> str:
    spec = record.spec
    where = f"{dataset_label(spec.dataset)} at {size_text(spec.size)}"
    parts = [label_of(spec.model), f"{spec.task} segmentation", where]
    parts += [f"profile {spec.profile}", f"seed {spec.seed}", f"protocol {spec.protocol}"]
    if spec.budget.train_percent != 100:
        parts.append(f"{spec.budget.train_percent} % of the training images")
    if spec.budget.held_out:
        parts.append(f"a candidate of a search, scored on {spec.budget.held_out} % of the training images")
    return ", ".join(parts)


def _network(record: Record) -> Iterator[tuple[str, str]]:
    """What is known of the network, as (name, value)."""
    if network := record.network:
        flops = None if network.flops is None else network.flops / 1e9
        yield "Parameters (M)", number(network.parameters_total / 1e6, 2) if network.parameters_total else NONE
        yield f"FLOPs (G) at {network.input}", number(flops, 2)
        if network.uncounted:
            yield "Not counted", ", ".join(f"{name} ({times})" for name, times in network.uncounted.items())
    if record.metrics:
        yield "Trained on", f"{record.metrics.train_images:,} images"
        yield "Evaluated on", f"{record.metrics.final.images:,} images"
        yield "Instances of the truth", record.metrics.final.instance_truth


def _scores(metrics: Metrics) -> Facts:
    """Percent: all, things and stuff of the trained network and of the same before training."""
    columns = [("trained", metrics.final, ""), ("things", metrics.final, "_thing"), ("stuff", metrics.final, "_stuff")]
    columns += [("untrained", metrics.untrained, "")] if metrics.untrained else []
    lines = tuple((name, *(_score(of, key, part, name) for _, of, part in columns)) for name, key in SCORES.items())
    return Facts("Scores, %", ("Metric", *(title for title, _, _ in columns)), lines)


def _score(scores: Scores, key: str, part: str, name: str) -> str:
    return _percent(getattr(scores, f"{key}{part}")) if not part or name in PARTS else NONE


def _classes(record: Record) -> Facts | None:
    """Each class's numbers. A report keeps no record's classes in memory, so they are read here."""
    if record.metrics is None:
        return None
    classes = read(record.folder / "metrics.json", Metrics).classes
    if not classes:
        return None
    heads = ("Class", "Kind", *(f"{name} (%)" for name in OF_A_CLASS))
    return Facts("Each class", heads, tuple(map(_class, classes)))


def _class(one: ClassScores) -> tuple[str, ...]:
    numbers = [_percent(getattr(one, key)) for key in OF_A_CLASS.values()]
    return (one.name, "thing" if one.isthing else "stuff", *numbers)


def _percent(fraction: float | None) -> str:
    return number(None if fraction is None else 100 * fraction, DIGITS)


def _raw(record: Record) -> Iterator[str]:
    """The record's files that git keeps, so that a page is the same in every checkout."""
    yield from (name for name in RAW if (record.folder / name).is_file())
    attempts = [path for path in record.folder.glob("attempts/*.json") if path.stem.isdigit()]
    yield from (f"attempts/{path.name}" for path in sorted(attempts, key=lambda path: int(path.stem)))

"""A finished run evaluated again from its kept weights: for numbers that its record lacks, such as new protocols.

What was recorded must come out again, to the last bit; else the record stays as it is, unless that is accepted.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from bench.attempt import now, surroundings
from bench.data.prepared import Prepared
from bench.data.source import Source
from bench.data.view import View
from bench.errors import UserError
from bench.evaluate.evaluator import Evaluator
from bench.evaluate.native import evaluate_oracle
from bench.evaluate.oracle import way_of
from bench.files import write_json
from bench.initialisation import longrange
from bench.measure.cost import measure
from bench.measure.levels import Maps, level_maps
from bench.measure.longrange_record import LongRange, lacks_longrange, write_longrange
from bench.predict import evaluate
from bench.record import ClassScores, Metrics, Network, Record, Scores, Status
from bench.store import Store, read_attempt
from models.interface import SegmentationModel
from models.registry import build, find

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Place:
    """Where a run is evaluated again: as it was the first time, as far as this machine allows."""

    device: str
    threads: int


@dataclass(frozen=True)
class Again:
    """`metrics`: the record's, with the numbers of today; `differs`: those that are not as recorded, in words;
    `longrange` and `network`: where they have to be written.
    """

    metrics: Metrics
    differs: tuple[str, ...]
    evaluator: Evaluator
    attempt: dict[str, Any]
    longrange: LongRange | None
    network: Network | None


def evaluate_again(
    record: Record, val: Prepared, source: Source, place: Place, report: Report, samples: Path | None
) -> Again:
    """Evaluates the run's network (or oracle) on `val`, the split of its spec. Changes nothing on disk but `samples`.

    Raises UserError where the weights do not fit today's network.
    """
    assert record.metrics is not None
    number = 1 + max(int(path.stem) for path in (record.folder / "attempts").glob("*.json") if path.stem.isdigit())
    attempt = surroundings(record.spec, place.device, place.threads, number)
    torch.set_num_threads(place.threads)
    torch.backends.cudnn.allow_tf32 = False  # as in bench/run.py
    maps: Maps = {}
    network = None
    if find(record.spec.model).is_network:
        view = View(val, record.spec.task)
        model = _trained(record, view).to(place.device)
        with level_maps(model) as maps:
            evaluator = evaluate(model, view, report, samples, protocols=True)
        network = _with_inputs(record, model)
    else:
        spec = record.spec
        way = way_of(spec.model)
        evaluator = evaluate_oracle(source, val.split, val.ids, spec.size, way, spec.task, report, samples).evaluator
    metrics = record.metrics.model_copy(
        update={
            "final": Scores.model_validate(evaluator.metrics()),
            "classes": tuple(ClassScores(**row) for row in evaluator.classes()),
            "protocols": evaluator.protocols(),
        }
    )
    differs, found = _differences(record.metrics, metrics), None
    if maps and (differs or lacks_longrange(record)):
        found = longrange(record.spec, View(val, record.spec.task), maps, place.device)
    return Again(metrics, differs, evaluator, attempt | {"end": now()}, found, network)


def write_again(store: Store, record: Record, again: Again, samples: Path | None) -> None:
    """Puts the new numbers into the record, with an attempt that says where they come from: the training's facts stay
    as they were, `evaluated_again` has what this evaluation ran on. `samples`: take the place of the record's.

    The record can be read at every moment: its seal is off while its files are replaced, and images.parquet, which may
    be absent, is never beside other numbers than its own.
    """
    evaluation = {key: value for key, value in again.attempt.items() if key not in ("number", "schema_version", "seed")}
    attempt = {**record.attempt, "number": again.attempt["number"]}
    attempt.pop("evaluation_only", None)  # said of an earlier one
    attempt["evaluated_again"] = {
        "weights_of_attempt": _trained_in(record),
        "differs": list(again.differs),
        **evaluation,
    }
    store.write_attempt(record.run_id, attempt["number"], attempt)
    status, images = Status(run_id=record.run_id, state="done", attempt=attempt["number"]), "images.parquet"
    store.unseal(status)
    (record.folder / images).unlink(missing_ok=True)
    write_json(record.folder / "metrics.json", Metrics.model_validate(again.metrics).model_dump(mode="json"))
    again.evaluator.write_images(record.folder / images)
    if again.network is not None:
        write_json(record.folder / "network.json", again.network.model_dump(mode="json"))
    if again.longrange is not None:
        write_longrange(record.folder, again.longrange)
    store.finish(status)
    if samples is not None:
        shutil.rmtree(record.folder / "samples", ignore_errors=True)
        samples.rename(record.folder / "samples")


def _with_inputs(record: Record, model: SegmentationModel) -> Network | None:
    """The record's network.json with what feeds what. None where it has that, or where today's counts are others."""
    old = record.network
    if old is None or not old.modules or any(module.inputs for module in old.modules):
        return None
    new = measure(model, record.spec.model, record.spec.size)
    without = tuple(module.model_copy(update={"inputs": None}) for module in new.modules)
    return new if new.model_copy(update={"modules": without}) == old else None


def _trained(record: Record, view: View) -> SegmentationModel:
    spec = record.spec
    try:
        model = build(spec.model, view.categories, spec.size, spec.task, **spec.options)
        model.load_state_dict(load_file(record.weights))
    except (ValueError, RuntimeError, OSError, SafetensorError) as error:
        first = (str(error).splitlines() or [""])[0]
        raise UserError(
            f"{record.run_id}: its weights cannot be put into {spec.model} as it is today: {first}"
        ) from None
    return model.to(memory_format=torch.channels_last)


def _trained_in(record: Record) -> int | None:
    """The attempt whose weights these are: the last that was no evaluation alone. None: an oracle has none."""
    if not find(record.spec.model).is_network:
        return None
    number = record.status.attempt
    while {"evaluated_again", "evaluation_only"} & read_attempt(record.folder / "attempts" / f"{number}.json").keys():
        number -= 1
    return number


def _differences(old: Metrics, new: Metrics) -> tuple[str, ...]:
    before, after = old.final.model_dump(), new.final.model_dump()
    found = [f"{key} {before[key]} is now {after[key]}" for key in before if before[key] != after[key]]
    if not found and old.classes != new.classes:
        found = ["the scores of single classes are others"]
    return tuple(found)

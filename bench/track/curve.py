"""What is tracked of a run, from its spec, the messages of its process and its record. No torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from bench.record import Metrics, Record, Scores
from bench.spec import RunSpec
from bench.store import with_history

Setting = str | int | float | bool
Point = tuple[int, dict[str, float]]  # the step after which it is, and numbers by name


def settings_of(spec: RunSpec) -> dict[str, Setting]:
    """The spec, flat: `recipe.lr` and the like; a list as JSON. What is null is left out."""
    return dict(_flat(spec.model_dump(mode="json"), ""))


def point_of(message: Mapping[str, Any]) -> Point:
    """Of a message that tells a step; where it ends an epoch, with that line of history.jsonl."""
    values = {"step/loss": message["loss"], **{f"step/{name}": value for name, value in message["terms"].items()}}
    values |= {"step/learning_rate": message["rate"], "step/images_per_s": message["images_per_s"]}
    if message["epoch_end"]:
        line = json.loads(message["line"])
        values |= {"epoch/loss": line["loss"], **{f"epoch/{name}": value for name, value in line["terms"].items()}}
    return message["step"], values


def scores_of(record: Record) -> list[Point]:
    """Before training, at step 0, and after it, at the last step, which is 0 of what takes none."""
    metrics, history = record.metrics, with_history(record).history
    assert isinstance(metrics, Metrics)
    points = [(history[-1].step if history else 0, _named(metrics.final))]
    return points if metrics.untrained is None else [(0, _named(metrics.untrained)), *points]


def _named(scores: Scores) -> dict[str, float]:
    return {f"scores/{name}": value for name, value in scores if isinstance(value, float)}


def _flat(content: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Setting]]:
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif value is not None:
            yield prefix + name, json.dumps(value) if isinstance(value, list) else value

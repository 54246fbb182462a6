"""An oracle over a split, read at its native size and scored there. One image in memory at a time. Imports no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.data.scene import Scene
from bench.data.source import Source
from bench.evaluate.evaluator import Evaluator, InstanceTruth
from bench.evaluate.oracle import Lost, Way, predict
from bench.evaluate.resample import Size
from bench.evaluate.samples import SAMPLES, draw_sample
from models.categories import Task


@dataclass(frozen=True)
class NativeResult:
    """The scores, what vanished, and the sha256 of the native truth that both are against."""

    evaluator: Evaluator
    lost: Lost
    truth_hash: str


def evaluate_oracle(
    source: Source,
    split: str,
    ids: Sequence[str],
    size: Size,
    way: Way,
    task: Task,
    report: Callable[[int, int], None],
    samples: Path | None = None,
) -> NativeResult:
    """Scores the resize to `size` (height, width) and back on these images; with `samples`, draws the first there."""
    truth: InstanceTruth = "instances" if source.has_instances(split) else "panoptic things"
    evaluator = Evaluator(source.categories, truth, task=task, protocols=True)
    lost, digest = Lost(), hashlib.sha256()
    part = source.part(split, ids)
    for index, id in enumerate(ids):
        scene = part.scene(split, id)
        prediction = predict(scene, size, way)
        evaluator.add_encoded(
            id,
            scene.segments,
            scene.table,
            scene.instances,
            prediction.semantic,
            prediction.panoptic,
            prediction.segments,
            prediction.detections,
        )
        lost += prediction.lost
        _digest(digest, scene)
        if samples and index < SAMPLES:
            maps = (scene.segments, scene.table), (prediction.panoptic, prediction.segments)
            draw_sample(samples, index, id, source.categories, task, scene.image, *maps)
        report(index + 1, len(ids))
    return NativeResult(evaluator, lost, digest.hexdigest())


def _digest(digest: Any, scene: Scene) -> None:
    """Adds what decides an image's truth, which no grid has part in."""
    instances = [(one.category, one.is_crowd, one.rle["counts"]) for one in scene.instances or ()]
    digest.update(repr((scene.id, scene.segments.shape, sorted(scene.table.items()), instances)).encode())
    digest.update(scene.segments.astype("<i4").tobytes())

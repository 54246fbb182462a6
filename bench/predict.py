"""A network over a prepared split: full precision, a fixed batch, one prediction an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from bench.data.view import View
from bench.evaluate.evaluator import EvaluatedPrediction, Evaluator, InstanceTruth
from bench.evaluate.samples import SAMPLES, draw_sample
from models.interface import Prediction, SegmentationModel

EVALUATION_BATCH = 8  # fixed, since a GPU's sums can depend on it


def predictions(model: SegmentationModel, data: View) -> Iterator[tuple[int, EvaluatedPrediction]]:
    """(image number, its prediction), in order. Leaves the model in eval mode."""
    model.eval()
    device = next((t.device for t in (*model.parameters(), *model.buffers())), torch.device("cpu"))
    for start in range(0, len(data), EVALUATION_BATCH):
        with torch.no_grad():
            decoded = model.decode(model(images_of(data, start, EVALUATION_BATCH, device)))
        for offset, prediction in enumerate(decoded):
            yield start + offset, to_numpy(prediction)


def images_of(data: View, start: int, count: int, device: torch.device | str) -> Tensor:
    """(B, 3, H, W) float32 in [0, 1]: `count` images from `start` on, fewer at the end, as a network takes them."""
    pixels = torch.from_numpy(np.array(data.images[start : start + count])).to(device)
    return (pixels.permute(0, 3, 1, 2).float() / 255).contiguous(memory_format=torch.channels_last)


def to_numpy(prediction: Prediction) -> EvaluatedPrediction:
    return EvaluatedPrediction(
        semantic=prediction.semantic.cpu().numpy(),
        panoptic=prediction.panoptic.cpu().numpy(),
        segments=prediction.segments,
        masks=prediction.masks.cpu().numpy(),
        categories=prediction.categories.cpu().numpy(),
        scores=prediction.scores.cpu().numpy(),
    )


def evaluate(
    model: SegmentationModel,
    data: View,
    report: Callable[[int, int], None],
    samples: Path | None = None,
    protocols: bool = False,
) -> Evaluator:
    """Scores a network on a split. With `samples`, the first images are drawn there; `protocols` as in `Evaluator`."""
    truth = cast(InstanceTruth, data.instance_truth)
    evaluator = Evaluator(data.categories, truth, task=data.task, protocols=protocols)
    for index, prediction in predictions(model, data):
        evaluator.add(data.ids[index], data.segments[index], data.table(index), data.instances(index), prediction)
        if samples and index < SAMPLES:
            maps = (data.segments[index], data.table(index)), (prediction.panoptic, prediction.segments)
            draw_sample(samples, index, data.ids[index], data.categories, data.task, data.images[index], *maps)
        report(index + 1, len(data))
    return evaluator

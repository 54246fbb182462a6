"""A network over a prepared split: full precision, a fixed batch, one prediction an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from bench.data.view import View
from bench.evaluate.encoded import Encoded
from bench.evaluate.evaluator import EvaluatedPrediction, Evaluator, InstanceTruth
from bench.evaluate.samples import SAMPLES, draw_sample
from bench.group import ALONE, Group
from bench.stop import StoppedError
from models.interface import Prediction, SegmentationModel

EVALUATION_BATCH = 8  # fixed, since a GPU's sums can depend on it


def predictions(model: SegmentationModel, data: View) -> Iterator[tuple[int, EvaluatedPrediction]]:
    """(image number, its prediction), in order. Leaves the model in eval mode."""
    for start in range(0, len(data), EVALUATION_BATCH):
        yield from _batch(model, data, start)


def _batch(model: SegmentationModel, data: View, start: int) -> Iterator[tuple[int, EvaluatedPrediction]]:
    """Those of the batch that begins with image `start`; none where the split has ended before."""
    model.eval()
    if start >= len(data):
        return
    device = next((t.device for t in (*model.parameters(), *model.buffers())), torch.device("cpu"))
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
    group: Group = ALONE,
    number: int = 0,
) -> Evaluator:
    """Scores a network on a split. With `samples`, the first images are drawn there; `protocols` as in `Evaluator`.

    The processes of a group predict a batch each in turn, this one adds all up in the order of the images: the numbers
    are those of one process. `number`: by which the others know the split.
    """
    truth = cast(InstanceTruth, data.instance_truth)
    evaluator = Evaluator(data.categories, truth, task=data.task, protocols=protocols)
    with group.leads(number, StoppedError):
        for index, found in _in_order(model, data, group):
            segments, table = data.segments[index], data.table(index)
            evaluator.add_encoded(
                data.ids[index],
                segments,
                table,
                data.instances(index),
                found.semantic,
                found.panoptic,
                found.segments,
                found.detections,
            )
            if samples and index < SAMPLES:
                maps = (segments, table), (found.panoptic, found.segments)
                draw_sample(samples, index, data.ids[index], data.categories, data.task, data.images[index], *maps)
            report(index + 1, len(data))
    return evaluator


def evaluate_share(model: SegmentationModel, data: View, group: Group) -> None:
    """What a process that follows does while the first is in `evaluate`."""
    start = group.rank * EVALUATION_BATCH
    while group.tell():
        group.collect([found.small() for found in _encoded(model, data, start)])
        start += group.size * EVALUATION_BATCH


def _in_order(model: SegmentationModel, data: View, group: Group) -> Iterator[tuple[int, Encoded]]:
    """(image number, its prediction) of all images, predicted by all processes of the group."""
    for start in range(0, len(data), group.size * EVALUATION_BATCH):
        group.tell(True)
        mine = _encoded(model, data, start)
        if group.size == 1:
            yield from enumerate(mine, start)
        else:
            batches = [list(mine), *group.collect([])[1:]]
            yield from enumerate((found.restored() for batch in batches for found in batch), start)


def _encoded(model: SegmentationModel, data: View, start: int) -> Iterator[Encoded]:
    """The predictions of the batch that begins there; none beyond the split's end."""
    for index, prediction in _batch(model, data, start):
        try:
            yield Encoded.of(prediction)
        except ValueError as error:
            raise ValueError(f"image {data.ids[index]}: {error}") from error

"""A network over a prepared split: full precision, a fixed batch, one prediction an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import numpy as np
import torch
from PIL import Image

from bench.data.prepared import Prepared
from bench.data.scene import semantic_of
from bench.evaluate.evaluator import EvaluatedPrediction, Evaluator, InstanceTruth
from models.categories import Categories
from models.interface import Prediction, SegmentationModel

EVALUATION_BATCH = 8  # fixed, since a GPU's sums can depend on it
SAMPLES = 4  # pictures a run keeps
VOID_COLOR = (0, 0, 0)


def predictions(model: SegmentationModel, data: Prepared) -> Iterator[tuple[int, EvaluatedPrediction]]:
    """(image number, its prediction), in order. Leaves the model in eval mode."""
    model.eval()
    device = next((t.device for t in (*model.parameters(), *model.buffers())), torch.device("cpu"))
    for start in range(0, len(data), EVALUATION_BATCH):
        pixels = np.array(data.images[start : start + EVALUATION_BATCH])
        images = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float() / 255
        with torch.no_grad():
            decoded = model.decode(model(images.contiguous(memory_format=torch.channels_last)))
        for offset, prediction in enumerate(decoded):
            yield start + offset, to_numpy(prediction)


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
    model: SegmentationModel, data: Prepared, report: Callable[[int, int], None], samples: Path | None = None
) -> Evaluator:
    """Scores a network on a split. With `samples`, the first images are drawn there."""
    evaluator = Evaluator(data.categories, cast(InstanceTruth, data.instance_truth))
    for index, prediction in predictions(model, data):
        evaluator.add(data.ids[index], data.segments[index], data.table(index), data.instances(index), prediction)
        if samples and index < SAMPLES:
            draw_sample(samples / f"{index}.png", data, index, prediction)
        report(index + 1, len(data))
    return evaluator


def draw_sample(path: Path, data: Prepared, index: int, prediction: EvaluatedPrediction) -> None:
    """Image | truth | prediction, side by side; a colour a category, a dark line between segments."""
    path.parent.mkdir(parents=True, exist_ok=True)
    truth = semantic_of(data.segments[index], data.table(index))
    lookup = {number: segment.category for number, segment in prediction.segments.items()}
    categories = np.vectorize(lambda number: lookup.get(number, 255), otypes=[np.uint8])(prediction.panoptic)
    panels = [
        data.images[index],
        paint(truth, data.segments[index], data.categories),
        paint(categories, prediction.panoptic, data.categories),
    ]
    Image.fromarray(np.concatenate(panels, axis=1)).save(path)


def paint(labels: np.ndarray, segments: np.ndarray, categories: Categories) -> np.ndarray:
    """(H, W) categories, 255 = void, and segment ids -> (H, W, 3) uint8."""
    palette = np.array([entry.color for entry in categories.entries] + [VOID_COLOR], dtype=np.uint8)
    picture = palette[np.where(labels == 255, len(categories), labels)]
    edge = np.zeros(labels.shape, dtype=bool)
    edge[:, 1:] |= segments[:, 1:] != segments[:, :-1]
    edge[1:] |= segments[1:] != segments[:-1]
    picture[edge] //= 3
    return picture

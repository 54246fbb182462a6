"""images.parquet of runs that never were: counts and detections drawn from known laws. Every number is test data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.evaluate.images import ImageRows, write_images
from bench.evaluate.instance import COCO_IOU, DetectionTable


@dataclass(frozen=True)
class Split:
    """The truth of N images, the same for every run: pixels and instances of each category, (N, K)."""

    pixels: NDArray[np.int64]
    instances: NDArray[np.int64]

    @classmethod
    def draw(cls, images: int, classes: int, things: int, rng: np.random.Generator, per_image: int = 7) -> Split:
        """Each image has about eight categories; the first `things` have instances, `per_image` on average, the
        earlier categories more often.
        """
        share = 1 / (5 + np.arange(things))
        instances = rng.poisson(per_image * share / share.sum(), size=(images, things))
        present = rng.random((images, classes)) < 8 / classes
        present[:, :things] |= instances > 0
        pixels = present * rng.integers(50, 3000, size=(images, classes))
        return cls(pixels, np.pad(instances, ((0, 0), (0, classes - things))))


@dataclass(frozen=True)
class Run:
    rows: list[ImageRows]
    detections: DetectionTable

    def write(self, path: Path) -> Path:
        write_images(path, [f"{n:06d}" for n in range(len(self.rows))], self.rows, self.detections, COCO_IOU)
        return path


def draw_run(split: Split, skill: float, per_image: int, rng: np.random.Generator) -> Run:
    """`skill`: the mean share of a category's pixels that are found, and of its instances at IoU 0.5; `per_image`:
    detections, true and false.
    """
    return Run(_rows(split, skill, rng), _detections(split, skill, per_image, rng))


def _rows(split: Split, skill: float, rng: np.random.Generator) -> list[ImageRows]:
    found = rng.beta(4 * skill, 4 * (1 - skill), size=split.pixels.shape)
    intersection = np.rint(split.pixels * found).astype(np.int64)
    wrong = rng.random(split.pixels.shape) < 0.02
    predicted = intersection + np.rint(split.pixels * (1 - found)).astype(np.int64) // 2 + 200 * wrong
    segments = np.maximum(split.instances, split.pixels > 0)
    tp = rng.binomial(segments, skill)
    quality = tp * rng.uniform(0.6, 0.9, size=tp.shape)
    fp = rng.binomial(segments, 0.4) + wrong
    counts = np.stack([tp, fp, segments - tp], axis=2)
    pixels = np.stack([intersection, split.pixels, predicted], axis=2)
    rows = []
    for n in range(len(split.pixels)):
        (kept,) = np.nonzero(pixels[n].any(axis=1) | counts[n].any(axis=1))
        if len(kept):
            rows.append(ImageRows(kept, pixels[n][kept], quality[n][kept], counts[n][kept], split.instances[n][kept]))
        else:
            zeros = np.zeros((1, 3), dtype=np.int64)
            rows.append(ImageRows(np.array([-1]), zeros, np.zeros(1), zeros, np.zeros(1, dtype=np.int64)))
    return rows


def _detections(split: Split, skill: float, per_image: int, rng: np.random.Generator) -> DetectionTable:
    """The instances found, with an IoU from 0.5 to 1, and false ones of the commoner categories; scores tell them
    apart in part.
    """
    truth_image, truth_category = (np.repeat(part, split.instances.ravel()) for part in _grid(split.instances.shape))
    kept = rng.random(len(truth_image)) < skill
    image, category = truth_image[kept], truth_category[kept]
    false = max(0, per_image * len(split.pixels) - len(image))
    frequency = split.instances.sum(axis=0) / split.instances.sum()
    iou = np.append(rng.uniform(0.5, 1.0, size=len(image)), np.zeros(false))
    image = np.append(image, rng.integers(len(split.pixels), size=false))
    category = np.append(category, rng.choice(len(frequency), size=false, p=frequency))
    score = np.clip(rng.normal(0.35 + 0.3 * (iou > 0), 0.15), 0.0, 1.0)
    order = np.lexsort((-score, category, image))
    matched = iou[order, None] >= np.array(COCO_IOU)
    return DetectionTable(image[order], category[order], score[order], matched, np.zeros_like(matched))


def _grid(shape: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    image, category = np.indices(shape)
    return image.ravel(), category.ravel()

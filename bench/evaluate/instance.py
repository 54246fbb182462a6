"""Average precision of instance masks over a split, by pycocotools (`bench.evaluate.coco`).

Shape letters: D detections of a split, K categories, T IoU thresholds, R recalls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_codec

from bench.data.scene import Instance
from bench.evaluate.coco import Outcomes, match
from bench.evaluate.detections import MAX_DETECTIONS, Detections

COCO_IOU = tuple(float(t) for t in np.linspace(0.5, 0.95, 10))  # COCOeval's own grid, .50:.05:.95


@dataclass(frozen=True)
class InstanceQuality:
    """Fractions, None where no category has truth (or the threshold is not on the grid).

    ap, ap50, ap75: mean average precision; ar: mean of the recalls at 100 detections; classes: how many categories
    have truth that is not crowd, which is what the means run over; ap_per_class: K entries.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    ar: float | None
    classes: int
    ap_per_class: list[float | None]


@dataclass(frozen=True)
class DetectionTable:
    """The detections of a split: image (D,) place in the order of adding; category (D,); score (D,);

    matched, ignored: (D, T) bool. A true positive is matched and not ignored, a false positive neither. Ignored are
    the detections that fell on a crowd.
    """

    image: NDArray[np.int64]
    category: NDArray[np.int64]
    score: NDArray[np.float64]
    matched: NDArray[np.bool_]
    ignored: NDArray[np.bool_]


class InstanceAccumulator:
    """Collects the images of a split. `classes` is K; `limit` is the most detections kept of an image (None: all).

    COCOeval itself takes 100 of each image and category, which `limit=None` leaves as it is. `also`: further IoU
    thresholds that are matched in the same pass; only `average_precision` knows them.
    """

    def __init__(
        self,
        classes: int,
        iou_thresholds: Sequence[float] = COCO_IOU,
        limit: int | None = MAX_DETECTIONS,
        also: Sequence[float] = (),
    ) -> None:
        if not len(iou_thresholds):
            raise ValueError("at least one IoU threshold is needed")
        self.classes = classes
        self.iou_thresholds = np.asarray(iou_thresholds, dtype=np.float64)
        self.limit = limit
        further = [threshold for threshold in also if not _close(self.iou_thresholds, threshold).any()]
        self._outcomes = Outcomes(classes, np.append(self.iou_thresholds, further))

    @property
    def images(self) -> int:
        return self._outcomes.images

    def add(self, truth: Sequence[Instance], detections: Detections) -> NDArray[np.int64]:
        """One image. Returns (K,) its true instances that are not crowd. Truth without pixels is left out.

        Raises ValueError for a category outside 0 .. K-1 or masks of different sizes.
        """
        truth = [instance for instance in truth if rle_codec.area(instance.rle) > 0]
        if self.limit is not None:
            detections = detections.best(self.limit)
        self._check(truth, detections)
        self._outcomes.add(match(truth, detections, self._outcomes.thresholds))
        counted = np.array([instance.category for instance in truth if not instance.is_crowd], dtype=np.int64)
        return np.bincount(counted, minlength=self.classes)

    def result(self) -> InstanceQuality:
        """AP over everything added so far."""
        if not self._outcomes.of_image:
            return InstanceQuality(None, None, None, None, 0, [None] * self.classes)
        grid = len(self.iou_thresholds)
        precision, recall = (values[:grid] for values in self._outcomes.precision_recall())
        present = (recall > -1).all(axis=0)  # -1 is COCOeval's mark of a category without truth
        return InstanceQuality(
            ap=mean_precision(precision),
            ap50=self._at(precision, 0.5),
            ap75=self._at(precision, 0.75),
            ar=mean_precision(recall),
            classes=int(present.sum()),
            ap_per_class=[mean_precision(precision[:, :, k]) for k in range(self.classes)],
        )

    def average_precision(self, grids: Sequence[Sequence[float]], most: int | None = None) -> list[float | None]:
        """AP of each grid of IoU thresholds, over the `most` best detections of each image (None: those kept).

        Raises ValueError for a threshold that is neither on the grid nor in `also`.
        """
        if not self._outcomes.of_image:
            return [None] * len(grids)
        places = [[self._place(threshold) for threshold in grid] for grid in grids]
        precision, _ = self._outcomes.precision_recall(most)
        return [mean_precision(precision[rows]) for rows in places]

    def table(self) -> DetectionTable:
        """Every detection with its match at each threshold of the grid, by image, category and falling score."""
        kept = [(image, outcome) for image, outcome in self._outcomes.of_image if len(outcome.scores)]
        lengths = [len(outcome.scores) for _, outcome in kept]
        grid = len(self.iou_thresholds)
        return DetectionTable(
            image=np.repeat(np.array([image for image, _ in kept], dtype=np.int64), lengths),
            category=np.repeat(np.array([outcome.category for _, outcome in kept], dtype=np.int64), lengths),
            score=np.concatenate([np.empty(0), *(outcome.scores for _, outcome in kept)]),
            matched=np.concatenate([np.empty((0, grid), dtype=bool), *(o.matched[:grid].T for _, o in kept)]),
            ignored=np.concatenate([np.empty((0, grid), dtype=bool), *(o.ignored[:grid].T for _, o in kept)]),
        )

    def _check(self, truth: Sequence[Instance], detections: Detections) -> None:
        categories = [*(instance.category for instance in truth), *detections.categories.tolist()]
        if any(not 0 <= category < self.classes for category in categories):
            raise ValueError(f"instance categories {sorted(set(categories))}; expected 0 .. {self.classes - 1}")
        sizes = {tuple(rle["size"]) for rle in (*(instance.rle for instance in truth), *detections.rles)}
        if len(sizes) > 1:
            raise ValueError(f"instance masks of different sizes in one image: {sorted(sizes)} (height, width)")

    def _place(self, threshold: float) -> int:
        (places,) = np.nonzero(_close(self._outcomes.thresholds, threshold))
        if not len(places):
            raise ValueError(f"no detection was matched at IoU {threshold:g}")
        return int(places[0])

    def _at(self, precision: NDArray[np.float64], threshold: float) -> float | None:
        places = np.flatnonzero(_close(self.iou_thresholds, threshold))
        return mean_precision(precision[places]) if len(places) else None


def mean_precision(values: NDArray[np.float64]) -> float | None:
    """The mean over what exists; None where nothing does. COCOeval's mark of a category without truth is -1."""
    present = values[values > -1]
    return float(present.mean()) if present.size else None


def _close(thresholds: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]:
    """Which are this threshold, however it was computed."""
    return np.isclose(thresholds, threshold, rtol=0, atol=1e-9)

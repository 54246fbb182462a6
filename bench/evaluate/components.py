"""Connected components of class maps as instances, in prediction and truth: the released scripts' way for ADE20K.

Every class counts, stuff too. Void is no class: no component, and no excuse for a prediction on it. The released code
skips class 0, which is "other" in its numbering of ADE20K and an ordinary class here.

Shape letters: H height, W width, C components of an image, T IoU thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bench.evaluate.coco import Outcome
from bench.evaluate.detections import by_score
from models.categories import VOID, PredictedSegment

EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=np.int64)
MOST = 100  # of an image, the highest of the released caps


def label_components(semantic: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(H, W) categories, 255 = void -> (H, W) component from 1, 0 = void, and (C,) the category of each."""
    labels = np.zeros(semantic.shape, dtype=np.int64)
    categories: list[int] = []
    for category in np.unique(semantic[semantic != VOID]).tolist():
        region = semantic == category
        found, count = ndimage.label(region, structure=EIGHT_NEIGHBOURS)
        np.add(found, len(categories), out=labels, where=region, casting="unsafe")
        categories += [category] * count
    return labels, np.array(categories, dtype=np.int64)


def confidence_map(panoptic: NDArray[Any], segments: Mapping[int, PredictedSegment]) -> NDArray[np.float64]:
    """(H, W) the score of each pixel's predicted segment, 0 where there is none."""
    numbers = np.array(sorted(segments), dtype=np.int64)
    scores = np.array([0.0, *(segments[number].score for number in numbers.tolist())])
    return scores[np.searchsorted(numbers, panoptic, side="right")]


def match_components(
    truth: NDArray[Any], prediction: NDArray[Any], confidence: NDArray[np.float64], thresholds: NDArray[np.float64]
) -> list[Outcome]:
    """One image, matched by COCO's rules. truth, prediction: (H, W) categories; thresholds: (T,).

    A component's score is the mean of `confidence` (H, W) over it; the MOST best of the image are kept. The released
    code takes the mean class probability, which our predictions do not hold; a segment's score is the nearest to it.
    """
    true_labels, true_categories = label_components(truth)
    labels, categories = label_components(prediction)
    areas = np.bincount(labels.ravel(), minlength=len(categories) + 1)[1:]
    totals = np.bincount(labels.ravel(), weights=confidence.ravel(), minlength=len(categories) + 1)[1:]
    scores = totals / areas
    best = by_score(scores)[:MOST]
    kept_scores, kept_categories = scores[best], categories[best]
    number = np.zeros(len(categories) + 1, dtype=np.int64)
    number[best + 1] = np.arange(1, len(best) + 1)
    iou = _iou(true_labels, len(true_categories), number[labels], len(best))
    outcomes = []
    for category in np.union1d(true_categories, kept_categories).tolist():
        (places,) = np.nonzero(kept_categories == category)  # by falling score, as `best` is
        mine = iou[true_categories == category][:, places]
        matched = _greedy(mine, thresholds)
        nothing = np.zeros_like(matched)
        crowd = np.zeros(len(mine), dtype=bool)
        outcomes.append(Outcome(int(category), kept_scores[places], places, matched, nothing, crowd))
    return outcomes


def _iou(true_labels: NDArray[np.int64], trues: int, labels: NDArray[np.int64], found: int) -> NDArray[np.float64]:
    """(true components, predicted components); pixels on the other's void count in the union."""
    shape = (trues + 1, found + 1)
    overlap = np.bincount((true_labels * shape[1] + labels).ravel(), minlength=shape[0] * shape[1]).reshape(shape)
    union = overlap.sum(axis=1, keepdims=True) + overlap.sum(axis=0) - overlap
    iou: NDArray[np.float64] = (overlap / np.maximum(union, 1))[1:, 1:]
    return iou


def _greedy(iou: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(T, N) whether each detection is matched. iou: (true, N), detections by falling score.

    COCO's rule: each takes the likest of the true ones that are free, of equal ones the last.
    """
    matched = np.zeros((len(thresholds), iou.shape[1]), dtype=bool)
    free = np.ones((len(thresholds), len(iou)), dtype=bool)
    rows = np.arange(len(thresholds))
    for detection in np.flatnonzero((iou >= thresholds.min()).any(axis=0)).tolist():
        likeness = np.where(free, iou[:, detection], -1.0)
        likest = len(iou) - 1 - likeness[:, ::-1].argmax(axis=1)
        matched[:, detection] = likeness[rows, likest] >= thresholds
        free[rows, likest] &= ~matched[:, detection]
    return matched

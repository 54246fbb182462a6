"""mIoU from one confusion matrix over a whole split, as mmsegmentation's `IoUMetric` and torchmetrics count it.

Shape letters: H height, W width, K categories. A confusion matrix is (K, K + 1): rows are the truth, columns the
prediction, and the last column holds labelled pixels that were predicted as void. So a predicted void is a miss.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.categories import VOID


def confusion(truth: NDArray[Any], prediction: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """(K, K + 1) pixel counts of one image; K is `classes`.

    truth, prediction: (H, W) integer labels 0 .. K-1, 255 = void. Pixels without a true label are left out.
    Raises ValueError where the shapes differ or a label is neither a category nor void.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"truth is {truth.shape} but the prediction is {prediction.shape}")
    _check_labels("truth", truth, classes)
    _check_labels("prediction", prediction, classes)
    labelled = truth != VOID
    rows = truth[labelled].astype(np.int64)
    columns = np.minimum(prediction[labelled].astype(np.int64), classes)
    counts = np.bincount(rows * (classes + 1) + columns, minlength=classes * (classes + 1))
    return counts.reshape(classes, classes + 1)


def pixels_per_class(matrix: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(intersection, truth, predicted) pixels, each (K,), counted on labelled pixels only."""
    known = matrix[:, : len(matrix)]
    return np.diagonal(known).copy(), matrix.sum(axis=1), known.sum(axis=0)


def iou_per_class(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """(K,) intersection over union; nan for a category absent from truth and prediction."""
    intersection, truth, predicted = pixels_per_class(matrix)
    union = truth + predicted - intersection
    return np.divide(intersection, union, out=np.full(len(matrix), np.nan), where=union > 0)


def mean_iou(matrix: NDArray[np.int64], classes: Sequence[int] | None = None) -> float | None:
    """The mean over the categories (of `classes`, default all) present in truth or prediction; None without any."""
    iou = iou_per_class(matrix)
    chosen = iou if classes is None else iou[list(classes)]
    present = chosen[~np.isnan(chosen)]
    return float(present.mean()) if len(present) else None


def _check_labels(name: str, labels: NDArray[Any], classes: int) -> None:
    if labels.size == 0:
        return
    # The extremes of the labels that are not void: two passes without a sort.
    known = labels[labels != VOID]
    if known.size and (known.min() < 0 or known.max() >= classes):
        raise ValueError(
            f"{name} holds labels {known.min()} .. {known.max()}; expected 0 .. {classes - 1}, or {VOID} for void"
        )

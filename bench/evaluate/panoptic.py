"""Panoptic quality in memory, by the rules of the official scorer.

Source of the rules: `cocodataset/panopticapi:panopticapi/evaluation.py` (`pq_compute_single_core`, `pq_average`) and
Kirillov et al., "Panoptic Segmentation" (2019), section 4. Areas are counted from the pixels.

Shape letters: H height, W width, K categories, T true segments, P predicted segments of an image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.categories import PredictedSegment, Segment

MATCH_IOU = 0.5  # a pair matches above this, so a segment has at most one partner
IGNORED_SHARE = 0.5  # an unmatched prediction with more than this on void and crowd is no false positive


@dataclass(frozen=True)
class PanopticCounts:
    """What PQ is made of, per category: iou_sum (K,) float64 over matched pairs; tp, fp, fn (K,) int64 segments."""

    iou_sum: NDArray[np.float64]
    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    fn: NDArray[np.int64]

    @classmethod
    def zeros(cls, classes: int) -> PanopticCounts:
        empty = np.zeros(classes, dtype=np.int64)
        return cls(np.zeros(classes), empty, empty, empty)

    def __add__(self, other: PanopticCounts) -> PanopticCounts:
        return PanopticCounts(self.iou_sum + other.iou_sum, self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    @property
    def present(self) -> NDArray[np.bool_]:
        """(K,) categories that count in the mean: a segment in truth or prediction that is not ignored."""
        return (self.tp + self.fp + self.fn) > 0


class Quality(NamedTuple):
    """Means over `n` categories, fractions; None where n is 0."""

    pq: float | None
    sq: float | None
    rq: float | None
    n: int


def match(
    truth: NDArray[Any],
    truth_table: Mapping[int, Segment],
    prediction: NDArray[Any],
    prediction_table: Mapping[int, PredictedSegment],
    classes: int,
) -> PanopticCounts:
    """Counts of one image.

    truth, prediction: (H, W) segment ids, 0 = void. Every id needs an entry in its table. A predicted segment must
    have pixels; a true segment that has none left (after augmentation or resizing) is skipped. The order of
    `truth_table` matters in one case: of several crowd segments of a category only the last one excuses predictions.
    Raises ValueError where shapes, ids and tables disagree or a category is not in 0 .. K-1.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"truth is {truth.shape} but the prediction is {prediction.shape}")
    true_ids, rows = _index("truth", truth, truth_table)
    predicted_ids, columns = _index("prediction", prediction, prediction_table)
    shape = (len(true_ids), len(predicted_ids))
    overlap = np.bincount(rows * shape[1] + columns, minlength=shape[0] * shape[1]).reshape(shape)
    predicted_area = overlap.sum(axis=0)
    if not predicted_area[1:].all():
        missing = predicted_ids[1:][predicted_area[1:] == 0].tolist()
        raise ValueError(f"predicted segments {missing} are in the table but have no pixel")

    true_category = _categories("truth", true_ids, truth_table, classes)
    predicted_category = _categories("prediction", predicted_ids, prediction_table, classes)
    crowd = np.array([False, *(truth_table[int(i)].is_crowd for i in true_ids[1:])])
    iou = _iou_of_pairs(overlap)
    pairs = (iou > MATCH_IOU) & (true_category[:, None] == predicted_category) & ~crowd[:, None]
    pairs[0] = pairs[:, 0] = False  # void matches nothing

    missed = ~pairs.any(axis=1) & ~crowd & (overlap.sum(axis=1) > 0)
    missed[0] = False
    wrong = ~pairs.any(axis=0)
    wrong[0] = False
    excused = overlap[0] + _crowd_overlap(overlap, true_ids, truth_table, predicted_category)
    wrong &= excused <= IGNORED_SHARE * predicted_area
    matched_rows, matched_columns = np.nonzero(pairs)
    categories = true_category[matched_rows]
    return PanopticCounts(
        np.bincount(categories, weights=iou[matched_rows, matched_columns], minlength=classes).astype(np.float64),
        np.bincount(categories, minlength=classes),
        np.bincount(predicted_category[wrong], minlength=classes),
        np.bincount(true_category[missed], minlength=classes),
    )


def quality_per_class(
    counts: PanopticCounts,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(PQ, SQ, RQ), each (K,); nan for an absent category. SQ is 0 where a present category has no match."""
    weight = counts.tp + 0.5 * counts.fp + 0.5 * counts.fn
    empty = np.where(counts.present, 0.0, np.nan)
    pq = np.divide(counts.iou_sum, weight, out=empty.copy(), where=weight > 0)
    sq = np.divide(counts.iou_sum, counts.tp, out=empty.copy(), where=counts.tp > 0)
    rq = np.divide(counts.tp, weight, out=empty.copy(), where=weight > 0)
    return pq, sq, rq


def quality(counts: PanopticCounts, classes: Sequence[int] | None = None) -> Quality:
    """The mean over the present categories of `classes` (default all)."""
    chosen = np.arange(len(counts.tp)) if classes is None else np.asarray(classes, dtype=np.int64)
    chosen = chosen[counts.present[chosen]]
    if not len(chosen):
        return Quality(None, None, None, 0)
    pq, sq, rq = (float(values[chosen].mean()) for values in quality_per_class(counts))
    return Quality(pq, sq, rq, len(chosen))


def _index(name: str, ids: NDArray[Any], table: Mapping[int, Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The sorted ids, void first, and each pixel's place among them, flat. Ids may be as large as 2**24."""
    if min(table, default=1) < 1:
        raise ValueError(f"the {name}'s table has segment {min(table)}; ids start at 1, and 0 is void")
    known = np.array([0, *sorted(table)], dtype=np.int64)
    pixels = ids.ravel()
    places = np.minimum(np.searchsorted(known, pixels), len(known) - 1)
    unknown = known[places] != pixels
    if unknown.any():
        raise ValueError(f"the {name} has segments without a table entry: {np.unique(pixels[unknown]).tolist()}")
    return known, places


def _categories(name: str, ids: NDArray[np.int64], table: Mapping[int, Any], classes: int) -> NDArray[np.int64]:
    """(1 + segments,) category of each id; void's place holds 0 and is never used."""
    categories = np.array([0, *(table[int(i)].category for i in ids[1:])], dtype=np.int64)
    outside = (categories < 0) | (categories >= classes)
    if outside.any():
        raise ValueError(
            f"the {name}'s segments {ids[outside].tolist()} have categories {categories[outside].tolist()}; "
            f"expected 0 .. {classes - 1}"
        )
    return categories


def _iou_of_pairs(overlap: NDArray[np.int64]) -> NDArray[np.float64]:
    """(1 + T, 1 + P) IoU of each pair; void under the prediction is not part of the union."""
    union = overlap.sum(axis=1)[:, None] + overlap.sum(axis=0) - overlap - overlap[0]
    return np.divide(overlap, union, out=np.zeros(overlap.shape), where=union > 0)


def _crowd_overlap(
    overlap: NDArray[np.int64],
    true_ids: NDArray[np.int64],
    truth_table: Mapping[int, Segment],
    predicted_category: NDArray[np.int64],
) -> NDArray[np.int64]:
    """(1 + P,) pixels of each prediction on the crowd segment of its category; only the last one is remembered."""
    row_of = {int(number): row for row, number in enumerate(true_ids)}
    crowds = {number: segment.category for number, segment in truth_table.items() if segment.is_crowd}
    last = {category: row_of[number] for number, category in crowds.items() if overlap[row_of[number]].any()}
    excused = np.zeros(len(predicted_category), dtype=np.int64)
    for category, row in last.items():
        columns = predicted_category == category
        excused[columns] = overlap[row, columns]
    return excused

"""`images.parquet` as arrays, and a run's mIoU, PQ and AP where each image counts any number of times. No torch.

The definitions are those of `bench.evaluate.recompute`, for many sets of counts at once. An image that counts w times
is w images in a row, as if it stood in the split w times.

Shape letters: N images, R sets of counts, K categories, D detections of one category, T IoU thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.evaluate.recompute import COUNTS, RECALLS, thresholds_of

MOST_CELLS = 2**21  # of an array of R x N or R x D at work, 8 bytes each; about ten are alive at one time

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ranking:
    """The detections of one category by falling score. image: (D,) places; right, counted: (D, T), a false positive is
    counted and not right. mixed: (D,) one of several of one score in one image, of which some are right and some wrong:
    their order matters. group: (D,) the place of the first of those, else its own.
    """

    image: Ints
    right: Flags
    counted: Flags
    mixed: Flags
    group: Ints


@dataclass(frozen=True)
class CategoryOutcomes:
    """One category: what the images at the places `image` (n,) add to each of COUNTS, (n, 8), and its detections."""

    image: Ints
    sums: Floats
    ranking: Ranking


@dataclass(frozen=True)
class RunOutcomes:
    """`images`: the ids in the order of their places, sorted; `thresholds`: of IoU, for AP."""

    images: tuple[str, ...]
    thresholds: tuple[float, ...]
    categories: tuple[CategoryOutcomes, ...]


def read_outcomes(path: Path) -> RunOutcomes:
    """Raises ValueError or OSError where the file is no such table."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    thresholds = thresholds_of(table.schema.metadata or {})
    rows, found = (table.filter(pc.equal(table["kind"], kind)) for kind in ("class", "detection"))
    images = sorted(pc.unique(rows["image"]).to_pylist())
    at, where = (pc.index_in(part["image"], pa.array(images, pa.string())) for part in (rows, found))
    if where.null_count:
        raise ValueError("it has detections of an image without a row of its own")
    categories = _categories(rows, at.to_numpy(), found, where.to_numpy(), len(thresholds))
    return RunOutcomes(tuple(images), tuple(thresholds.tolist()), tuple(categories))


def _categories(rows: Any, place: Ints, found: Any, shown: Ints, thresholds: int) -> list[CategoryOutcomes]:
    """From the tables of both kinds; `place` and `shown` are those of their images."""
    sums = np.stack([rows[name].to_numpy().astype(np.float64) for name in COUNTS], axis=1)
    first = np.unique(place, return_index=True)[1]  # the row in which each image comes first
    score = found["score"].to_numpy()
    order = np.lexsort((first[shown], -score))  # equal scores in the order of the images, then as they come
    shown, score = shown[order], score[order]
    match, ignored = (_flags(found[name], thresholds)[order] for name in ("match", "ignored"))
    of_row, of_found = rows["category"].to_numpy(), found["category"].to_numpy()[order]
    categories = []
    for k in range(int(max(of_row.max(initial=-1), of_found.max(initial=-1))) + 1):
        mine, chosen = of_row == k, of_found == k
        counted = ~ignored[chosen]
        ranking = _ranking(shown[chosen], score[chosen], match[chosen] & counted, counted)
        categories.append(CategoryOutcomes(place[mine], sums[mine], ranking))
    return categories


def _flags(column: Any, thresholds: int) -> Flags:
    """(D, T)"""
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, dtype=bool).reshape(-1, thresholds)


def _ranking(image: Ints, score: Floats, right: Flags, counted: Flags) -> Ranking:
    """The rows are in order."""
    if not len(image):
        return Ranking(image, right, counted, np.empty(0, dtype=bool), np.empty(0, dtype=np.int64))
    new = np.append(True, (image[1:] != image[:-1]) | (score[1:] != score[:-1]))
    starts, number = np.flatnonzero(new), np.cumsum(new) - 1
    some = [np.logical_or.reduceat(flags, starts, axis=0) for flags in (right, counted & ~right)]
    mixed = np.asarray(np.any(some[0] & some[1], axis=1))[number]
    return Ranking(image, right, counted, mixed, np.where(mixed, starts[number], np.arange(len(image))))


def scores(outcomes: RunOutcomes, counts: NDArray[np.int32]) -> dict[str, Floats]:
    """mIoU, PQ and AP, fractions (R,), of each set of counts (R, N): how often each image counts. A category that is
    absent from a set is left out of its mean; nan where all are.
    """
    found = {name: np.full((len(outcomes.categories), len(counts)), np.nan) for name in ("mIoU", "PQ", "AP")}
    for k, category in enumerate(outcomes.categories):
        sums = counts[:, category.image] @ category.sums
        intersection, truth, predicted, iou_sum, tp, fp, fn, instances = sums.T
        with np.errstate(invalid="ignore"):  # nan, where it is absent
            found["mIoU"][k] = intersection / (truth + predicted - intersection)
            found["PQ"][k] = iou_sum / (tp + fp / 2 + fn / 2)
        found["AP"][k] = np.where(instances > 0, _average_precision(category.ranking, counts, instances), np.nan)
    return {name: _mean(values) for name, values in found.items()}


def _mean(values: Floats) -> Floats:
    """Over the categories that are there."""
    there = ~np.isnan(values)
    number = there.sum(axis=0)
    return np.where(number > 0, np.where(there, values, 0.0).sum(axis=0) / np.maximum(number, 1), np.nan)


def _average_precision(ranking: Ranking, counts: NDArray[np.int32], instances: Floats) -> Floats:
    """(R,): the mean over thresholds and recalls; instances: (R,). Where they are 0 the result means nothing."""
    place, copy = _unfolded(ranking, int(counts.max(initial=0)))
    image, mixed = ranking.image[place], ranking.mixed[place]
    right, counted = ranking.right[place], ranking.counted[place]
    found, size = np.zeros(len(counts)), max(1, MOST_CELLS // max(1, len(place)))
    for start in range(0, len(counts), size):
        block = slice(start, start + size)
        weights = counts[block][:, image]
        if mixed.any():
            weights = np.where(mixed, weights >= copy, weights)
        found[block] = _mean_precision(weights, right, counted, instances[block])
    return found


def _unfolded(ranking: Ranking, most: int) -> tuple[Ints, Ints]:
    """Places of detections and the copy of the image that each is of, from 1, in the order that COCOeval sees.

    Detections of one score in one image come again with each copy: right, wrong, right, wrong. Where all of them have
    one outcome, and elsewhere, the copies of one detection stand together, and once will do: it is weighted.
    """
    again = np.flatnonzero(ranking.mixed)
    place = np.concatenate([np.arange(len(ranking.image)), np.tile(again, max(0, most - 1))])
    copy = np.concatenate([np.ones(len(ranking.image), dtype=np.int64), np.repeat(np.arange(2, most + 1), len(again))])
    order = np.lexsort((place, copy, ranking.group[place]))
    return place[order], copy[order]


def _mean_precision(weights: NDArray[np.int32], right: Flags, counted: Flags, instances: Floats) -> Floats:
    """(R,): the mean over the thresholds. weights: (R, D). What is equal at two thresholds is computed once."""
    total = np.zeros(len(weights))
    for t in range(right.shape[1]):
        others = t == 0 or bool((counted[:, t] != counted[:, t - 1]).any())
        if others:
            seen = np.cumsum(weights * counted[:, t], axis=1, dtype=np.int32)
        if others or (right[:, t] != right[:, t - 1]).any():
            (hits,) = np.nonzero(right[:, t])
            precision = _interpolated(weights[:, hits], seen[:, hits], instances)
        total += precision
    return total / right.shape[1]


def _interpolated(hits: NDArray[np.int32], seen: NDArray[np.int32], instances: Floats) -> Floats:
    """(R,): the mean over RECALLS of the highest precision at this recall or beyond, which only a true positive can
    be. hits: (R, P) how often each true positive counts; seen: (R, P) detections up to it, itself included.
    """
    if not hits.shape[1]:
        return np.zeros(len(hits))
    right = np.cumsum(hits, axis=1, dtype=np.int32)
    precision = right / np.maximum(seen, 1)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    reached = np.searchsorted(RECALLS, right / np.maximum(instances, 1)[:, None], side="right")  # of the 101
    return np.einsum("rp,rp->r", best, np.diff(reached, axis=1, prepend=0)) / len(RECALLS)

"""The standard metrics once more, from `images.parquet` alone: does a record's metrics.json follow from it? No torch.

Written apart from the evaluator, after the definitions in `bench.evaluate.images` and COCOeval's `accumulate`.

Shape letters: R rows of class counts, D detections, K categories, T IoU thresholds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

RECALLS = np.linspace(0, 1, 101)  # COCOeval's
# of a damaged images.parquet; pyarrow's errors are among them
UNREADABLE = (ValueError, TypeError, LookupError, OSError, NotImplementedError)
SAME = 1e-9  # sums in another order, or on another machine, differ by less
COUNTS = ("intersection", "truth", "predicted", "iou_sum", "tp", "fp", "fn", "instances")

Numbers = dict[str, float | int | None]


@dataclass(frozen=True)
class _Detections:
    """category (D,), score (D,), match and ignored (D, T), in the order of the images."""

    category: NDArray[np.int64]
    score: NDArray[np.float64]
    match: NDArray[np.bool_]
    ignored: NDArray[np.bool_]


@dataclass(frozen=True)
class Recomputed:
    """`totals`: as `Scores` without instance_truth; `classes`: iou, pq, sq, rq, ap of each of K categories."""

    totals: Numbers
    classes: list[Numbers]


def recompute(path: Path, is_thing: Sequence[bool]) -> Recomputed:
    """All numbers of a run. Raises ValueError or OSError where the file is no such table."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    rows, found = (table.filter(pc.equal(table["kind"], kind)) for kind in ("class", "detection"))
    thresholds = thresholds_of(table.schema.metadata or {})
    sums = _sums(rows, len(is_thing))
    per_class = _per_class(sums)
    precision, recall = _precision(_detections(found, len(thresholds)), sums["instances"], len(thresholds))
    per_class["ap"] = precision.mean(axis=(0, 1))
    totals: Numbers = {"images": len(pc.unique(rows["image"])), "ap_classes": int((sums["instances"] > 0).sum())}
    names = {"miou": "iou", "pq": "pq", "sq": "sq", "rq": "rq"}
    for suffix, chosen in (("", None), ("_thing", True), ("_stuff", False)):
        mask = np.array([chosen in (None, thing) for thing in is_thing], dtype=bool)
        totals |= {f"{name}{suffix}": _mean(per_class[of][mask]) for name, of in names.items()}
    totals |= {"ap": _mean(precision), "ar": _mean(recall)}
    for name, level in (("ap50", 0.5), ("ap75", 0.75)):
        totals[name] = _mean(precision[np.isclose(thresholds, level)])
    classes = [{name: _mean(values[k : k + 1]) for name, values in per_class.items()} for k in range(len(is_thing))]
    return Recomputed(totals, classes)


def thresholds_of(metadata: Mapping[bytes, bytes]) -> NDArray[np.float64]:
    """(T,) Raises ValueError where the table does not say them."""
    thresholds = np.array(json.loads(metadata.get(b"iou_thresholds", b"null")))
    if thresholds.ndim != 1 or thresholds.dtype.kind != "f":
        raise ValueError("it does not say its IoU thresholds")
    return thresholds


def same(one: float | int | None, other: float | int | None) -> bool:
    """None, where a number does not exist, is only the same as None."""
    return one is other or (one is not None and other is not None and abs(one - other) <= SAME)


def _sums(rows: Any, classes: int) -> dict[str, NDArray[np.float64]]:
    """(K,) sums over the images; the rows of images without content have category -1 and zeros."""
    category = rows["category"].to_numpy()
    if len(category) and not -1 <= category.min() <= category.max() < classes:
        raise ValueError(f"categories {category.min()} .. {category.max()}, expected 0 .. {classes - 1}")
    return {
        name: np.bincount(category + 1, rows[name].to_numpy(), classes + 1)[1:].astype(np.float64) for name in COUNTS
    }


def _per_class(sums: dict[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """(K,) iou, pq, sq, rq; nan where a category is absent."""
    union = sums["truth"] + sums["predicted"] - sums["intersection"]
    weight = sums["tp"] + sums["fp"] / 2 + sums["fn"] / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        iou, pq, rq = sums["intersection"] / union, sums["iou_sum"] / weight, sums["tp"] / weight
        sq = np.where(sums["tp"] > 0, sums["iou_sum"] / sums["tp"], np.where(weight > 0, 0.0, np.nan))
    return {"iou": iou, "pq": pq, "sq": sq, "rq": rq}


def _detections(found: Any, thresholds: int) -> _Detections:
    flags = [
        found[name].combine_chunks().flatten().to_numpy(zero_copy_only=False).astype(bool).reshape(-1, thresholds)
        for name in ("match", "ignored")
    ]
    return _Detections(found["category"].to_numpy(), found["score"].to_numpy(), *flags)


def _precision(
    detections: _Detections, instances: NDArray[np.float64], thresholds: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Interpolated precision (T, 101, K) and highest recall (T, K); nan for a category without truth."""
    classes = len(instances)
    precision, recall = np.full((thresholds, len(RECALLS), classes), np.nan), np.full((thresholds, classes), np.nan)
    for k in np.flatnonzero(instances > 0):
        (mine,) = np.nonzero(detections.category == k)
        mine = mine[np.argsort(-detections.score[mine], kind="stable")]
        match, counts = detections.match[mine], ~detections.ignored[mine]
        right, wrong = np.cumsum(match & counts, axis=0), np.cumsum(~match & counts, axis=0)
        for t in range(thresholds):
            reached = right[:, t] / instances[k]
            level = right[:, t] / np.maximum(right[:, t] + wrong[:, t], np.spacing(1.0))
            best = np.append(np.maximum.accumulate(level[::-1])[::-1], 0.0)  # the highest at this recall or beyond
            precision[t, :, k] = best[np.searchsorted(reached, RECALLS, side="left")]
            recall[t, k] = reached[-1] if len(reached) else 0.0
    return precision, recall


def _mean(values: NDArray[np.float64]) -> float | None:
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else None

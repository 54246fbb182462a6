"""Average precision of instance masks, by pycocotools' `COCOeval` ('segm').

Images are matched as they come and only the outcome is kept, so memory does not grow with the masks. The precision is
accumulated at the end over all of them, as `pytorch/vision:references/detection/coco_eval.py` does between processes.

Shape letters: H height, W width, N instances of an image, D detections of a split, K categories, T IoU thresholds.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_codec
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bench.data.scene import Instance

COCO_IOU = tuple(float(t) for t in np.linspace(0.5, 0.95, 10))  # COCOeval's own grid, .50:.05:.95
MAX_DETECTIONS = 100  # COCO's limit
ALL_AREAS = [0.0, 1e10]  # COCOeval's 'all'; small, medium and large mean little at 32x32 to 128x128


@dataclass(frozen=True)
class Detections:
    """Scored instances of one image: rles (pycocotools' compressed form), categories (N,) int64, scores (N,)."""

    rles: list[dict[str, Any]]
    categories: NDArray[np.int64]
    scores: NDArray[np.float64]

    def __post_init__(self) -> None:
        if not len(self.rles) == len(self.categories) == len(self.scores):
            raise ValueError(
                f"{len(self.rles)} masks, {len(self.categories)} categories and {len(self.scores)} scores; "
                "expected one of each for an instance"
            )
        if not np.isfinite(self.scores).all():
            raise ValueError("instance scores must be finite")

    @classmethod
    def none(cls) -> Detections:
        return cls([], np.empty(0, dtype=np.int64), np.empty(0))

    def best(self, limit: int) -> Detections:
        """The `limit` highest scores; equal scores keep their order."""
        if len(self.rles) <= limit:
            return self
        kept = _best(self.scores, limit)
        return Detections([self.rles[i] for i in kept], self.categories[kept], self.scores[kept])


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
class _Outcome:
    """One image and category, detections by falling score. matched, ignored: (T, N) bool; truth_ignored: (n,) bool."""

    image: int
    category: int
    scores: NDArray[np.float64]
    matched: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    truth_ignored: NDArray[np.bool_]


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


def encode(
    masks: NDArray[np.bool_],
    categories: NDArray[Any],
    scores: NDArray[Any],
    limit: int | None = MAX_DETECTIONS,
) -> Detections:
    """Detections from masks (N, H, W), categories (N,) and scores (N,); at most `limit` by score.

    Raises ValueError where the shapes disagree or a score is not finite.
    """
    shapes = (masks.shape, categories.shape, scores.shape)
    if masks.ndim != 3 or shapes[1:] != ((len(masks),), (len(masks),)):
        raise ValueError(f"masks, categories and scores are {shapes}; expected (N, H, W), (N,) and (N,)")
    if limit is not None and len(masks) > limit:
        kept = _best(scores, limit)
        masks, categories, scores = masks[kept], categories[kept], scores[kept]
    return Detections(encode_masks(masks), categories.astype(np.int64), scores.astype(np.float64))


def encode_masks(masks: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """(N, H, W) masks -> N compressed RLEs. The codec wants uint8 in Fortran order."""
    if not len(masks):
        return []
    rles: list[dict[str, Any]] = rle_codec.encode(np.asfortranarray(masks.transpose(1, 2, 0).astype(np.uint8)))
    return rles


class InstanceAccumulator:
    """Collects the images of a split. `classes` is K; `limit` is the most detections kept of an image (None: all).

    COCOeval itself takes 100 of each image and category, which `limit=None` leaves as it is.
    """

    def __init__(
        self, classes: int, iou_thresholds: Sequence[float] = COCO_IOU, limit: int | None = MAX_DETECTIONS
    ) -> None:
        if not len(iou_thresholds):
            raise ValueError("at least one IoU threshold is needed")
        self.classes = classes
        self.iou_thresholds = np.asarray(iou_thresholds, dtype=np.float64)
        self.limit = limit
        self.images = 0
        self._outcomes: list[_Outcome] = []

    def add(self, truth: Sequence[Instance], detections: Detections) -> NDArray[np.int64]:
        """One image. Returns (K,) its true instances that are not crowd. Truth without pixels is left out.

        Raises ValueError for a category outside 0 .. K-1 or masks of different sizes.
        """
        truth = [instance for instance in truth if rle_codec.area(instance.rle) > 0]
        if self.limit is not None:
            detections = detections.best(self.limit)
        self._check(truth, detections)
        self._outcomes += self._match(truth, detections)
        self.images += 1
        counted = np.array([instance.category for instance in truth if not instance.is_crowd], dtype=np.int64)
        return np.bincount(counted, minlength=self.classes)

    def result(self) -> InstanceQuality:
        """AP over everything added so far."""
        if not self._outcomes:
            return InstanceQuality(None, None, None, None, 0, [None] * self.classes)
        precision, recall = self._accumulate()
        present = (recall > -1).all(axis=0)  # -1 is COCOeval's mark of a category without truth
        per_class = [_mean(precision[:, :, k]) for k in range(self.classes)]
        return InstanceQuality(
            ap=_mean(precision),
            ap50=self._at(precision, 0.5),
            ap75=self._at(precision, 0.75),
            ar=_mean(recall),
            classes=int(present.sum()),
            ap_per_class=per_class,
        )

    def table(self) -> DetectionTable:
        """Every detection with its match at each threshold, by image, category and falling score."""
        kept = [outcome for outcome in self._outcomes if len(outcome.scores)]
        lengths = [len(outcome.scores) for outcome in kept]
        flags = len(self.iou_thresholds)
        return DetectionTable(
            image=np.repeat(np.array([outcome.image for outcome in kept], dtype=np.int64), lengths),
            category=np.repeat(np.array([outcome.category for outcome in kept], dtype=np.int64), lengths),
            score=np.concatenate([np.empty(0), *(outcome.scores for outcome in kept)]),
            matched=np.concatenate([np.empty((0, flags), dtype=bool), *(outcome.matched.T for outcome in kept)]),
            ignored=np.concatenate([np.empty((0, flags), dtype=bool), *(outcome.ignored.T for outcome in kept)]),
        )

    def _check(self, truth: Sequence[Instance], detections: Detections) -> None:
        categories = [*(instance.category for instance in truth), *detections.categories.tolist()]
        if any(not 0 <= category < self.classes for category in categories):
            raise ValueError(f"instance categories {sorted(set(categories))}; expected 0 .. {self.classes - 1}")
        sizes = {tuple(rle["size"]) for rle in (*(instance.rle for instance in truth), *detections.rles)}
        if len(sizes) > 1:
            raise ValueError(f"instance masks of different sizes in one image: {sorted(sizes)} (height, width)")

    def _match(self, truth: Sequence[Instance], detections: Detections) -> list[_Outcome]:
        """COCOeval's matching of one image, over the categories it has."""
        categories = sorted({instance.category for instance in truth} | set(detections.categories.tolist()))
        if not categories:
            return []
        truth_rows, detection_rows = _truth_rows(truth), _detection_rows(detections)
        height, width = (truth_rows or detection_rows)[0]["segmentation"]["size"]
        image = {"id": 0, "height": height, "width": width}
        scorer = COCOeval(_coco(image, truth_rows, categories), _coco(image, detection_rows, categories), "segm")
        self._set_parameters(scorer, images=[0], categories=categories)
        with contextlib.redirect_stdout(io.StringIO()):
            scorer.evaluate()
        return [self._outcome(result) for result in scorer.evalImgs if result is not None]

    def _outcome(self, result: dict[str, Any]) -> _Outcome:
        return _Outcome(
            image=self.images,
            category=int(result["category_id"]),
            scores=np.asarray(result["dtScores"], dtype=np.float64),
            matched=np.asarray(result["dtMatches"]) > 0,
            ignored=np.asarray(result["dtIgnore"], dtype=bool),
            truth_ignored=np.asarray(result["gtIgnore"], dtype=bool),
        )

    def _accumulate(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """COCOeval's precision (T, recalls, K) and recall (T, K) over all images."""
        scorer = COCOeval(iouType="segm")
        self._set_parameters(scorer, images=list(range(self.images)), categories=list(range(self.classes)))
        scorer._paramsEval = scorer.params
        cells: list[dict[str, Any] | None] = [None] * (self.classes * self.images)
        for outcome in self._outcomes:
            cells[outcome.category * self.images + outcome.image] = {
                "dtScores": outcome.scores,
                "dtMatches": outcome.matched,
                "dtIgnore": outcome.ignored,
                "gtIgnore": outcome.truth_ignored,
            }
        scorer.evalImgs = cells
        with contextlib.redirect_stdout(io.StringIO()):
            scorer.accumulate()
        return scorer.eval["precision"][:, :, :, 0, 0], scorer.eval["recall"][:, :, 0, 0]

    def _set_parameters(self, scorer: COCOeval, images: list[int], categories: list[int]) -> None:
        scorer.params.imgIds = images
        scorer.params.catIds = categories
        scorer.params.iouThrs = self.iou_thresholds
        scorer.params.maxDets = [MAX_DETECTIONS]
        scorer.params.areaRng = [ALL_AREAS]
        scorer.params.areaRngLbl = ["all"]

    def _at(self, precision: NDArray[np.float64], threshold: float) -> float | None:
        places = np.flatnonzero(np.isclose(self.iou_thresholds, threshold))
        return _mean(precision[places]) if len(places) else None


def _best(scores: NDArray[Any], limit: int) -> NDArray[np.int64]:
    """The places of the highest scores; equal ones by place."""
    return np.argsort(-scores.astype(np.float64), kind="stable")[:limit]


def _mean(values: NDArray[np.float64]) -> float | None:
    present = values[values > -1]
    return float(present.mean()) if present.size else None


def _coco(image: dict[str, int], rows: list[dict[str, Any]], categories: list[int]) -> COCO:
    """A COCO data set of one image. Without rows it is valid too, where `COCO.loadRes([])` fails."""
    coco = COCO()
    coco.dataset = {"images": [image], "categories": [{"id": k} for k in categories], "annotations": rows}
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _truth_rows(truth: Sequence[Instance]) -> list[dict[str, Any]]:
    # Ids start at 1: COCOeval stores the matched id and reads 0 as "no match".
    return [
        _row(number, instance.category, instance.rle) | {"iscrowd": int(instance.is_crowd)}
        for number, instance in enumerate(truth, start=1)
    ]


def _detection_rows(detections: Detections) -> list[dict[str, Any]]:
    columns = zip(detections.rles, detections.categories.tolist(), detections.scores.tolist(), strict=True)
    return [
        _row(number, category, rle) | {"score": score, "iscrowd": 0}
        for number, (rle, category, score) in enumerate(columns, start=1)
    ]


def _row(number: int, category: int, rle: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": 0,
        "category_id": category,
        "segmentation": rle,
        "area": float(rle_codec.area(rle)),
    }

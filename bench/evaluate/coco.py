"""pycocotools' `COCOeval` ('segm') in two steps: match one image, then accumulate the precision over all of them.

Images are matched as they come and only the outcome is kept, so memory does not grow with the masks. The precision is
accumulated at the end, as `pytorch/vision:references/detection/coco_eval.py` does between processes.

Shape letters: N detections of an image and category, n its true instances, K categories, T IoU thresholds, R recalls.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_codec
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bench.data.scene import Instance
from bench.evaluate.detections import MAX_DETECTIONS, Detections, ranks

ALL_AREAS = [0.0, 1e10]  # COCOeval's 'all'; small, medium and large mean little at 32x32 to 128x128


@dataclass(frozen=True)
class Outcome:
    """One image and category, detections by falling score. ranks: (N,) the place of each among all detections of its
    image, from 0; matched, ignored: (T, N) bool; truth_ignored: (n,) bool.
    """

    category: int
    scores: NDArray[np.float64]
    ranks: NDArray[np.int64]
    matched: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    truth_ignored: NDArray[np.bool_]

    def capped(self, most: int) -> Outcome:
        """As if only the `most` best of the image had been predicted: a match never depends on lower scores."""
        kept = self.ranks < most
        return replace(
            self,
            scores=self.scores[kept],
            ranks=self.ranks[kept],
            matched=self.matched[:, kept],
            ignored=self.ignored[:, kept],
        )


class Outcomes:
    """The outcomes of a split at the IoU `thresholds` (T,); `classes` is K."""

    def __init__(self, classes: int, thresholds: NDArray[np.float64]) -> None:
        self.classes, self.thresholds = classes, thresholds
        self.images = 0
        self.of_image: list[tuple[int, Outcome]] = []  # the image's place in the order of adding
        self._most = 0  # detections that an image has
        self._accumulated: dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """One image."""
        self.of_image += [(self.images, outcome) for outcome in outcomes]
        self.images += 1
        self._most = max(self._most, sum(len(outcome.scores) for outcome in outcomes))
        self._accumulated = {}

    def precision_recall(self, most: int | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """COCOeval's precision (T, R, K) and recall (T, K); -1 for a category without truth.

        `most`: only that many detections of each image, by score.
        """
        cap = self._most if most is None else min(most, self._most)
        if cap not in self._accumulated:
            self._accumulated[cap] = self._accumulate(None if cap == self._most else cap)
        return self._accumulated[cap]

    def _accumulate(self, most: int | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        cells: list[dict[str, Any] | None] = [None] * (self.classes * self.images)
        for image, whole in self.of_image:
            outcome = whole if most is None else whole.capped(most)
            cells[outcome.category * self.images + image] = {
                "dtScores": outcome.scores,
                "dtMatches": outcome.matched,
                "dtIgnore": outcome.ignored,
                "gtIgnore": outcome.truth_ignored,
            }
        scorer = COCOeval(iouType="segm")
        _set_parameters(scorer, list(range(self.images)), list(range(self.classes)), self.thresholds)
        scorer._paramsEval = scorer.params
        scorer.evalImgs = cells
        with contextlib.redirect_stdout(io.StringIO()):
            scorer.accumulate()
        return scorer.eval["precision"][:, :, :, 0, 0], scorer.eval["recall"][:, :, 0, 0]


def match(truth: Sequence[Instance], detections: Detections, thresholds: NDArray[np.float64]) -> list[Outcome]:
    """COCOeval's matching of one image, over the categories it has. An IoU threshold of 1 means equal masks."""
    categories = sorted({instance.category for instance in truth} | set(detections.categories.tolist()))
    if not categories:
        return []
    truth_rows, detection_rows = _truth_rows(truth), _detection_rows(detections)
    height, width = (truth_rows or detection_rows)[0]["segmentation"]["size"]
    image = {"id": 0, "height": height, "width": width}
    scorer = COCOeval(_coco(image, truth_rows, categories), _coco(image, detection_rows, categories), "segm")
    _set_parameters(scorer, images=[0], categories=categories, thresholds=thresholds)
    with contextlib.redirect_stdout(io.StringIO()):
        scorer.evaluate()
    places = ranks(detections.scores)
    return [_outcome(result, places) for result in scorer.evalImgs if result is not None]


def _outcome(result: dict[str, Any], places: NDArray[np.int64]) -> Outcome:
    numbers = np.asarray(result["dtIds"], dtype=np.int64)
    return Outcome(
        category=int(result["category_id"]),
        scores=np.asarray(result["dtScores"], dtype=np.float64),
        ranks=places[numbers - 1],
        matched=np.asarray(result["dtMatches"]) > 0,
        ignored=np.asarray(result["dtIgnore"], dtype=bool),
        truth_ignored=np.asarray(result["gtIgnore"], dtype=bool),
    )


def _set_parameters(
    scorer: COCOeval, images: list[int], categories: list[int], thresholds: NDArray[np.float64]
) -> None:
    scorer.params.imgIds = images
    scorer.params.catIds = categories
    scorer.params.iouThrs = thresholds
    scorer.params.maxDets = [MAX_DETECTIONS]
    scorer.params.areaRng = [ALL_AREAS]
    scorer.params.areaRngLbl = ["all"]


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

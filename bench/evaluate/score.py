"""Scores anyone's predictions in the official formats, at each image's own size, with the numbers of a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.scene import Instance, semantic_of
from bench.errors import UserError
from bench.evaluate.detections import Detections
from bench.evaluate.evaluator import Evaluator
from bench.evaluate.official import (
    ImageId,
    PanopticFile,
    category_index,
    listed,
    read_instances,
    read_panoptic,
    read_results,
    read_segments,
    rle_of,
)
from models.categories import Categories, PredictedSegment, Segment

NO_INSTANCES = "instance results were not given, so there is no AP"
STALE_AREAS = "the truth's json gives {} segments another area than their pixels; pixels are counted"


def score_files(
    truth_json: Path,
    predictions_json: Path,
    instances_json: Path | None = None,
    instances_truth_json: Path | None = None,
) -> dict[str, Any]:
    """The numbers of `Evaluator.metrics()`, under `classes` those of `Evaluator.classes()`, and two notes (or None).

    truth_json, predictions_json: COCO panoptic json; the PNGs lie in the folder named as the json without `.json`.
    instances_json: COCO results with masks; without it there is no AP. instances_truth_json: COCO instances; without
    it the thing segments of the truth serve. mIoU is taken from the panoptic maps, and a predicted void is a miss.
    `ap_note` says why there is no AP, `truth_note` where the truth's json and its pixels disagree.
    As in pycocotools, up to 100 results of each image and category count. PNGs are read one image at a time.
    Raises UserError for what is missing, unreadable or does not fit together.
    """
    given = _read(truth_json, predictions_json, instances_json, instances_truth_json)
    against_things = given.results is not None and given.annotated is None
    evaluator = Evaluator(given.categories, "panoptic things" if against_things else "instances", limit=None)
    stale = sum(_add(evaluator, given, image) for image in _in_order(given.truth.annotations))
    return _summary(evaluator, with_ap=given.results is not None, stale=stale)


@dataclass(frozen=True)
class _Rows:
    """The rows of a results or instances json, by image."""

    path: Path
    by_image: dict[ImageId, list[dict[str, Any]]]


@dataclass(frozen=True)
class _Given:
    """Everything handed in but the PNGs."""

    truth: PanopticFile
    categories: Categories
    predictions: PanopticFile
    results: _Rows | None
    annotated: _Rows | None


def _read(truth_json: Path, predictions_json: Path, instances_json: Path | None, annotated: Path | None) -> _Given:
    if annotated is not None and instances_json is None:
        raise UserError(f"{annotated} was given as instance truth, but no instance results to score against it")
    truth = read_panoptic(truth_json, truth=True)
    predictions = read_panoptic(predictions_json, truth=False)
    _same_images(truth, predictions)
    results = None if instances_json is None else _Rows(instances_json, read_results(instances_json))
    if results is not None:
        _known_images(truth, results.path, results.by_image)
    instances = None if annotated is None else _Rows(annotated, read_instances(annotated, truth.annotations))
    assert truth.categories is not None  # read_panoptic reads them of every truth
    return _Given(truth, truth.categories, predictions, results, instances)


def _add(evaluator: Evaluator, given: _Given, image: ImageId) -> int:
    """Adds one image; returns how many of its true segments have a stale area in the json."""
    segments, infos = read_segments(given.truth, image)
    table = _truth_table(given.truth.path, image, infos, given.categories)
    panoptic, predicted_infos = read_segments(given.predictions, image)
    if panoptic.shape != segments.shape:
        raise UserError(
            f"image {image}: the prediction's PNG is {_size(panoptic)}, the truth's {_size(segments)} "
            "(height x width); bring the prediction to the truth's size (nearest) first"
        )
    predicted = _predicted_table(given.predictions.path, image, predicted_infos, given.categories)
    as_truth = {number: Segment(segment.category, False, False) for number, segment in predicted.items()}
    size = (segments.shape[0], segments.shape[1])
    evaluator.add_encoded(
        str(image),
        segments,
        table,
        _instances(given.annotated, image, given.categories, size),
        semantic_of(panoptic, as_truth),
        panoptic,
        predicted,
        _detections(given.results, image, given.categories, size),
    )
    return _stale_areas(segments, infos)


def _summary(evaluator: Evaluator, *, with_ap: bool, stale: int) -> dict[str, Any]:
    numbers: dict[str, Any] = dict(evaluator.metrics())
    if not with_ap:
        numbers |= {"ap_classes": None, "instance_truth": None}
    return numbers | {
        "ap_note": None if with_ap else NO_INSTANCES,
        "truth_note": STALE_AREAS.format(stale) if stale else None,
        "classes": evaluator.classes(),
    }


def _same_images(truth: PanopticFile, predictions: PanopticFile) -> None:
    missing = [image for image in truth.annotations if image not in predictions.annotations]
    if missing:
        raise UserError(
            f"{predictions.path}: no prediction for image {listed(missing)}; expected one annotation for each of the "
            f"{len(truth.annotations)} images of {truth.path} (nothing found: a black PNG, empty segments_info)"
        )
    _known_images(truth, predictions.path, predictions.annotations)


def _known_images(truth: PanopticFile, path: Path, predicted: Iterable[ImageId]) -> None:
    unknown = [image for image in predicted if image not in truth.annotations]
    if unknown:
        raise UserError(f"{path}: image {listed(unknown)} is not in the truth {truth.path}; remove its predictions")


def _in_order(images: Iterable[ImageId]) -> list[ImageId]:
    """By id, as COCOeval goes through them: equal scores are ranked in this order."""
    return sorted(images, key=lambda image: (isinstance(image, str), image))


def _truth_table(path: Path, image: ImageId, infos: list[dict[str, Any]], categories: Categories) -> dict[int, Segment]:
    table = {}
    for number, info in enumerate(infos, start=1):
        category = category_index(path, image, info["category_id"], categories)
        table[number] = Segment(category, categories.is_thing[category], bool(info.get("iscrowd", 0)))
    return table


def _predicted_table(
    path: Path, image: ImageId, infos: list[dict[str, Any]], categories: Categories
) -> dict[int, PredictedSegment]:
    return {
        number: PredictedSegment(category_index(path, image, info["category_id"], categories), 1.0)  # PQ has no scores
        for number, info in enumerate(infos, start=1)
    }


def _instances(rows: _Rows | None, image: ImageId, categories: Categories, size: tuple[int, int]) -> list[Instance]:
    """Empty without an instance truth of its own: then the things serve, or there is no AP."""
    if rows is None:
        return []
    return [
        Instance(
            category_index(rows.path, image, row["category_id"], categories),
            bool(row.get("iscrowd", 0)),
            rle_of(row["segmentation"], size, f"{rows.path}: an annotation of image {image}"),
        )
        for row in rows.by_image[image]
    ]


def _detections(rows: _Rows | None, image: ImageId, categories: Categories, size: tuple[int, int]) -> Detections:
    found = [] if rows is None else rows.by_image.get(image, [])
    if rows is None or not found:
        return Detections.none()
    where = f"{rows.path}: a result of image {image}"
    return Detections(
        [rle_of(row["segmentation"], size, where) for row in found],
        np.array([category_index(rows.path, image, row["category_id"], categories) for row in found], dtype=np.int64),
        np.array([row["score"] for row in found], dtype=np.float64),
    )


def _stale_areas(segments: NDArray[np.int64], infos: list[dict[str, Any]]) -> int:
    """How many segments have another area in the json than in the PNG: panopticapi would use the json's."""
    pixels = np.bincount(segments.ravel(), minlength=len(infos) + 1)
    return sum("area" in info and info["area"] != pixels[number] for number, info in enumerate(infos, start=1))


def _size(ids: NDArray[Any]) -> str:
    return f"{ids.shape[0]}x{ids.shape[1]}"

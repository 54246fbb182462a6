"""All the numbers of a split: mIoU, PQ and AP from one pass over its images.

Shape letters: H height, W width, N instances of an image, K categories.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench.data.scene import Instance, semantic_of
from bench.evaluate.detections import MAX_DETECTIONS, Detections, encode, encode_masks
from bench.evaluate.images import ImageRows, class_rows, write_images
from bench.evaluate.instance import COCO_IOU, InstanceAccumulator, InstanceQuality
from bench.evaluate.panoptic import PanopticCounts, match, quality, quality_per_class
from bench.evaluate.readings import FURTHER_IOU, Readings, Scores
from bench.evaluate.semantic import confusion, iou_per_class, mean_iou
from models.categories import Categories, PredictedSegment, Segment, Task

InstanceTruth = Literal["instances", "panoptic things"]
Number = float | int | str | None


@dataclass(frozen=True)
class EvaluatedPrediction:
    """The numpy twin of `models.interface.Prediction`, at the truth's size.

    semantic: (H, W) categories, 255 = void; panoptic: (H, W) segment ids from 1, 0 = void; segments: exactly the ids
    of `panoptic`; masks: (N, H, W) bool; categories: (N,); scores: (N,).
    """

    semantic: NDArray[Any]
    panoptic: NDArray[Any]
    segments: dict[int, PredictedSegment]
    masks: NDArray[np.bool_]
    categories: NDArray[Any]
    scores: NDArray[Any]


class Evaluator:
    """Adds up a split, image by image; what it keeps does not grow with the images' pixels.

    `instance_truth` names what AP is measured against: the dataset's own `instances`, or the `panoptic things` of the
    truth (crowd as iscrowd). `limit`: the most detections kept of an image by score (None: all). A semantic task is
    measured by mIoU, an instance task by AP, a panoptic one by all three; the others' numbers do not exist.
    `protocols`: the readings that differ from `standard` are taken in the same pass.
    """

    def __init__(
        self,
        categories: Categories,
        instance_truth: InstanceTruth,
        iou_thresholds: Sequence[float] = COCO_IOU,
        limit: int | None = MAX_DETECTIONS,
        task: Task = "panoptic",
        protocols: bool = False,
    ) -> None:
        if instance_truth not in ("instances", "panoptic things"):
            raise ValueError(f"instance truth {instance_truth!r}; expected 'instances' or 'panoptic things'")
        self.categories, self.task = categories, task
        self.instance_truth = instance_truth
        self._matrix = np.zeros((len(categories), len(categories) + 1), dtype=np.int64)
        self._counts = PanopticCounts.zeros(len(categories))
        self._instances = InstanceAccumulator(len(categories), iou_thresholds, limit, FURTHER_IOU if protocols else ())
        self._readings = Readings(categories, task) if protocols else None
        self._rows: dict[str, ImageRows] = {}
        self._quality: InstanceQuality | None = None

    def add(
        self,
        image_id: str,
        truth_segments: NDArray[Any],
        truth_table: dict[int, Segment],
        truth_instances: Sequence[Instance] | None,
        prediction: EvaluatedPrediction,
    ) -> None:
        """One image. truth_segments: (H, W) small segment ids, 0 = void; truth_instances: used for 'instances' only.

        Raises ValueError where shapes, ids and tables disagree, and for an image that was added before.
        """
        if prediction.masks.shape[1:] != truth_segments.shape:
            raise ValueError(
                f"image {image_id}: instance masks are {prediction.masks.shape}; expected (N, {truth_segments.shape})"
            )
        try:
            detections = encode(prediction.masks, prediction.categories, prediction.scores, self._instances.limit)
        except ValueError as error:
            raise ValueError(f"image {image_id}: {error}") from error
        self.add_encoded(
            image_id,
            truth_segments,
            truth_table,
            truth_instances,
            prediction.semantic,
            prediction.panoptic,
            prediction.segments,
            detections,
        )

    def add_encoded(
        self,
        image_id: str,
        truth_segments: NDArray[Any],
        truth_table: dict[int, Segment],
        truth_instances: Sequence[Instance] | None,
        semantic: NDArray[Any],
        panoptic: NDArray[Any],
        segments: dict[int, PredictedSegment],
        detections: Detections,
    ) -> None:
        """`add` for instances that are run-length encoded already."""
        if image_id in self._rows:
            raise ValueError(f"image {image_id} was added before")
        classes = len(self.categories)
        try:
            matrix, counts = np.zeros_like(self._matrix), PanopticCounts.zeros(classes)
            truth: Sequence[Instance] = ()
            if self.task != "instance":
                matrix = confusion(semantic_of(truth_segments, truth_table), semantic, classes)
            if self.task == "panoptic":
                counts = match(truth_segments, truth_table, panoptic, segments, classes)
            if self.task != "semantic":
                truth = self._truth_instances(truth_segments, truth_table, truth_instances)
            instances = self._instances.add(truth, Detections.none() if self.task == "semantic" else detections)
        except (ValueError, KeyError) as error:
            raise ValueError(f"image {image_id}: {error.args[0]}") from error
        self._matrix += matrix
        self._counts += counts
        self._rows[image_id] = class_rows(matrix, counts, instances)
        self._quality = None
        if self._readings:
            self._readings.add(matrix, truth_segments, truth_table, semantic, panoptic, segments)

    def metrics(self) -> dict[str, Number]:
        """Flat, fractions; None where a number does not exist (no stuff, no truth, 0.5 not on the grid)."""
        things = [k for k, isthing in enumerate(self.categories.is_thing) if isthing]
        stuff = [k for k, isthing in enumerate(self.categories.is_thing) if not isthing]
        instances = self._instance_quality()
        numbers: dict[str, Number] = {}
        for suffix, classes in (("", None), ("_thing", things), ("_stuff", stuff)):
            panoptic = quality(self._counts, classes)
            numbers[f"miou{suffix}"] = mean_iou(self._matrix, classes)
            numbers |= {f"pq{suffix}": panoptic.pq, f"sq{suffix}": panoptic.sq, f"rq{suffix}": panoptic.rq}
        return numbers | {
            "ap": instances.ap,
            "ap50": instances.ap50,
            "ap75": instances.ap75,
            "ar": instances.ar,
            "ap_classes": instances.classes,
            "instance_truth": self.instance_truth,
            "images": len(self._rows),
        }

    def protocols(self) -> dict[str, Scores] | None:
        """The numbers of `bench.protocols`; None where they were not asked for."""
        return self._readings.scores(self._matrix, self._instances) if self._readings else None

    def classes(self) -> list[dict[str, Any]]:
        """One row a category: id, name, isthing, iou, pq, sq, rq, ap; None where the category is absent."""
        pq, sq, rq = quality_per_class(self._counts)
        iou = iou_per_class(self._matrix)
        ap = self._instance_quality().ap_per_class
        return [
            {
                "id": category.id,
                "name": category.name,
                "isthing": category.isthing,
                "iou": _number(iou[k]),
                "pq": _number(pq[k]),
                "sq": _number(sq[k]),
                "rq": _number(rq[k]),
                "ap": ap[k],
            }
            for k, category in enumerate(self.categories.entries)
        ]

    def write_images(self, path: Path) -> None:
        """Writes `images.parquet`; its columns are described in `bench.evaluate.images`."""
        thresholds = self._instances.iou_thresholds.tolist()
        write_images(path, list(self._rows), list(self._rows.values()), self._instances.table(), thresholds)

    def _instance_quality(self) -> InstanceQuality:
        if self._quality is None:
            self._quality = self._instances.result()
        return self._quality

    def _truth_instances(
        self, segments: NDArray[Any], table: dict[int, Segment], given: Sequence[Instance] | None
    ) -> Sequence[Instance]:
        if self.instance_truth == "panoptic things":
            return thing_instances(segments, table)
        if given is None:
            raise ValueError("no instance annotation, but the instance truth of this evaluation is 'instances'")
        return given


def thing_instances(segments: NDArray[Any], table: dict[int, Segment]) -> list[Instance]:
    """The thing segments that have pixels, as instances; segments: (H, W) ids."""
    present = set(np.unique(segments).tolist())
    things = [number for number, segment in table.items() if segment.is_thing and number in present]
    rles = encode_masks(segments[None] == np.array(things, dtype=np.int64).reshape(-1, 1, 1))
    return [
        Instance(table[number].category, table[number].is_crowd, rle) for number, rle in zip(things, rles, strict=True)
    ]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)

"""The protocols `paper-text` and `released`, from the same predictions and in the same pass as `standard`.

Shape letters: H height, W width, K categories.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.scene import semantic_of
from bench.evaluate.batch_mean import BatchMeanIoU
from bench.evaluate.coco import Outcomes
from bench.evaluate.components import confidence_map, match_components
from bench.evaluate.instance import COCO_IOU, InstanceAccumulator, mean_precision
from bench.evaluate.semantic import mean_iou, pixels_per_class
from bench.protocols import AT, BATCHES
from models.categories import VOID, Categories, PredictedSegment, Segment, Task

RELEASED_IOU = tuple(float(t) for t in np.linspace(0.30, 0.95, 10))  # of the released COCO scripts
FURTHER_IOU = tuple(sorted({*RELEASED_IOU, *(k / 100 for k in AT)}))  # to be matched beside COCO's own

Scores = dict[str, float | None]


class Readings:
    """What these protocols need of each image beside what `standard` keeps. Batches are of images in the order of
    adding; components exist in the panoptic task alone, which has both classes and instances.
    """

    def __init__(self, categories: Categories, task: Task) -> None:
        self.categories, self.task = categories, task
        self._batches = {size: BatchMeanIoU(len(categories), size) for size in BATCHES}
        self._components = Outcomes(len(categories), np.array(COCO_IOU))

    def add(
        self,
        matrix: NDArray[np.int64],
        truth: NDArray[Any],
        table: dict[int, Segment],
        semantic: NDArray[Any],
        panoptic: NDArray[Any],
        segments: Mapping[int, PredictedSegment],
    ) -> None:
        """One image whose prediction fits its truth. matrix: its confusion (K, K + 1); truth, panoptic: (H, W) ids of
        `table` and `segments`; semantic: (H, W) categories.
        """
        if self.task == "instance":
            return
        intersection, true, _ = pixels_per_class(matrix)
        predicted = np.bincount(semantic[semantic != VOID].ravel(), minlength=len(self.categories))
        for batch in self._batches.values():
            batch.add(np.stack([intersection, true, predicted]))
        if self.task == "panoptic":
            true_classes, scores = semantic_of(truth, table), confidence_map(panoptic, segments)
            self._components.add(match_components(true_classes, semantic, scores, self._components.thresholds))

    def scores(self, matrix: NDArray[np.int64], instances: InstanceAccumulator) -> dict[str, Scores]:
        """The numbers of `bench.protocols`. matrix: the split's confusion; instances: matched at FURTHER_IOU too."""
        grids = [*((k / 100,) for k in AT), RELEASED_IOU]
        *single, released = instances.average_precision(grids)
        capped = {k: instances.average_precision([COCO_IOU], most=k)[0] for k in AT}
        paper = {"miou_all": mean_iou(matrix), "miou_stuff": mean_iou(matrix, self._of(False))}
        paper |= {"miou_thing": mean_iou(matrix, self._of(True))}
        paper |= {f"ap_iou{k}": value for k, value in zip(AT, single, strict=True)}
        numbers: Scores = {f"miou_batch{size}": batch.result() for size, batch in self._batches.items()}
        numbers |= {f"ap_max{k}": value for k, value in capped.items()}
        return {"paper-text": paper, "released": numbers | {"ap_iou30to95": released} | self._component_scores()}

    def _component_scores(self) -> Scores:
        if not self._components.of_image:
            return dict.fromkeys((*(f"ap_components_max{k}" for k in AT), "ap_components_thing_max100"))
        precision = {k: self._components.precision_recall(most=k)[0] for k in AT}
        scores = {f"ap_components_max{k}": mean_precision(values) for k, values in precision.items()}
        return scores | {"ap_components_thing_max100": mean_precision(precision[100][:, :, self._of(True)])}

    def _of(self, thing: bool) -> list[int]:
        return [k for k, isthing in enumerate(self.categories.is_thing) if isthing == thing]

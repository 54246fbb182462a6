"""A prediction as an evaluator takes it and as processes send it to each other: masks as run lengths. No torch.

Shape letters: H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.evaluate.detections import Detections, encode
from bench.evaluate.evaluator import EvaluatedPrediction
from models.categories import PredictedSegment


@dataclass(frozen=True)
class Encoded:
    """semantic, panoptic: (H, W) as in `EvaluatedPrediction`."""

    semantic: NDArray[Any]
    panoptic: NDArray[Any]
    segments: dict[int, PredictedSegment]
    detections: Detections

    @classmethod
    def of(cls, prediction: EvaluatedPrediction) -> Encoded:
        """Raises ValueError where masks, maps and scores disagree."""
        if prediction.masks.shape[1:] != prediction.semantic.shape:
            found, wanted = prediction.masks.shape, prediction.semantic.shape
            raise ValueError(f"instance masks are {found}; expected (N, {wanted})")
        detections = encode(prediction.masks, prediction.categories, prediction.scores)
        return cls(prediction.semantic, prediction.panoptic, prediction.segments, detections)

    def small(self) -> Encoded:
        """With maps of the smallest numbers that hold them."""
        return replace(self, semantic=_narrow(self.semantic), panoptic=_narrow(self.panoptic))

    def restored(self) -> Encoded:
        return replace(self, semantic=self.semantic.astype(np.int64), panoptic=self.panoptic.astype(np.int64))


def _narrow(labels: NDArray[Any]) -> NDArray[Any]:
    """labels: from 0 on."""
    return labels.astype(np.min_scalar_type(int(labels.max(initial=0))))

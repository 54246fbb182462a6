"""The two floors under every table: predictors that never look at the image. Fitted on the training truth."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from models.categories import VOID, Categories
from models.interface import Batch, Outputs, PredictedSegment, Prediction, SegmentationModel


class Floor(SegmentationModel):
    """The commonest class everywhere ('majority') or at each place ('position').

    Ties go to the first class. A thing class of the map is one instance, scored by how common it is there.
    """

    fits_statistics = True
    counts: Tensor

    def __init__(self, categories: Categories, size: tuple[int, int], kind: Literal["majority", "position"]) -> None:
        super().__init__()
        self.categories, self.kind = categories, kind
        self.register_buffer("counts", torch.zeros(len(categories), *size, dtype=torch.int64))

    def fit(self, batch: Batch) -> None:
        """Adds the labels of a batch to the counts."""
        semantic = batch.semantic.to(self.counts.device)
        for category in semantic.unique().tolist():
            if category != VOID:
                self.counts[category] += (semantic == category).sum(0)

    def forward(self, images: Tensor) -> Outputs:
        """{'frequency': (B, K, H, W)}: how often each class was seen."""
        counts = self.counts.double()
        if self.kind == "majority":
            counts = counts.sum((1, 2), keepdim=True).expand_as(counts)
        frequency = counts / counts.sum(0).clamp(min=1)
        return {"frequency": frequency.expand(len(images), *frequency.shape)}

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        return {}

    def decode(self, outputs: Outputs) -> list[Prediction]:
        return [self._read_out(frequency) for frequency in outputs["frequency"]]

    def _read_out(self, frequency: Tensor) -> Prediction:
        common, semantic = frequency.max(0)
        panoptic = torch.zeros_like(semantic)
        segments: dict[int, PredictedSegment] = {}
        things = []
        for number, category in enumerate(semantic.unique().tolist(), start=1):
            region = semantic == category
            panoptic[region] = number
            segments[number] = PredictedSegment(category, float(common[region].mean()))
            if self.categories.is_thing[category]:
                things.append(number)
        masks = [panoptic == number for number in things]
        return Prediction(
            semantic=semantic,
            panoptic=panoptic,
            segments=segments,
            masks=torch.stack(masks) if masks else semantic.new_zeros((0, *semantic.shape), dtype=torch.bool),
            categories=torch.tensor([segments[n].category for n in things], dtype=torch.int64, device=semantic.device),
            scores=torch.tensor([segments[n].score for n in things], dtype=torch.float32, device=semantic.device),
        )


def majority(categories: Categories, size: tuple[int, int]) -> Floor:
    return Floor(categories, size, "majority")


def position_prior(categories: Categories, size: tuple[int, int]) -> Floor:
    return Floor(categories, size, "position")

"""The two floors under every table: predictors that never look at the image. Fitted on the training truth."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from models.categories import VOID, Categories, Task
from models.interface import Batch, Outputs, Prediction, SegmentationModel


class Floor(SegmentationModel):
    """The commonest class everywhere ('majority') or at each place ('position').

    Ties go to the first class. A thing class of the map is one instance, scored by how common it is there
    (none in the semantic task).
    """

    fits_statistics = True
    counts: Tensor
    countable: Tensor

    def __init__(
        self, categories: Categories, size: tuple[int, int], task: Task, kind: Literal["majority", "position"]
    ) -> None:
        super().__init__()
        self.categories, self.task, self.kind = categories, task, kind
        self.register_buffer("counts", torch.zeros(len(categories), *size, dtype=torch.int64))
        countable = torch.tensor(categories.is_thing) & (task != "semantic")
        self.register_buffer("countable", countable, persistent=False)

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
        maxima = [frequency.max(0) for frequency in outputs["frequency"]]
        return [Prediction.of_classes(semantic, common, self.countable) for common, semantic in maxima]


def majority(categories: Categories, size: tuple[int, int], task: Task) -> Floor:
    return Floor(categories, size, task, "majority")


def position_prior(categories: Categories, size: tuple[int, int], task: Task) -> Floor:
    return Floor(categories, size, task, "position")

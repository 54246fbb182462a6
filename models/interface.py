"""The one interface that serves every network, so that a table compares like with like.

Shape letters used in `models`: B images, H height, W width, K categories, N instances of an image,
Q queries, E embedding width, C channels, L decoder layers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.categories import VOID, Categories, PredictedSegment, Segment, Task

__all__ = [
    "VOID",
    "Batch",
    "Outputs",
    "PredictedSegment",
    "Prediction",
    "Segment",
    "SegmentationModel",
    "input_size",
]

Outputs = dict[str, Tensor]  # raw named tensors: compile, data parallel and FLOP counting wrap the same call


@dataclass
class Batch:
    """B images with their ground truth at one size.

    images: (B, 3, H, W) float32, RGB in [0, 1]; semantic: (B, H, W) int64, 255 = void; segments: (B, H, W) int64,
    0 = void; tables: for each image, segment id -> Segment. A segment without a pixel counts for nothing. Crowd
    segments keep their semantic label.
    """

    images: Tensor
    semantic: Tensor
    segments: Tensor
    tables: list[dict[int, Segment]]

    def to(self, device: torch.device | str) -> Batch:
        return Batch(self.images.to(device), self.semantic.to(device), self.segments.to(device), self.tables)


@dataclass
class Prediction:
    """What a network says of one image, at the input's size.

    semantic: (H, W) int64 category of every pixel (never void); panoptic: (H, W) int64 segment ids from 1, 0 = void;
    segments: segment id -> (category, score), exactly the ids present in `panoptic`; masks: (N, H, W) bool;
    categories: (N,) int64; scores: (N,) float32. Instances are things only and may overlap.
    """

    semantic: Tensor
    panoptic: Tensor
    segments: dict[int, PredictedSegment]
    masks: Tensor
    categories: Tensor
    scores: Tensor

    @classmethod
    def of_map(cls, semantic: Tensor, panoptic: Tensor, confidence: Tensor, countable: Tensor) -> Prediction:
        """From a panoptic map whose segments, numbered without a gap, lie in one class each.

        confidence: (H, W) probability of each pixel's class, whose mean scores a segment; countable: (K,) bool.
        The instances are the segments of countable classes.
        """
        labels = panoptic.flatten()
        areas = torch.bincount(labels)
        totals = confidence.new_zeros(len(areas)).index_add(0, labels, confidence.flatten())
        scores = (totals / areas.clamp(min=1)).float()
        classes = torch.zeros_like(areas).scatter(0, labels, semantic.flatten())
        segments = list(zip(classes.tolist(), scores.tolist(), strict=True))
        instances = countable[classes[1:]].nonzero().flatten() + 1
        return cls(
            semantic=semantic,
            panoptic=panoptic,
            segments={number: PredictedSegment(*segment) for number, segment in enumerate(segments) if number},
            masks=panoptic == instances[:, None, None],
            categories=classes[instances],
            scores=scores[instances],
        )

    @classmethod
    def of_classes(cls, semantic: Tensor, confidence: Tensor, countable: Tensor) -> Prediction:
        """One segment a class present, which is an instance where the class is countable."""
        panoptic = semantic.unique(return_inverse=True)[1] + 1
        return cls.of_map(semantic, panoptic, confidence, countable)


class SegmentationModel(nn.Module, ABC):
    """A network that can be trained and read out. Normalisation of the images is the model's own."""

    categories: Categories
    task: Task
    fits_statistics = False  # True: nothing to optimise; `fit` reads the training truth once (the floors)

    @abstractmethod
    def forward(self, images: Tensor) -> Outputs:
        """images: (B, 3, H, W) float32, RGB in [0, 1]."""

    @abstractmethod
    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Named scalar terms, already weighted; their sum is minimised. Finite also when every pixel is void."""

    @abstractmethod
    def decode(self, outputs: Outputs) -> list[Prediction]:
        """One Prediction an image, on the outputs' device."""

    def levels(self) -> dict[str, nn.Module]:
        """The modules whose maps (B, C, h, w) tell of the network's depths, by the name of their place, in the order of
        the data; empty where it has no such places.
        """
        return {}

    def parameter_groups(self, lr: float, backbone_lr_factor: float) -> list[dict[str, object]]:
        """Optimiser groups; backbones (modules under an attribute path with 'backbone') get their own rate."""
        named = [(name, p) for name, p in self.named_parameters() if p.requires_grad]
        backbone = [p for name, p in named if "backbone" in name]
        rest = [p for name, p in named if "backbone" not in name]
        groups: list[dict[str, object]] = [{"params": rest, "lr": lr}]
        if backbone:
            groups.append({"params": backbone, "lr": lr * backbone_lr_factor})
        return groups


def input_size(size: tuple[int, int], stride: int, name: str) -> None:
    """Refuses a size that a network of this stride cannot take. Raises ValueError."""
    height, width = size
    if height % stride or width % stride or min(size) < stride:
        raise ValueError(
            f"{name} takes heights and widths that are multiples of {stride}; got {height}x{width} (height x width)"
        )

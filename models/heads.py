"""The heads of the U-Net family, and how their maps are read out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.grouping import group
from models.interface import Outputs, Prediction

EMBEDDING = 16  # width of a pixel embedding; the released code's city_instance has 16
HIDDEN = 64


class PixelHeads(nn.Module):
    """Class logits of every pixel and, unless classes are all that is asked for, its embedding.

    The embedding also sees where a pixel is (two coordinate channels): two equal objects differ in nothing else.
    """

    def __init__(self, channels: int, classes: int, embeds: bool) -> None:
        super().__init__()
        self.semantic = nn.Conv2d(channels, classes, 1)
        self.embedding = None
        if embeds:
            self.embedding = nn.Sequential(
                nn.Conv2d(channels + 2, HIDDEN, 1), nn.ReLU(inplace=True), nn.Conv2d(HIDDEN, EMBEDDING, 1)
            )

    def forward(self, features: Tensor) -> Outputs:
        """features: (B, C, H, W) -> logits (B, K, H, W), embedding (B, E, H, W)."""
        outputs = {"logits": self.semantic(features)}
        if self.embedding is not None:
            outputs["embedding"] = self.embedding(torch.cat([features, coordinates(features)], dim=1))
        return outputs


def coordinates(features: Tensor) -> Tensor:
    """(B, 2, H, W): row and column of each pixel, from -1 to 1."""
    batch, _, height, width = features.shape
    rows = torch.linspace(-1, 1, height, device=features.device, dtype=features.dtype)
    columns = torch.linspace(-1, 1, width, device=features.device, dtype=features.dtype)
    grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
    return grid.expand(batch, -1, -1, -1)


def read_classes(logits: Tensor) -> Prediction:
    """One image of the semantic task. logits: (K, H, W). Each pixel takes its likeliest class."""
    confidence, semantic = logits.float().softmax(0).max(0)
    nothing = torch.zeros(len(logits), dtype=torch.bool, device=logits.device)
    return Prediction.of_classes(semantic, confidence, countable=nothing)


def read_instances(logits: Tensor, embedding: Tensor, is_thing: Tensor, grouping: str) -> Prediction:
    """One image of the other tasks. logits: (K, H, W), embedding: (E, H, W), is_thing: (K,) bool.

    Each pixel takes its likeliest class. A stuff class is one segment; the pixels of a thing class are grouped into
    instances. A thing pixel without a group is void in the panoptic map and keeps its class in the semantic one.
    """
    confidence, semantic = logits.float().softmax(0).max(0)
    panoptic = group(grouping, semantic, embedding, confidence, is_thing)
    stuff = ~is_thing[semantic]
    panoptic[stuff] = panoptic.max() + 1 + semantic[stuff].unique(return_inverse=True)[1]
    return Prediction.of_map(semantic, panoptic, confidence, is_thing)

"""From pixel embeddings to instances: the heads of the U-Net family and the grouping behind them.

The paper trains embeddings (Eqs. 4 to 6) and never says how instances are read out of them (AUDIT A30). The grouping
here is ours, the same for every network of the family.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.interface import PredictedSegment, Prediction

EMBEDDING = 16  # width of a pixel embedding; the released code's city_instance has 16
HIDDEN = 64
SAME_INSTANCE = 0.7  # cosine from which on two pixels are one instance
MIN_PIXELS = 4  # smaller groups are noise
MAX_INSTANCES = 100  # detections an image that COCO's AP looks at
SHIFTS = 2  # mean-shift steps of a group's centre


class PixelHeads(nn.Module):
    """Class logits and embeddings of every pixel.

    The embedding also sees where a pixel is (two coordinate channels): two equal objects differ in nothing else.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.semantic = nn.Conv2d(channels, classes, 1)
        self.embedding = nn.Sequential(
            nn.Conv2d(channels + 2, HIDDEN, 1), nn.ReLU(inplace=True), nn.Conv2d(HIDDEN, EMBEDDING, 1)
        )

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """features: (B, C, H, W) -> logits (B, K, H, W), embedding (B, E, H, W)."""
        placed = torch.cat([features, coordinates(features)], dim=1)
        return self.semantic(features), self.embedding(placed)


def coordinates(features: Tensor) -> Tensor:
    """(B, 2, H, W): row and column of each pixel, from -1 to 1."""
    batch, _, height, width = features.shape
    rows = torch.linspace(-1, 1, height, device=features.device, dtype=features.dtype)
    columns = torch.linspace(-1, 1, width, device=features.device, dtype=features.dtype)
    grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
    return grid.expand(batch, -1, -1, -1)


def read_out(logits: Tensor, embedding: Tensor, is_thing: Tensor) -> Prediction:
    """One image. logits: (K, H, W), embedding: (E, H, W), is_thing: (K,) bool.

    Each pixel takes its likeliest class. Stuff: one segment a class. Things: pixels of any thing class are grouped by
    embedding, and each group takes the class of its mean probability. The instances are the thing segments.
    """
    probabilities = logits.float().softmax(0)
    confidence, semantic = probabilities.max(0)
    panoptic = torch.zeros_like(semantic)
    segments: dict[int, PredictedSegment] = {}
    masks: list[Tensor] = []

    thing_pixels = is_thing[semantic]
    for category in semantic[~thing_pixels].unique().tolist():
        region = semantic == category
        _add(panoptic, segments, region, category, float(confidence[region].mean()))
    groups = group(F.normalize(embedding.float(), dim=0)[:, thing_pixels].T, confidence[thing_pixels])
    labels = torch.zeros_like(semantic)
    labels[thing_pixels] = groups
    for number in range(1, int(groups.max()) + 1 if groups.numel() else 1):
        region = labels == number
        mean = probabilities[:, region].mean(1).masked_fill(~is_thing, 0.0)
        _add(panoptic, segments, region, int(mean.argmax()), float(mean.max()))
        masks.append(region)

    instances = list(segments.values())[len(segments) - len(masks) :]
    return Prediction(
        semantic=semantic,
        panoptic=panoptic,
        segments=segments,
        masks=torch.stack(masks) if masks else semantic.new_zeros((0, *semantic.shape), dtype=torch.bool),
        categories=torch.tensor([s.category for s in instances], dtype=torch.int64, device=semantic.device),
        scores=torch.tensor([s.score for s in instances], dtype=torch.float32, device=semantic.device),
    )


def _add(panoptic: Tensor, segments: dict[int, PredictedSegment], region: Tensor, category: int, score: float) -> None:
    number = len(segments) + 1
    panoptic[region] = number
    segments[number] = PredictedSegment(category, score)


def group(vectors: Tensor, confidence: Tensor) -> Tensor:
    """Greedy mean shift on the unit sphere. vectors: (P, E) unit, confidence: (P,) -> group of each, from 1; 0 = none.

    The most confident pixel left is the seed; its centre moves to the mean of what lies within SAME_INSTANCE; those
    pixels form a group. What is left in the end joins the nearest centre, unless there is none.
    """
    groups = torch.zeros(len(vectors), dtype=torch.int64, device=vectors.device)
    free = torch.ones(len(vectors), dtype=torch.bool, device=vectors.device)
    order = confidence.argsort(descending=True, stable=True)
    centres: list[Tensor] = []
    while len(centres) < MAX_INSTANCES:
        waiting = order[free[order]]
        if len(waiting) < MIN_PIXELS:
            break
        members, centre = _shift(vectors, free, vectors[waiting[0]])
        free[members] = False
        free[waiting[0]] = False
        if len(members) >= MIN_PIXELS:
            centres.append(centre)
            groups[members] = len(centres)
    if centres:
        left = groups == 0
        groups[left] = (vectors[left] @ torch.stack(centres).T).argmax(1) + 1
    return groups


def _shift(vectors: Tensor, free: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
    """The free pixels within SAME_INSTANCE of a centre that has moved SHIFTS times."""
    for _ in range(SHIFTS):
        near = free & (vectors @ centre > SAME_INSTANCE)
        if near.any():
            centre = F.normalize(vectors[near].mean(0), dim=0)
    return (free & (vectors @ centre > SAME_INSTANCE)).nonzero().flatten(), centre

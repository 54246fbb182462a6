"""The U-Net family as one model: any trunk that keeps the resolution, with shared heads, losses and read-out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.blocks import ImageNetNormalization
from models.categories import Categories
from models.heads import PixelHeads, read_out
from models.interface import Batch, Outputs, Prediction, SegmentationModel, input_size
from models.losses import cross_entropy, instance_contrastive

LAMBDA = 0.5  # Eq. 7, Sec. 4.2


class PixelModel(SegmentationModel):
    """`trunk`: (B, 3, H, W) -> (B, C, H, W) with attributes `stride` and `out_channels`. Raises ValueError for a size
    that the trunk cannot take."""

    is_thing: Tensor

    def __init__(self, trunk: nn.Module, categories: Categories, size: tuple[int, int], name: str) -> None:
        super().__init__()
        stride, channels = trunk.stride, trunk.out_channels
        assert isinstance(stride, int)
        assert isinstance(channels, int)
        input_size(size, stride, name)
        self.name, self.stride, self.categories = name, stride, categories
        self.normalize = ImageNetNormalization()
        self.trunk = trunk
        self.heads = PixelHeads(channels, len(categories))
        self.register_buffer("is_thing", torch.tensor(categories.is_thing), persistent=False)

    def forward(self, images: Tensor) -> Outputs:
        if not torch.jit.is_tracing():
            input_size((images.shape[-2], images.shape[-1]), self.stride, self.name)
        logits, embedding = self.heads(self.trunk(self.normalize(images)))
        return {"logits": logits, "embedding": embedding}

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        return {
            "cross_entropy": cross_entropy(outputs["logits"], batch.semantic),
            "instance_contrastive": LAMBDA * instance_contrastive(outputs["embedding"], batch),
        }

    def decode(self, outputs: Outputs) -> list[Prediction]:
        pairs = zip(outputs["logits"], outputs["embedding"], strict=True)
        return [read_out(logits, embedding, self.is_thing) for logits, embedding in pairs]

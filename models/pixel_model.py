"""The U-Net family as one model: any trunk that keeps the resolution, with shared heads, losses and read-out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.blocks import ImageNetNormalization
from models.categories import Categories, Task
from models.grouping import check_grouping
from models.heads import PixelHeads, read_classes, read_instances
from models.interface import Batch, Outputs, Prediction, SegmentationModel, input_size
from models.losses import cross_entropy, instance_classification, instance_contrastive

LAMBDA = 0.5  # Eq. 7, Sec. 4.2


class PixelModel(SegmentationModel):
    """`trunk`: (B, 3, H, W) -> (B, C, H, W) with attributes `stride` and `out_channels`.

    The semantic task has no embedding and no loss but Eq. 3 (Sec. 4.2). `grouping` reads the instances out of the
    embeddings of the others; `contrastive_weight` is lambda of Eq. 7. Raises ValueError for a size that the trunk
    cannot take and for a grouping that cannot be had.
    """

    is_thing: Tensor

    def __init__(
        self,
        trunk: nn.Module,
        categories: Categories,
        size: tuple[int, int],
        name: str,
        task: Task,
        grouping: str = "greedy",
        contrastive_weight: float = LAMBDA,
    ) -> None:
        super().__init__()
        stride, channels = trunk.stride, trunk.out_channels
        assert isinstance(stride, int)
        assert isinstance(channels, int)
        input_size(size, stride, name)
        check_grouping(grouping)
        self.name, self.stride, self.categories, self.task = name, stride, categories, task
        self.grouping, self.contrastive_weight = grouping, contrastive_weight
        self.normalize: nn.Module = ImageNetNormalization()
        self.trunk = trunk
        self.heads: nn.Module = PixelHeads(channels, len(categories), embeds=task != "semantic")
        self.register_buffer("is_thing", torch.tensor(categories.is_thing), persistent=False)

    def forward(self, images: Tensor) -> Outputs:
        if not torch.jit.is_tracing():
            input_size((images.shape[-2], images.shape[-1]), self.stride, self.name)
        outputs: Outputs = self.heads(self.trunk(self.normalize(images)))
        return outputs

    def levels(self) -> dict[str, nn.Module]:
        """Those of the trunk, where it has any."""
        found: dict[str, nn.Module] = getattr(self.trunk, "levels", dict)()
        return found

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        terms = {"cross_entropy": cross_entropy(outputs["logits"], batch.semantic)}
        if self.task != "semantic":
            contrastive = instance_contrastive(outputs["embedding"], batch)
            terms["instance_contrastive"] = self.contrastive_weight * contrastive
            terms["instance_classification"] = instance_classification(outputs["logits"], batch)
        return terms

    def decode(self, outputs: Outputs) -> list[Prediction]:
        if self.task == "semantic":
            return [read_classes(logits) for logits in outputs["logits"]]
        pairs = zip(outputs["logits"], outputs["embedding"], strict=True)
        return [read_instances(logits, embedding, self.is_thing, self.grouping) for logits, embedding in pairs]

"""Mask2Former (Cheng et al., arXiv 2112.01527) over the class of `transformers`, with its own loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, TimmBackboneConfig
from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss

from models.backbones import prepare_backbone, timm_options
from models.blocks import ImageNetNormalization
from models.categories import Categories, Task
from models.interface import Batch, Outputs, Prediction, SegmentationModel, input_size
from models.parallel import divisor, mean_of_all
from models.postprocess import mask2former_panoptic, predict_from_queries
from models.query_targets import query_targets

MASK_STRIDE = 4  # masks have a quarter of the input's height and width
# The paper samples 112 x 112 points of each mask for its loss at 1024 x 1024. That many on a 32 x 32 image (8 x 8 mask
# cells) would only repeat cells, so a quarter of the pixels (four points a mask cell) up to the paper's number.
MAX_POINTS = 112 * 112
PIXELS_A_POINT = 4


class _Config(Mask2FormerConfig):
    """Without the warning that the backbone is no Swin: the paper has ResNets too."""

    backbones_supported = ("timm_backbone",)


class _WholeBatchLoss(Mask2FormerLoss):
    """Means over the masks and queries of all processes. `transformers` divides the number of masks by the number of
    processes twice (accelerate's `reduce` is a mean already), and weighs the classes of each process by itself.
    """

    def get_num_masks(self, class_labels: list[Tensor], device: torch.device) -> Tensor:
        return divisor(torch.tensor(sum(map(len, class_labels)), dtype=torch.float, device=device))

    def loss_labels(self, class_queries_logits: Tensor, class_labels: list[Tensor], indices: Any) -> dict[str, Tensor]:
        found = super().loss_labels(class_queries_logits, class_labels, indices)
        matched = sum(len(query) for query, _ in indices)
        weight = matched + self.eos_coef * (class_queries_logits[..., 0].numel() - matched)
        return {name: mean_of_all(value, weight) for name, value in found.items()}


class Mask2Former(SegmentationModel):
    """Queries that each predict a class and a mask through masked attention; trained by bipartite matching on both."""

    def __init__(
        self,
        categories: Categories,
        size: tuple[int, int],
        task: Task,
        *,
        backbone: str,
        backbone_weights: str = "none",
        **config: Any,
    ) -> None:
        """config: fields of `transformers.Mask2FormerConfig`. Raises WeightsError, ValueError for a bad size."""
        super().__init__()
        input_size(size, MASK_STRIDE, "Mask2Former")
        self.categories, self.task = categories, task
        self.config = _Config(
            backbone_config=TimmBackboneConfig(**timm_options(backbone)),
            num_labels=len(categories),
            train_num_points=min(MAX_POINTS, size[0] * size[1] // PIXELS_A_POINT),
            **config,
        )
        self.normalize = ImageNetNormalization()
        self.network = Mask2FormerForUniversalSegmentation(self.config)
        self.network.criterion = _WholeBatchLoss(self.config, self.network.weight_dict)
        _register_lists(self.network)
        prepare_backbone(self.network.model.pixel_level_module.encoder._backbone, backbone, backbone_weights)

    def forward(self, images: Tensor) -> Outputs:
        """(B, 3, H, W) -> class_logits (B, L, Q, K + 1), mask_logits (B, L, Q, H / 4, W / 4).

        L is 1 + the number of decoder layers while training, for the auxiliary losses, and 1 (the last) in evaluation.
        Images come first in every tensor, so that data parallel gathers them right.
        """
        if not torch.jit.is_tracing():
            input_size((images.shape[-2], images.shape[-1]), MASK_STRIDE, "Mask2Former")
        found = self.network.model(self.normalize(images), output_hidden_states=True)
        layers = slice(None) if self.training else slice(-1, None)
        states = torch.stack(found.transformer_decoder_intermediate_states[layers])  # (L, Q, B, E)
        return {
            "class_logits": self.network.class_predictor(states.permute(2, 0, 1, 3)),
            "mask_logits": torch.stack(found.masks_queries_logits[layers], dim=1),
        }

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy, mask cross-entropy and dice of the last layer; `auxiliary` sums those of the layers before."""
        targets = query_targets(batch, self.task)
        with torch.autocast(batch.images.device.type, enabled=False):  # the matcher's scipy knows no bfloat16
            classes = outputs["class_logits"].float().unbind(dim=1)
            masks = outputs["mask_logits"].float().unbind(dim=1)
            terms = self.network.get_loss_dict(
                masks_queries_logits=masks[-1],
                class_queries_logits=classes[-1],
                mask_labels=[target.masks for target in targets],
                class_labels=[target.labels for target in targets],
                auxiliary_predictions=self.network.get_auxiliary_logits(classes, masks),
            )
        names = {"loss_cross_entropy": "ce", "loss_mask": "mask", "loss_dice": "dice"}
        losses = {short: terms[name] for name, short in names.items()}
        earlier = [term for name, term in terms.items() if name not in names]
        return {**losses, "auxiliary": torch.stack(earlier).sum()} if earlier else losses

    def decode(self, outputs: Outputs) -> list[Prediction]:
        masks = outputs["mask_logits"][:, -1]
        size = (masks.shape[-2] * MASK_STRIDE, masks.shape[-1] * MASK_STRIDE)
        classes = outputs["class_logits"][:, -1]
        return predict_from_queries(classes, masks, size, self.categories.is_thing, self.task, mask2former_panoptic)


def mask2former_r50(categories: Categories, size: tuple[int, int], task: Task, **options: Any) -> Mask2Former:
    """Mask2Former with ResNet-50: 100 queries of width 256, 6 pixel decoder and 9 decoder layers (the paper's R50)."""
    return Mask2Former(categories, size, task, backbone="resnet50", **options)


def mask2former_r101(categories: Categories, size: tuple[int, int], task: Task, **options: Any) -> Mask2Former:
    """Mask2Former with ResNet-101, otherwise as `mask2former_r50`."""
    return Mask2Former(categories, size, task, backbone="resnet101", **options)


def mask2former_small(categories: Categories, size: tuple[int, int], task: Task, **options: Any) -> Mask2Former:
    """Mask2Former with ResNet-18, width 64, 20 queries and 1 + 3 layers: the same code in a size for tests."""
    small: dict[str, Any] = {
        "feature_size": 64,
        "mask_feature_size": 64,
        "hidden_dim": 64,
        "num_queries": 20,
        "encoder_layers": 1,
        "decoder_layers": 4,  # the configuration counts the predictions, one before the first layer
        "encoder_feedforward_dim": 128,
        "dim_feedforward": 128,
    }
    return Mask2Former(categories, size, task, backbone="resnet18", **{**small, **options})


def _register_lists(network: Mask2FormerForUniversalSegmentation) -> None:
    """Turns the plain lists of modules that `transformers` calls into registered ones.

    A replica of data parallel would still call the originals in such a list, on the first device.
    """
    decoder = network.model.pixel_level_module.decoder
    for name in [name for name, _ in decoder.named_children() if name.startswith(("adapter_", "layer_"))]:
        delattr(decoder, name)
    decoder.lateral_convolutions = nn.ModuleList(decoder.lateral_convolutions)
    decoder.output_convolutions = nn.ModuleList(decoder.output_convolutions)
    predictor = network.model.transformer_module.decoder.mask_predictor
    predictor.mask_embedder = nn.Sequential(
        *(step for block in predictor.mask_embedder.layers for step in block.layers)
    )

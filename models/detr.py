"""DETR with a mask head (Carion et al., arXiv 2005.12872) over `transformers`' modules, with its own loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import DetrConfig, DetrForSegmentation, TimmBackboneConfig
from transformers.loss.loss_for_object_detection import HungarianMatcher, ImageLoss

from models.backbones import prepare_backbone, timm_options
from models.blocks import ImageNetNormalization
from models.categories import Categories, Task
from models.interface import Batch, Outputs, Prediction, SegmentationModel, input_size
from models.parallel import divisor, mean_of_all
from models.postprocess import detr_panoptic, predict_from_queries
from models.query_targets import boxes_from_masks, query_targets

MASK_STRIDE = 4  # masks have a quarter of the input's height and width


class _WholeBatchLoss(ImageLoss):
    """Means over the targets and queries of all processes. `transformers` divides the number of targets by the number
    of processes twice (accelerate's `reduce` is a mean already), and weighs the classes of each process by itself.
    """

    def __init__(self, config: DetrConfig) -> None:
        matcher = HungarianMatcher(config.class_cost, config.bbox_cost, config.giou_cost)
        super().__init__(matcher, config.num_labels, config.eos_coefficient, ["labels", "boxes", "masks"])

    def forward(self, outputs: dict[str, Any], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        here = torch.tensor(float(sum(len(target["class_labels"]) for target in targets)))
        self.targets = float(divisor(here.to(outputs["logits"].device)))
        found: dict[str, Tensor] = super().forward(outputs, targets)
        return found

    def get_loss(self, loss: str, outputs: Any, targets: Any, indices: Any, num_boxes: float) -> dict[str, Tensor]:
        found: dict[str, Tensor] = super().get_loss(loss, outputs, targets, indices, self.targets)
        return found

    def loss_labels(self, outputs: Any, targets: Any, indices: Any, num_boxes: float) -> dict[str, Tensor]:
        found = super().loss_labels(outputs, targets, indices, num_boxes)
        matched = sum(len(query) for query, _ in indices)
        weight = matched + self.eos_coef * (outputs["logits"][..., 0].numel() - matched)
        return {name: mean_of_all(value, weight) for name, value in found.items()}


class Detr(SegmentationModel):
    """Queries that each predict a class, a box and a mask; trained by bipartite matching on class and box.

    Boxes and masks are trained together from the start (the paper's first recipe; its released panoptic models train
    the mask head in a second stage on frozen boxes).
    """

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
        """config: fields of `transformers.DetrConfig`. Raises WeightsError, ValueError for a size it cannot take."""
        super().__init__()
        input_size(size, MASK_STRIDE, "DETR")
        self.categories, self.task = categories, task
        backbone_config = TimmBackboneConfig(**timm_options(backbone))
        self.config = DetrConfig(
            backbone_config=backbone_config, num_labels=len(categories), auxiliary_loss=True, **config
        )
        self.normalize = ImageNetNormalization()
        self.network = DetrForSegmentation(self.config)
        _init_transformer(self.network)
        prepare_backbone(self.network.detr.model.backbone.model, backbone, backbone_weights)

    def forward(self, images: Tensor) -> Outputs:
        """(B, 3, H, W) -> class_logits (B, L, Q, K + 1), boxes (B, L, Q, 4) as fractions (centre x, centre y, width,
        height), mask_logits (B, Q, H / 4, W / 4).

        L is the number of decoder layers while training, for the auxiliary losses, and 1 (the last) in evaluation.
        Images come first in every tensor, so that data parallel gathers them right.
        """
        # Not the forward of `transformers`: without labels it keeps the earlier layers' predictions to itself.
        if not torch.jit.is_tracing():
            input_size((images.shape[-2], images.shape[-1]), MASK_STRIDE, "DETR")
        net, base = self.network, self.network.detr.model
        c2, c3, c4, c5 = base.backbone.model(self.normalize(images))
        projected = base.input_projection(c5)
        positions = base.position_embedding(shape=c5.shape, device=c5.device, dtype=projected.dtype)
        positions = positions.flatten(2).transpose(1, 2)
        memory = base.encoder(
            inputs_embeds=projected.flatten(2).transpose(1, 2), spatial_position_embeddings=positions
        ).last_hidden_state
        states = self._decode_queries(memory, positions)
        attention = net.bbox_attention(states[:, -1], memory.transpose(1, 2).reshape(projected.shape))
        masks = net.mask_head(features=projected, attention_masks=attention, fpn_features=[c4, c3, c2])
        return {
            "class_logits": net.detr.class_labels_classifier(states),
            "boxes": net.detr.bbox_predictor(states).sigmoid(),
            "mask_logits": masks.view(len(images), -1, *masks.shape[-2:]),
        }

    def _decode_queries(self, memory: Tensor, positions: Tensor) -> Tensor:
        """memory, positions: (B, S, E) -> normalised states of the queries after the layers, (B, L, Q, E)."""
        decoder = self.network.detr.model.decoder
        queries = self.network.detr.model.query_position_embeddings.weight.expand(len(memory), -1, -1)
        hidden, states = torch.zeros_like(queries), []
        for layer in decoder.layers:
            hidden = layer(hidden, None, positions, queries, memory)
            # The norm is for the heads alone, as in the paper's code; `transformers` also feeds it to the next layer.
            states.append(hidden)
        return decoder.layernorm(torch.stack(states if self.training else states[-1:], dim=1))

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy, box L1 and GIoU, mask focal and dice of the last layer; `auxiliary` sums the layers before."""
        with torch.autocast(batch.images.device.type, enabled=False):  # the matcher's scipy knows no bfloat16
            classes = outputs["class_logits"].float().transpose(0, 1)
            boxes = outputs["boxes"].float().transpose(0, 1)
            masks = outputs["mask_logits"].float()
            pairs = zip(classes, boxes, strict=True)
            *earlier, last = ({"logits": logits, "pred_boxes": layer} for logits, layer in pairs)
            predicted = {**last, "pred_masks": masks, "auxiliary_outputs": earlier}
            terms = _WholeBatchLoss(self.config).to(masks.device)(predicted, _targets(batch, self.task))
        weights = {
            "loss_ce": 1,
            "loss_bbox": self.config.bbox_loss_coefficient,
            "loss_giou": self.config.giou_loss_coefficient,
            "loss_mask": self.config.mask_loss_coefficient,
            "loss_dice": self.config.dice_loss_coefficient,
        }
        losses = {name.removeprefix("loss_"): terms[name] * weight for name, weight in weights.items()}
        layers = range(len(classes) - 1)
        auxiliary = [terms[f"{name}_{n}"] * w for n in layers for name, w in weights.items() if f"{name}_{n}" in terms]
        return {**losses, "auxiliary": torch.stack(auxiliary).sum()} if auxiliary else losses

    def decode(self, outputs: Outputs) -> list[Prediction]:
        masks = outputs["mask_logits"]
        size = (masks.shape[-2] * MASK_STRIDE, masks.shape[-1] * MASK_STRIDE)
        classes = outputs["class_logits"][:, -1]
        return predict_from_queries(classes, masks, size, self.categories.is_thing, self.task, detr_panoptic)


def detr_r50(categories: Categories, size: tuple[int, int], task: Task, **options: Any) -> Detr:
    """DETR with ResNet-50: 100 queries of width 256, 6 encoder and 6 decoder layers (the paper's DETR-R50)."""
    return Detr(categories, size, task, backbone="resnet50", **options)


def detr_r101(categories: Categories, size: tuple[int, int], task: Task, **options: Any) -> Detr:
    """DETR with ResNet-101, otherwise as `detr_r50`."""
    return Detr(categories, size, task, backbone="resnet101", **options)


def detr_small(categories: Categories, size: tuple[int, int], task: Task, **options: Any) -> Detr:
    """DETR with ResNet-18, width 64, 20 queries and 2 + 2 layers: the same code in a size for tests."""
    small: dict[str, Any] = {
        "d_model": 64,
        "num_queries": 20,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_ffn_dim": 128,
        "decoder_ffn_dim": 128,
        "dropout": 0.0,
    }
    return Detr(categories, size, task, backbone="resnet18", **{**small, **options})


def _init_transformer(network: DetrForSegmentation) -> None:
    """The paper's start (appendix A.4, facebookresearch/detr:models/transformer.py): Xavier weights, unit queries.

    `transformers` draws everything with deviation 0.02, which suits its pretrained checkpoints; from there the queries
    are nearly equal and take long to part.
    """
    base = network.detr.model
    for parameter in [*base.encoder.parameters(), *base.decoder.parameters()]:
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
    nn.init.normal_(base.query_position_embeddings.weight)


def _targets(batch: Batch, task: Task) -> list[dict[str, Tensor]]:
    return [
        {"class_labels": labels, "masks": masks, "boxes": boxes_from_masks(masks)}
        for labels, masks in query_targets(batch, task)
    ]

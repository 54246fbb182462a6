"""DETR as a detector: without the mask head, which is what the paper's FLOPs and parameters of DETR fit (AUDIT A20)."""

from __future__ import annotations

from torch import Tensor, nn

from models.categories import Categories
from models.detr import Detr
from models.interface import Outputs
from models.registry import build


class Detector(nn.Module):
    """The detector inside of DETR with masks, run by `transformers`' own forward. To be counted, not trained."""

    def __init__(self, whole: Detr) -> None:
        super().__init__()
        self.normalize, self.network = whole.normalize, whole.network.detr

    def forward(self, images: Tensor) -> Outputs:
        """(B, 3, H, W) -> class_logits (B, Q, K + 1) and boxes (B, Q, 4)."""
        found = self.network(self.normalize(images))
        return {"class_logits": found.logits, "boxes": found.pred_boxes}


def build_detector(name: str, categories: Categories, size: tuple[int, int]) -> Detector:
    """Of a registered DETR, without the weights of its mask head."""
    whole = build(name, categories, size)
    assert isinstance(whole, Detr)
    return Detector(whole)

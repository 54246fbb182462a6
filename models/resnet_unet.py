"""A U-Net over a ResNet-50 in the layout of segmentation_models_pytorch (theirs: 32.5 M parameters, 2.98 GMACs).

Of the U-Nets that fit the name it is the nearest to the 32 M and 4 G which the paper prints for its own (AUDIT A23).
Random weights and norms of our own, as in the query networks that start from scratch.
"""

from __future__ import annotations

from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.backbones import prepare_backbone
from models.blocks import DoubleConv
from models.categories import Categories, Task
from models.pixel_model import PixelModel

RESNET = "resnet50"
DECODER = (256, 128, 64, 32, 16)  # channels from stride 16 up to the full resolution


class Up(nn.Module):
    """Enlarges by repeating pixels, then merges the skip where there is one."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.merge = DoubleConv(in_channels + skip_channels, out_channels)

    def forward(self, x: Tensor, size: tuple[int, int], skip: Tensor | None) -> Tensor:
        """x: (B, C_in, h, w), skip: (B, C_skip, H, W), size: (H, W) -> (B, C_out, H, W)."""
        larger = F.interpolate(x, size=size, mode="nearest")
        merged: Tensor = self.merge(larger if skip is None else torch.cat([larger, skip], dim=1))
        return merged


class ResNetUNet(nn.Module):
    """(B, 3, H, W) -> (B, 16, H, W). The encoder's last map has stride 32, rounded up where that does not divide."""

    stride = 16
    out_channels = DECODER[-1]

    def __init__(self) -> None:
        super().__init__()
        self.encoder = timm.create_model(RESNET, features_only=True, pretrained=False)
        prepare_backbone(self.encoder, RESNET, "none")
        *skips, deepest = self.encoder.feature_info.channels()
        inputs, skips = [deepest, *DECODER[:-1]], [*reversed(skips), 0]
        self.up = nn.ModuleList(Up(i, s, o) for i, s, o in zip(inputs, skips, DECODER, strict=True))

    def levels(self) -> dict[str, nn.Module]:
        """Of the same sizes as those of models/unet.py."""
        down = zip((2, 4, 8), (self.encoder.act1, self.encoder.layer1, self.encoder.layer2), strict=True)
        up = zip((4, 2, 1), self.up[2:], strict=True)
        return {f"down 1/{n}": module for n, module in down} | {f"up 1/{n}": module for n, module in up}

    def forward(self, x: Tensor) -> Tensor:
        *skips, y = self.encoder(x)
        for up, skip in zip(self.up, [*reversed(skips), None], strict=True):
            target = x if skip is None else skip
            y = up(y, (target.shape[-2], target.shape[-1]), skip)
        return y


def unet_resnet50(categories: Categories, size: tuple[int, int], task: Task, **shared: Any) -> PixelModel:
    return PixelModel(ResNetUNet(), categories, size, "unet-resnet50", task, **shared)

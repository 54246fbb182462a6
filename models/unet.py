"""U-Net (Ronneberger et al. 2015): four poolings, 64 to 1024 channels, 31.0 M parameters, 12.2 GMACs at 128x128."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import DoubleConv, Up
from models.categories import Categories, Task
from models.pixel_model import PixelModel


class UNet(nn.Module):
    """(B, 3, H, W) -> (B, width, H, W)."""

    stride = 16

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.widths = widths = [width * 2**level for level in range(5)]
        self.out_channels = width
        pairs = list(zip([3, *widths[:-1]], widths, strict=True))
        self.down = nn.ModuleList(DoubleConv(i, o) for i, o in pairs)
        self.up = nn.ModuleList(Up(deep, skip, skip) for skip, deep in reversed(pairs[1:]))

    def forward(self, x: Tensor) -> Tensor:
        *skips, x = self.encode(x)
        for up, skip in zip(self.up, reversed(skips), strict=True):
            x = up(x, skip)
        return x

    def levels(self) -> dict[str, nn.Module]:
        """The blocks at 1/2 to 1/8 of the height and width on the way down, and at 1/4 to 1/1 on the way up: the places
        of att1 to att6 of MaskAttn-UNet.
        """
        down = {f"down 1/{2**level}": self.down[level] for level in (1, 2, 3)}
        return down | {f"up 1/{2**level}": self.up[3 - level] for level in (2, 1, 0)}

    def encode(self, x: Tensor) -> list[Tensor]:
        """The map of each level, the last at 1/16 of height and width."""
        maps: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            maps.append(x)
        return maps


def unet(categories: Categories, size: tuple[int, int], task: Task, *, width: int, **shared: Any) -> PixelModel:
    return PixelModel(UNet(width), categories, size, "unet", task, **shared)

"""Blocks that several networks share: input normalisation, norms, the U-Nets' convolutions."""

from __future__ import annotations

from math import gcd

import torch
from torch import Tensor, nn

# ImageNet's channel statistics, as every published ResNet was trained (facebookresearch/detr:datasets/coco.py).
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
NORM_GROUPS = 32  # Wu and He, Group Normalization (arXiv 1803.08494), table 3


class ImageNetNormalization(nn.Module):
    """(B, 3, H, W) in [0, 1] -> zero mean and unit deviation a channel over ImageNet."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std


def channel_norm(channels: int) -> nn.GroupNorm:
    """Group norm: the same for every batch size, image size and number of processes, unlike batch norm.

    At least two channels a group, or a narrow network's 1x1 maps would be normalised to nothing.
    """
    return nn.GroupNorm(gcd(NORM_GROUPS, channels // 2 or 1), channels)


class DoubleConv(nn.Sequential):
    """Two times 3x3 convolution, norm, ReLU: the block of the textbook U-Net. (B, C_in, H, W) -> (B, C_out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            channel_norm(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            channel_norm(out_channels),
            nn.ReLU(inplace=True),
        )


class Up(nn.Module):
    """Doubles height and width by a transposed convolution, then merges the skip."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.upsample = nn.ConvTranspose2d(in_channels, in_channels // 2, 2, stride=2)
        self.merge = DoubleConv(in_channels // 2 + skip_channels, out_channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """x: (B, C_in, H/2, W/2), skip: (B, C_skip, H, W) -> (B, C_out, H, W)."""
        merged: Tensor = self.merge(torch.cat([skip, self.upsample(x)], dim=1))
        return merged

"""U-Transformer: U-Net Transformer (Petit et al. 2021, arXiv 2103.06104), the paper's reference [47].

Self-attention at the bottom, and on each skip a cross-attention whose output gates the skip. The paper's Table 7 calls
it Self-Attention UNet, though it is not 'MaskAttn-UNet without the mask' (AUDIT A38).
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.attention import MultiHeadAttention
from models.categories import Categories, Task
from models.pixel_model import PixelModel
from models.unet import UNet


def sine_positions(height: int, width: int, channels: int) -> Tensor:
    """2-D sine position encoding (Vaswani et al. 2017 by row and column): (H W, C), C divisible by 4."""
    frequencies = torch.exp(-math.log(10_000.0) * torch.arange(0, channels // 2, 2) / (channels // 2))
    rows = torch.arange(height)[:, None] * frequencies
    columns = torch.arange(width)[:, None] * frequencies
    by_row = torch.cat([rows.sin(), rows.cos()], dim=-1)[:, None].expand(-1, width, -1)
    by_column = torch.cat([columns.sin(), columns.cos()], dim=-1)[None].expand(height, -1, -1)
    return torch.cat([by_row, by_column], dim=-1).reshape(height * width, channels)


def to_tokens(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H W, C)."""
    return x.flatten(2).transpose(1, 2)


class SelfAttention(nn.Module):
    """Residual self-attention with positions. (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.attention = MultiHeadAttention(channels, heads)

    def forward(self, x: Tensor) -> Tensor:
        channels, height, width = x.shape[1:]
        placed = self.norm(to_tokens(x)) + sine_positions(height, width, channels).to(x)
        attended = self.attention(placed, placed, placed)
        return x + attended.transpose(1, 2).unflatten(2, (height, width))


class SkipGate(nn.Module):
    """Cross-attention at the deeper resolution: queries and keys from the deeper features, values from the skip; its
    sigmoid, upsampled, filters the skip (their Fig. 3)."""

    def __init__(self, deep_channels: int, skip_channels: int, heads: int) -> None:
        super().__init__()
        self.deep = nn.Linear(deep_channels, skip_channels)
        self.norm_deep = nn.LayerNorm(skip_channels)
        self.norm_skip = nn.LayerNorm(skip_channels)
        self.attention = MultiHeadAttention(skip_channels, heads)

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        """deep: (B, C_deep, H/2, W/2), skip: (B, C, H, W) -> gated skip (B, C, H, W)."""
        height, width = deep.shape[-2:]
        positions = sine_positions(height, width, skip.shape[1]).to(skip)
        query = self.norm_deep(self.deep(to_tokens(deep))) + positions
        value = self.norm_skip(to_tokens(F.max_pool2d(skip, 2))) + positions
        gate = self.attention(query, query, value).transpose(1, 2).unflatten(2, (height, width)).sigmoid()
        return skip * F.interpolate(gate, scale_factor=2, mode="bilinear", align_corners=False)


class UTransformer(UNet):
    """(B, 3, H, W) -> (B, width, H, W): the textbook U-Net with attention at the bottom and gates on the skips."""

    def __init__(self, width: int = 64, heads: int = 4) -> None:
        super().__init__(width)
        self.bottom = SelfAttention(self.widths[-1], heads)
        pairs = reversed(list(pairwise(self.widths)))
        self.gates = nn.ModuleList(SkipGate(deep, skip, heads) for skip, deep in pairs)

    def forward(self, x: Tensor) -> Tensor:
        *skips, x = self.encode(x)
        x = self.bottom(x)
        for gate, up, skip in zip(self.gates, self.up, reversed(skips), strict=True):
            x = up(x, gate(x, skip))
        return x


def u_transformer(
    categories: Categories, size: tuple[int, int], task: Task, *, width: int, heads: int, **shared: Any
) -> PixelModel:
    return PixelModel(UTransformer(width, heads), categories, size, "u-transformer", task, **shared)

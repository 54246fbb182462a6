"""The network of the authors' released code, built anew from a description of what that code does, not from the code.

It differs from the paper in nearly every part (docs/decisions.md). Each oddity is a switch:
    mask                 a random half of the keys is hidden from every query; never trained, never computed from the
                         image: random-fixed, random-resampled or none of models/masks.py.
    heads, feed_forward  one head without output projection, and no feed-forward part (Eq. 2).
    missing_permutation  the tokens (B, N, C) are read as if they were (B, C, H, W), without the transpose.
    fixed_layernorm      a layer norm over (64, 128, 128), so a scale and a bias a pixel, instead of a channel norm. It
                         ties the network to 128x128.
    norm_logits, relu_logits    batch norm and ReLU on the class logits, so that none is negative.
    unused_branches      a SiLU and a linear layer in each stage, built and never called.
    normalize            ImageNet's statistics; off, as released: the network sees images in [0, 1].

The released mask is a coin a key, tossed for each place in the batch at the first batch and then kept, in no
checkpoint; on several GPUs it is tossed anew in every pass, in evaluation too. Results that hang on an image's place
in the batch or on the number of GPUs cannot be compared, so here it is one mask a module, of exactly half of the keys,
drawn when the network is built, the same for every image, and saved with the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.attention import FFN_FACTOR, key_masked_attention
from models.blocks import channel_norm
from models.categories import Categories, Task
from models.heads import EMBEDDING
from models.interface import Outputs
from models.masks import TIED_TO_SIZE, key_mask
from models.pixel_model import PixelModel

NAME = "maskattn-unet-released"
SIZE = (128, 128)  # height and width that the fixed layer norm takes
WIDTH = 64  # channels of the first and the last stage
BRANCH = 256  # input width of the branches that nothing calls
DROPOUT = 0.3


def double_conv(in_channels: int, middle: int, out_channels: int) -> nn.Sequential:
    """Two 3x3 convolutions, each with its batch norm, a GELU between; none behind."""
    return nn.Sequential(
        nn.Conv2d(in_channels, middle, 3, padding=1, bias=False),
        nn.BatchNorm2d(middle),
        nn.GELU(),
        nn.Conv2d(middle, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
    )


class Stage(nn.Module):
    """A residual double convolution, one that changes the width, and one more norm."""

    def __init__(self, in_channels: int, middle: int, out_channels: int, unused_branch: bool) -> None:
        super().__init__()
        self.residual = double_conv(in_channels, in_channels, in_channels)
        self.change = double_conv(in_channels, middle, out_channels)
        self.norm = nn.BatchNorm2d(out_channels)
        if unused_branch:
            self.unused = nn.Sequential(nn.SiLU(), nn.Linear(BRANCH, out_channels))

    def convolve(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C_out, H, W)."""
        convolved: Tensor = self.norm(self.change(F.gelu(x + self.residual(x))))
        return convolved


class Down(Stage):
    """(B, C_in, H, W) -> (B, C_out, H/2, W/2)."""

    def __init__(self, in_channels: int, out_channels: int, unused_branch: bool) -> None:
        super().__init__(in_channels, out_channels, out_channels, unused_branch)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolve(F.max_pool2d(x, 2))


class Up(Stage):
    """x: (B, C_in/2, H/2, W/2), skip: (B, C_in/2, H, W) -> (B, C_out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, unused_branch: bool) -> None:
        super().__init__(in_channels, in_channels // 2, out_channels, unused_branch)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        larger = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        return self.convolve(torch.cat([skip, larger], dim=1))


@dataclass(frozen=True)
class AttentionSwitches:
    mask: str
    heads: int
    feed_forward: bool
    missing_permutation: bool


class ReleasedAttention(nn.Module):
    """Masked attention, its input added, then a layer norm. (B, C, H, W) -> (B, C, H, W). `positions` is H W.

    Without the permutation, entry f = c H W + h W + w of the output holds channel f mod C of token f // C.
    """

    def __init__(self, channels: int, positions: int, switches: AttentionSwitches) -> None:
        super().__init__()
        if switches.heads < 1 or channels % switches.heads:
            raise ValueError(f"{NAME}: {channels} channels do not divide into {switches.heads} heads")
        self.switches = switches
        self.mask = key_mask(switches.mask, channels, positions)
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.norm = nn.LayerNorm(channels)
        if switches.feed_forward:
            inner = FFN_FACTOR * channels
            self.ffn = nn.Sequential(nn.Linear(channels, inner), nn.GELU(), nn.Linear(inner, channels))

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        attended = self.norm(tokens + self.attend(tokens))
        if self.switches.feed_forward:
            attended = attended + self.ffn(attended)
        if not self.switches.missing_permutation:
            attended = attended.transpose(1, 2)
        return attended.reshape(x.shape)

    def attend(self, tokens: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        q, k, v = (
            layer(tokens).unflatten(-1, (self.switches.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        return key_masked_attention(q, k, v, self.mask(tokens)).transpose(1, 2).flatten(2)


class ReleasedUNet(nn.Module):
    """(B, 3, H, W) -> (B, 64, H, W). At 128x128: att1 at 64x64, att2 32x32, att3 16x16, att4 to att6 the way back."""

    stride = 8
    out_channels = WIDTH

    def __init__(
        self, size: tuple[int, int], attention: AttentionSwitches, *, fixed_layernorm: bool, unused_branches: bool
    ) -> None:
        super().__init__()
        self.size = size if fixed_layernorm or attention.mask in TIED_TO_SIZE else None
        positions = [size[0] * size[1] // 4**level for level in range(4)]
        self.initial = double_conv(3, 64, 64)
        self.down1 = Down(64, 128, unused_branches)
        self.att1 = ReleasedAttention(128, positions[1], attention)
        self.down2 = Down(128, 256, unused_branches)
        self.att2 = ReleasedAttention(256, positions[2], attention)
        self.down3 = Down(256, 256, unused_branches)
        self.att3 = ReleasedAttention(256, positions[3], attention)
        self.bottom = nn.Sequential(double_conv(256, 512, 512), double_conv(512, 512, 512), double_conv(512, 256, 256))
        self.dropout = nn.Dropout(DROPOUT)
        self.up1 = Up(512, 128, unused_branches)
        self.att4 = ReleasedAttention(128, positions[2], attention)
        self.up2 = Up(256, 64, unused_branches)
        self.att5 = ReleasedAttention(64, positions[1], attention)
        self.up3 = Up(128, 64, unused_branches)
        self.att6 = ReleasedAttention(64, positions[0], attention)
        self.norm: nn.Module = nn.LayerNorm((WIDTH, *size)) if fixed_layernorm else channel_norm(WIDTH)

    def forward(self, images: Tensor) -> Tensor:
        if self.size is not None and not torch.jit.is_tracing() and tuple(images.shape[-2:]) != self.size:
            expected, found = ("{}x{}".format(*pair) for pair in (self.size, images.shape[-2:]))
            raise ValueError(
                f"this {NAME} has weights or masks that belong to the positions of {expected} images; got {found} "
                "(height x width); build it for that size"
            )
        x1 = self.initial(images)
        x2 = self.att1(self.down1(x1))
        x3 = self.att2(self.down2(x2))
        y = self.bottom(self.att3(self.down3(x3)))
        y = self.att4(self.dropout(self.up1(y, x3)))
        y = self.att5(self.dropout(self.up2(y, x2)))
        y = self.att6(self.up3(y, x1))
        features: Tensor = self.norm(y)
        return features

    def levels(self) -> dict[str, nn.Module]:
        return {f"att{number}": getattr(self, f"att{number}") for number in range(1, 7)}


class ReleasedHeads(nn.Module):
    """Class logits and, as only the released Cityscapes instance network has them, embeddings >= 0."""

    def __init__(self, classes: int, *, embeds: bool, norm_logits: bool, relu_logits: bool) -> None:
        super().__init__()
        self.semantic = nn.Sequential(
            nn.Conv2d(WIDTH, classes, 1),
            nn.BatchNorm2d(classes) if norm_logits else nn.Identity(),
            nn.ReLU() if relu_logits else nn.Identity(),
        )
        self.embedding = None
        if embeds:
            self.embedding = nn.Sequential(nn.Conv2d(WIDTH, EMBEDDING, 1), nn.BatchNorm2d(EMBEDDING), nn.ReLU())

    def forward(self, features: Tensor) -> Outputs:
        """features: (B, 64, H, W) -> logits (B, K, H, W), embedding (B, E, H, W)."""
        outputs = {"logits": self.semantic(features)}
        if self.embedding is not None:
            outputs["embedding"] = self.embedding(features)
        return outputs


def maskattn_unet_released(
    categories: Categories,
    size: tuple[int, int],
    task: Task,
    *,
    mask: str,
    heads: int,
    feed_forward: bool,
    missing_permutation: bool,
    fixed_layernorm: bool,
    norm_logits: bool,
    relu_logits: bool,
    unused_branches: bool,
    normalize: bool,
    **shared: Any,
) -> PixelModel:
    if fixed_layernorm and size != SIZE:
        raise ValueError(
            f"{NAME} takes 128x128 images, for which its layer norm has a weight a pixel; got {size[0]}x{size[1]} "
            "(height x width); choose 128x128, or fixed_layernorm=false"
        )
    attention = AttentionSwitches(mask, heads, feed_forward, missing_permutation)
    trunk = ReleasedUNet(size, attention, fixed_layernorm=fixed_layernorm, unused_branches=unused_branches)
    model = PixelModel(trunk, categories, size, NAME, task, **shared)
    model.heads = ReleasedHeads(
        len(categories), embeds=task != "semantic", norm_logits=norm_logits, relu_logits=relu_logits
    )
    if not normalize:
        model.normalize = nn.Identity()
    return model

"""Parameters and multiply-adds of U-Nets with mask attention modules, in closed form. No torch.

Counted as fvcore counts (one multiply-add once, batch 1, norms and interpolation as its handles have them), with the
two products of each attention kept apart, since not every counter sees them. Level l has maps of 1 / 2^l of the image's
height and width. `tests/measure/test_analytic.py` holds each form against networks that fvcore counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

IMAGE = 3  # channels of the input
BATCH, LAYER, BILINEAR, NEAREST = 2, 5, 4, 1  # fvcore's operations an element: norms in evaluation, interpolation

Norm = Literal["none", "batch", "group"]  # none: the convolution has a bias instead
Upsampling = Literal["transposed", "bilinear", "bilinear-conv"]
Merge = Literal["concatenated", "summed"]
Mask = Literal["none", "predicted", "static", "free", "free-per-head"]
Size = tuple[int, int]


@dataclass(frozen=True)
class Cost:
    """Parameters, multiply-adds but those of attention's products, and those products: q k^T and the sum over v."""

    parameters: int = 0
    flops: int = 0
    products: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.parameters + other.parameters, self.flops + other.flops, self.products + other.products)

    @property
    def total(self) -> int:
        return self.flops + self.products


def pixels(size: Size, level: int) -> int:
    return (size[0] >> level) * (size[1] >> level)


def conv(inputs: int, outputs: int, kernel: int, positions: int, bias: bool) -> Cost:
    """`positions`: of the output."""
    weights = kernel**2 * inputs * outputs
    return Cost(weights + bias * outputs, weights * positions)


def linear(inputs: int, outputs: int, positions: int) -> Cost:
    return conv(inputs, outputs, 1, positions, bias=True)


def transposed(inputs: int, outputs: int, positions: int) -> Cost:
    """2x2 with stride 2; `positions`: of the output."""
    return Cost(4 * inputs * outputs + outputs, inputs * outputs * positions)


def norm(kind: Norm, channels: int, positions: int) -> Cost:
    if kind == "none":
        return Cost()
    return Cost(2 * channels, (BATCH if kind == "batch" else LAYER) * channels * positions)


def conv_norm(inputs: int, outputs: int, kernel: int, positions: int, kind: Norm) -> Cost:
    return conv(inputs, outputs, kernel, positions, bias=kind == "none") + norm(kind, outputs, positions)


@cache
def block(inputs: int, outputs: int, convolutions: int, kernel: int, positions: int, kind: Norm) -> Cost:
    """That many convolutions, the first of which changes the width."""
    cost = conv_norm(inputs, outputs, kernel, positions, kind)
    for _ in range(convolutions - 1):
        cost += conv_norm(outputs, outputs, kernel, positions, kind)
    return cost


@cache
def residual_block(inputs: int, middle: int, outputs: int, kernel: int, positions: int, kind: Norm) -> Cost:
    """The released code's stage: a residual pair of convolutions, one that changes the width, one more norm."""
    pair = block(inputs, inputs, 2, kernel, positions, kind)
    change = conv_norm(inputs, middle, kernel, positions, kind) + conv_norm(middle, outputs, kernel, positions, kind)
    return pair + change + norm(kind, outputs, positions)


@dataclass(frozen=True)
class Trunk:
    """A U-Net from the image to the last map of its decoder. `encoder` and `decoder`: (level, channels) of each stage,
    in the order of the data; two stages of one level have no halving between them. Without a stem, an encoder that
    begins below level 0 starts with a strided 3x3 convolution. `convolutions`: of a block; 0 is the released code's
    residual stage, with blocks of two in stem and bottleneck.
    """

    encoder: tuple[tuple[int, int], ...]
    bottleneck: tuple[int, ...]  # channels of its blocks
    bottleneck_level: int
    decoder: tuple[tuple[int, int], ...]
    stem: int = 0  # channels of a block at level 0 that is no stage; 0: none
    convolutions: int = 2
    kernel: int = 3
    upsampling: Upsampling = "transposed"
    merge: Merge = "concatenated"
    norm: Norm = "group"

    @property
    def out_channels(self) -> int:
        return self.decoder[-1][1]

    @property
    def maps(self) -> dict[int, int]:
        """Channels of the map that each level of the encoder hands over."""
        return {**({0: self.stem} if self.stem else {}), **dict(self.encoder)}

    def cost(self, size: Size) -> Cost:
        cost, channels = self._encoder(size)
        for outputs in self.bottleneck:
            cost += self._plain(channels, outputs, pixels(size, self.bottleneck_level))
            channels = outputs
        for level, outputs in self.decoder:
            cost += self._up(channels, outputs, self.maps.get(level, 0), pixels(size, level))
            channels = outputs
        return cost

    def _plain(self, inputs: int, outputs: int, positions: int) -> Cost:
        return block(inputs, outputs, self.convolutions or 2, self.kernel, positions, self.norm)

    def _encoder(self, size: Size) -> tuple[Cost, int]:
        cost, channels = Cost(), IMAGE
        if self.stem:
            cost, channels = self._plain(IMAGE, self.stem, pixels(size, 0)), self.stem
        elif self.encoder[0][0]:
            level, channels = self.encoder[0]
            cost = conv_norm(IMAGE, channels, 3, pixels(size, level), self.norm)
        for level, outputs in self.encoder:
            if self.convolutions or channels == IMAGE:
                cost += self._plain(channels, outputs, pixels(size, level))
            else:
                cost += residual_block(channels, outputs, outputs, self.kernel, pixels(size, level), self.norm)
            channels = outputs
        return cost, channels

    def _up(self, inputs: int, outputs: int, skip: int, positions: int) -> Cost:
        """Enlarges to `positions`, merges the skip's channels (0: there is none), then the stage's block."""
        summed = self.merge == "summed" and skip
        cost = Cost(flops=0 if self.upsampling == "transposed" else BILINEAR * inputs * positions)
        if self.upsampling == "transposed":
            larger = skip if summed else inputs // 2
            cost += transposed(inputs, larger, positions)
        elif self.upsampling == "bilinear-conv":
            larger = skip if summed else outputs
            cost += conv_norm(inputs, larger, 3, positions, self.norm)
        else:
            larger = skip if summed else inputs
            cost += conv(inputs, skip, 1, positions, bias=True) if summed else Cost()
        merged = larger if summed else larger + skip
        if self.convolutions:
            return cost + self._plain(merged, outputs, positions)
        return cost + residual_block(merged, merged // 2, outputs, self.kernel, positions, self.norm)


@dataclass(frozen=True)
class Attention:
    """A mask attention module (Eqs. 1 and 2). The number of heads moves a count only where `wide_heads` gives each head
    all channels instead of its share, or where the mask has a matrix a head.
    """

    heads: int = 4
    wide_heads: bool = False
    projection: bool = True
    feed_forward: int = 4  # inner width over the channels; 0: none
    norms: int = 2
    mask: Mask = "predicted"


@cache
def attention(module: Attention, channels: int, positions: int) -> Cost:
    inner = channels * (module.heads if module.wide_heads else 1)
    cost = Cost(mask_parameters(module, channels, positions), channels * positions * (module.mask == "predicted"))
    for _ in range(3):
        cost += linear(channels, inner, positions)
    if module.projection:
        cost += linear(inner, channels, positions)
    if module.feed_forward:
        hidden = module.feed_forward * channels
        cost += linear(channels, hidden, positions) + linear(hidden, channels, positions)
    for _ in range(module.norms):
        cost += norm("group", channels, positions)
    return cost + Cost(products=2 * positions**2 * inner)


def mask_parameters(module: Attention, channels: int, positions: int) -> int:
    """Of M in Eq. 1: a linear layer from the features, one number a key, or one a pair of query and key."""
    return {
        "none": 0,
        "predicted": channels + 1,
        "static": positions,
        "free": positions**2,
        "free-per-head": module.heads * positions**2,
    }[module.mask]


@dataclass(frozen=True)
class Head:
    """1x1 convolution to the classes, a pixel embedding, and on the last map, where `fixed_norm`, a layer norm with a
    weight a pixel as the released code has. `hidden`: width of a layer before the embedding that also sees the two
    coordinates; 0: none.
    """

    classes: int = 133
    embedding: int = 0
    hidden: int = 0
    fixed_norm: bool = False
    norm: Norm = "none"  # on the class logits

    def cost(self, channels: int, size: Size) -> Cost:
        positions = pixels(size, 0)
        cost = linear(channels, self.classes, positions) + norm(self.norm, self.classes, positions)
        if self.fixed_norm:
            cost += Cost(2 * channels * positions, LAYER * channels * positions)
        if self.embedding and self.hidden:
            cost += linear(channels + 2, self.hidden, positions) + linear(self.hidden, self.embedding, positions)
        elif self.embedding:
            cost += linear(channels, self.embedding, positions)
        return cost


RESNETS = {  # blocks of the four stages, whether they are bottlenecks (He et al. 2016, table 1)
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}
EXPANSION = 4  # of a bottleneck block


@dataclass(frozen=True)
class ResNetUNet:
    """A ResNet as encoder, then five doublings; the layout of segmentation_models_pytorch."""

    depth: int = 50
    decoder: tuple[int, ...] = (256, 128, 64, 32, 16)
    convolutions: int = 2
    upsampling: Literal["nearest", "transposed"] = "nearest"
    norm: Norm = "group"

    @property
    def out_channels(self) -> int:
        return self.decoder[-1]

    def cost(self, size: Size) -> Cost:
        cost = conv_norm(IMAGE, 64, 7, pixels(size, 1), self.norm)
        maps, channels = [0, 64], 64
        blocks, deep = RESNETS[self.depth]
        for stage, count in enumerate(blocks):
            for number in range(count):
                stride = 2 if stage and not number else 1
                added, channels = self._residual(channels, 64 * 2**stage, stage + 2, stride, deep, size)
                cost += added
            maps.append(channels)
        for level, outputs in zip(range(4, -1, -1), self.decoder, strict=True):
            larger = channels if self.upsampling == "nearest" else channels // 2
            if self.upsampling == "nearest":
                cost += Cost(flops=NEAREST * channels * pixels(size, level))
            else:
                cost += transposed(channels, larger, pixels(size, level))
            cost += block(larger + maps[level], outputs, self.convolutions, 3, pixels(size, level), self.norm)
            channels = outputs
        return cost

    def _residual(self, inputs: int, width: int, level: int, stride: int, deep: bool, size: Size) -> tuple[Cost, int]:
        """One residual block that ends at `level`; a bottleneck halves in its 3x3 convolution."""
        here, before = pixels(size, level), pixels(size, level - (stride == 2))
        outputs = EXPANSION * width if deep else width
        if deep:
            cost = conv_norm(inputs, width, 1, before, self.norm) + conv_norm(width, width, 3, here, self.norm)
            cost += conv_norm(width, outputs, 1, here, self.norm)
        else:
            cost = block(inputs, outputs, 2, 3, here, self.norm)
        if stride == 2 or inputs != outputs:
            cost += conv_norm(inputs, outputs, 1, here, self.norm)
        return cost, outputs

"""Networks of the readings, built from torch's modules and run: what the closed forms are held against."""

from __future__ import annotations

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.measure.analytic import Attention, Head, ResNetUNet, Trunk
from bench.measure.readings import Place
from models.backbones import prepare_backbone


def normed(channels: int, kind: str) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(1, channels) if kind == "group" else nn.Identity()


def conv(inputs: int, outputs: int, kernel: int, kind: str, stride: int = 1) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=kind == "none")
    return nn.Sequential(layer, normed(outputs, kind), nn.ReLU())


class Plain(nn.Sequential):
    def __init__(self, inputs: int, outputs: int, trunk: Trunk) -> None:
        layers = [conv(inputs, outputs, trunk.kernel, trunk.norm)]
        while len(layers) < (trunk.convolutions or 2):
            layers.append(conv(outputs, outputs, trunk.kernel, trunk.norm))
        super().__init__(*layers)


class Residual(nn.Module):
    """The released code's stage."""

    def __init__(self, inputs: int, middle: int, outputs: int, trunk: Trunk) -> None:
        super().__init__()
        self.pair = nn.Sequential(*(conv(inputs, inputs, trunk.kernel, trunk.norm) for _ in range(2)))
        self.first = conv(inputs, middle, trunk.kernel, trunk.norm)
        self.second = conv(middle, outputs, trunk.kernel, trunk.norm)
        self.last = normed(outputs, trunk.norm)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.last(self.second(self.first(F.gelu(x + self.pair(x)))))
        return result


class Up(nn.Module):
    def __init__(self, inputs: int, skip: int, outputs: int, trunk: Trunk) -> None:
        super().__init__()
        self.summed = trunk.merge == "summed" and skip > 0
        wanted = skip if self.summed else None
        if trunk.upsampling == "transposed":
            larger = wanted or inputs // 2
            self.enlarge: nn.Module = nn.ConvTranspose2d(inputs, larger, 2, 2)
        else:
            steps: list[nn.Module] = [nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)]
            larger = inputs
            if trunk.upsampling == "bilinear-conv":
                larger = wanted or outputs
                steps.append(conv(inputs, larger, 3, trunk.norm))
            elif wanted:
                larger = wanted
                steps.append(nn.Conv2d(inputs, larger, 1))
            self.enlarge = nn.Sequential(*steps)
        merged = larger if self.summed else larger + skip
        plain = trunk.convolutions > 0
        self.merge = Plain(merged, outputs, trunk) if plain else Residual(merged, merged // 2, outputs, trunk)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        x = self.enlarge(x)
        if skip is not None:
            x = x + skip if self.summed else torch.cat([skip, x], 1)
        merged: Tensor = self.merge(x)
        return merged


class Module(nn.Module):
    """Eqs. 1 and 2 with each switch of the closed form."""

    def __init__(self, channels: int, positions: int, kind: Attention) -> None:
        super().__init__()
        self.kind = kind
        inner = channels * kind.heads if kind.wide_heads else channels
        self.qkv = nn.ModuleList(nn.Linear(channels, inner) for _ in range(3))
        self.merge = nn.Linear(inner, channels) if kind.projection else nn.Identity()
        hidden = kind.feed_forward * channels
        parts = (nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, channels)) if hidden else ()
        self.feed_forward = nn.Sequential(*parts)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(kind.norms))
        self.saliency = nn.Linear(channels, 1) if kind.mask == "predicted" else None
        shapes = {"static": (1, positions), "free": (positions, positions)}
        shapes["free-per-head"] = (kind.heads, positions, positions)
        self.mask = nn.Parameter(torch.zeros(shapes[kind.mask])) if kind.mask in shapes else None

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        q, k, v = (layer(tokens).unflatten(-1, (self.kind.heads, -1)).transpose(1, 2) for layer in self.qkv)
        bias = self.mask if self.saliency is None else self.saliency(tokens).transpose(1, 2)[:, None]
        y = tokens + self.merge(F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).flatten(2))
        if self.kind.feed_forward:
            y = y + self.feed_forward(y)
        for norm in self.norms:
            y = norm(y)
        return y.transpose(1, 2).reshape(x.shape)


class Network(nn.Module):
    """A trunk with its modules and head. (1, 3, H, W) -> every output, as a tuple."""

    def __init__(
        self, trunk: Trunk, modules: tuple[Place, ...], kind: Attention, head: Head, size: tuple[int, int]
    ) -> None:
        super().__init__()
        self.trunk, self.head = trunk, head
        before, self.stem = 3, None
        if trunk.stem:
            self.stem, before = Plain(3, trunk.stem, trunk), trunk.stem
        elif trunk.encoder[0][0]:
            before = trunk.encoder[0][1]
            self.stem = conv(3, before, 3, trunk.norm, stride=2)
        self.down = nn.ModuleList()
        for _, outputs in trunk.encoder:
            plain = trunk.convolutions or before == 3
            self.down.append(Plain(before, outputs, trunk) if plain else Residual(before, outputs, outputs, trunk))
            before = outputs
        self.bottleneck = nn.Sequential()
        for outputs in trunk.bottleneck:
            self.bottleneck.append(Plain(before, outputs, trunk))
            before = outputs
        self.up = nn.ModuleList()
        for level, outputs in trunk.decoder:
            self.up.append(Up(before, trunk.maps.get(level, 0), outputs, trunk))
            before = outputs
        self.attention = nn.ModuleDict()
        for half, level, channels in modules:
            positions = (size[0] >> level) * (size[1] >> level)
            self.attention[f"{half}{level}"] = Module(channels, positions, kind)
        self.last = nn.LayerNorm((before, *size)) if head.fixed_norm else nn.Identity()
        self.classes = nn.Sequential(nn.Conv2d(before, head.classes, 1), normed(head.classes, head.norm))
        self.embedding: nn.Module | None = None
        if head.embedding and head.hidden:
            layers = nn.Conv2d(before + 2, head.hidden, 1), nn.ReLU(), nn.Conv2d(head.hidden, head.embedding, 1)
            self.embedding = nn.Sequential(*layers)
        elif head.embedding:
            self.embedding = nn.Conv2d(before, head.embedding, 1)

    def attend(self, half: str, level: int, x: Tensor) -> Tensor:
        key = f"{half}{level}"
        return self.attention[key](x) if key in self.attention else x

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        maps, here, stages = {}, 0, self.trunk.encoder
        if self.stem is not None:
            x = self.stem(x)
            here = 0 if self.trunk.stem else 1
            maps[here] = x
        for number, ((level, _), block) in enumerate(zip(stages, self.down, strict=True)):
            x = block(F.max_pool2d(x, 2) if level > here else x)
            here = level
            if number + 1 == len(stages) or stages[number + 1][0] > level:
                x = self.attend("encoder", level, x)
            maps[level] = x
        here = self.trunk.bottleneck_level
        x = self.bottleneck(F.max_pool2d(x, 2) if here > stages[-1][0] else x)
        x = self.attend("bottleneck", here, x)
        before = f"decoder{here}" in self.attention
        for (level, _), up in zip(self.trunk.decoder, self.up, strict=True):
            x = up(self.attend("decoder", level + 1, x) if before else x, maps.get(level))
            x = x if before else self.attend("decoder", level, x)
        x = self.last(x)
        outputs = [self.classes(x)]
        if self.embedding is not None:
            wider = torch.cat([x, torch.ones_like(x[:, :2])], 1) if self.head.hidden else x
            outputs.append(self.embedding(wider))
        return tuple(outputs)


class Outputs(nn.Module):
    """A registered network with its named outputs as a tuple, which tracing wants."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.network(x).values())


class ResNetNetwork(nn.Module):
    """A timm ResNet, then blocks that see the encoder's map of their level. (1, 3, H, W) -> (1, C, H, W)."""

    def __init__(self, plan: ResNetUNet) -> None:
        super().__init__()
        name = f"resnet{plan.depth}"
        self.encoder = timm.create_model(name, features_only=True, pretrained=False)
        if plan.norm == "group":
            prepare_backbone(self.encoder, name, "none")
        *skips, before = self.encoder.feature_info.channels()
        self.up, self.blocks = nn.ModuleList(), nn.ModuleList()
        for skip, outputs in zip([*reversed(skips), 0], plan.decoder, strict=True):
            nearest = plan.upsampling == "nearest"
            self.up.append(nn.Upsample(scale_factor=2) if nearest else nn.ConvTranspose2d(before, before // 2, 2, 2))
            before = skip + (before if nearest else before // 2)
            layers = []
            for _ in range(plan.convolutions):
                layers.append(conv(before, outputs, 3, plan.norm))
                before = outputs
            self.blocks.append(nn.Sequential(*layers))

    def forward(self, x: Tensor) -> Tensor:
        *skips, y = self.encoder(x)
        for up, block, skip in zip(self.up, self.blocks, [*reversed(skips), None], strict=True):
            y = up(y)
            y = block(y if skip is None else torch.cat([y, skip], 1))
        return y

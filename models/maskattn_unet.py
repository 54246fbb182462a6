"""MaskAttn-UNet (paper Secs. 3.1, 3.2, 4.1): a U-Net with mask attention modules along its way.

The text says four stages down and up with a module at each, Figure 1 draws nine modules, and Appendix B.3 names six,
att1 to att6, from the 'early encoder' to the 'top decoder' (AUDIT A19). Each reading is a layout; the default is the
one that B.3 and Table 9 fit. A network without modules is B.2's U-Net; one whose modules have no mask is the
controlled twin of Table 7's Self-Attention UNet (AUDIT A38).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch.nn.functional as F
from torch import Tensor, nn

from models.attention import MaskAttention
from models.blocks import DoubleConv, Up
from models.categories import Categories, Task
from models.masks import TIED_TO_SIZE
from models.pixel_model import PixelModel

T = TypeVar("T")
ENCODER = (1, 2, 4, 4)  # channels of each level over the width: 64, 128, 256, 256 (Sec. 4.1)


@dataclass(frozen=True)
class Layout:
    """Level l has maps of 1 / 2^l of the image's height and width."""

    decoder: tuple[int, ...]  # channels over the width, from the deepest level up to level 0
    encoder_modules: tuple[int, ...]  # levels with a module on the way down
    bottleneck_level: int
    bottleneck_module: bool

    def places(self) -> list[tuple[str, int, int]]:
        """Half of the network, channels over the width and level of each module, in the order of the data. The
        bottleneck's counts as the last of the encoder."""
        down = [("encoder", ENCODER[level], level) for level in self.encoder_modules]
        bottom = [("encoder", ENCODER[-1], self.bottleneck_level)] if self.bottleneck_module else []
        up = [("decoder", factor, level) for level, factor in zip(self.decoder_levels(), self.decoder, strict=True)]
        return down + bottom + up

    def decoder_levels(self) -> range:
        return range(len(self.decoder) - 1, -1, -1)


LAYOUTS = {
    # B.3: no module at full resolution on the way down; the bottleneck works on the map of the last stage.
    "three-stage": Layout((2, 1, 1), (1, 2, 3), 3, False),
    # Sec. 4.1: each level ends in a halving, the bottleneck lies below; two modules at full resolution.
    "four-stage": Layout((4, 4, 2, 1), (0, 1, 2, 3), 4, False),
    # Figure 1 (c): the same with a module at the fifth level too.
    "nine-module": Layout((4, 4, 2, 1), (0, 1, 2, 3), 4, True),
}
PLACEMENTS: dict[str, tuple[str, ...]] = {
    "both": ("encoder", "decoder"),
    "encoder": ("encoder",),
    "decoder": ("decoder",),
    "none": (),
}


class MaskAttnUNet(nn.Module):
    """(B, 3, H, W) -> (B, width, H, W), for any H and W divisible by `stride`.

    The modules are att1, att2, ... in the order of the data, whatever the placement: where one is left out, an identity
    has its name. `size` is the (H, W) that a mask with a value a position is made for; such a network takes no other.
    Raises ValueError for an unknown layout, placement or mask, and for images of another size than it takes.
    """

    def __init__(
        self,
        size: tuple[int, int],
        width: int = 64,
        heads: int = 4,
        layout: str = "three-stage",
        placement: str = "both",
        mask: str = "learned-binary",
    ) -> None:
        super().__init__()
        plan, halves = _chosen("layout", layout, LAYOUTS), _chosen("placement", placement, PLACEMENTS)
        self.plan, self.stride, self.out_channels = plan, 2 ** len(plan.decoder), width
        self.sizes = (size,) if mask in TIED_TO_SIZE and halves else ()
        down = [factor * width for factor in ENCODER]
        up = [factor * width for factor in plan.decoder]
        self.down = nn.ModuleList(DoubleConv(i, o) for i, o in zip([3, *down[:-1]], down, strict=True))
        self.bottleneck = nn.Sequential(DoubleConv(down[-1], 2 * down[-1]), DoubleConv(2 * down[-1], down[-1]))
        skips = [down[level] for level in plan.decoder_levels()]
        self.up = nn.ModuleList(Up(i, s, o) for i, s, o in zip([down[-1], *up[:-1]], skips, up, strict=True))
        self.module_names: list[str] = []
        for number, (half, factor, level) in enumerate(plan.places(), start=1):
            positions = (size[0] >> level) * (size[1] >> level)
            present = half in halves
            module = MaskAttention(factor * width, heads, mask, positions) if present else nn.Identity()
            self.module_names.append(f"att{number}")
            self.add_module(self.module_names[-1], module)

    def forward(self, x: Tensor) -> Tensor:
        size = (x.shape[-2], x.shape[-1])
        if self.sizes and size not in self.sizes:
            (height, width), (found_height, found_width) = self.sizes[0], size
            raise ValueError(
                f"this mask belongs to the positions of {height}x{width} images; got {found_height}x{found_width} "
                "(height x width); build the network for that size, or choose a mask that is not tied to one"
            )
        attend = iter([getattr(self, name) for name in self.module_names])
        maps: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            if level in self.plan.encoder_modules:
                x = next(attend)(x)
            maps.append(x)
        x = self.bottleneck(F.max_pool2d(x, 2) if self.plan.bottleneck_level == len(ENCODER) else x)
        if self.plan.bottleneck_module:
            x = next(attend)(x)
        for level, up in zip(self.plan.decoder_levels(), self.up, strict=True):
            x = next(attend)(up(x, maps[level]))
        return x

    def levels(self) -> dict[str, nn.Module]:
        """att1, att2, ...: also where a placement left a module out, so that networks are compared at equal places."""
        return {name: getattr(self, name) for name in self.module_names}


def _chosen(kind: str, name: str, known: Mapping[str, T]) -> T:
    if name not in known:
        raise ValueError(f"unknown {kind} '{name}'; known: {', '.join(known)}")
    return known[name]


def maskattn_unet(
    categories: Categories,
    size: tuple[int, int],
    task: Task,
    *,
    width: int,
    heads: int,
    layout: str,
    placement: str,
    mask: str,
    **shared: Any,
) -> PixelModel:
    trunk = MaskAttnUNet(size, width, heads, layout, placement, mask)
    name = "self-attention-unet" if mask == "none" else "maskattn-unet"
    return PixelModel(trunk, categories, size, name, task, **shared)

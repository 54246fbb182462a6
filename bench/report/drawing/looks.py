"""How each network is drawn: one colour and one marker, the same in every figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Okabe and Ito (2008), told apart with any colour vision; a marker and a dash each, for print without colour.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", ":", "-.", (0, (4, 1, 1, 1, 1, 1)), (0, (1, 3)))
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = COLORS
BLACK, GREY = "#000000", "#999999"  # the first is Okabe and Ito's, too; the second is of floors


@dataclass(frozen=True)
class Look:
    color: str
    marker: str
    dash: Any  # matplotlib's line style


# Networks of one table have colours of their own; of those that never share one, the marker tells them apart.
LOOKS: Mapping[str, Look] = {
    "maskattn-unet": Look(VERMILLION, "o", DASHES[0]),
    "maskattn-unet-encoder": Look(SKY, "<", DASHES[4]),
    "maskattn-unet-decoder": Look(GREEN, ">", DASHES[2]),
    "maskattn-unet-none": Look(BLUE, "p", DASHES[3]),
    "maskattn-unet-small": Look(VERMILLION, "8", DASHES[1]),
    "maskattn-unet-released": Look(VERMILLION, "X", DASHES[2]),
    "self-attention-unet": Look(ORANGE, "h", DASHES[4]),
    "self-attention-unet-small": Look(ORANGE, "H", DASHES[5]),
    "u-transformer": Look(PURPLE, "*", DASHES[5]),
    "unet": Look(BLACK, "s", DASHES[1]),
    "unet-small": Look(BLACK, "P", DASHES[2]),
    "unet-resnet50": Look(BLACK, "d", DASHES[3]),
    "detr-r50": Look(SKY, "^", DASHES[2]),
    "detr-r101": Look(BLUE, "v", DASHES[3]),
    "detr-small": Look(SKY, "1", DASHES[5]),
    "mask2former-r50": Look(GREEN, "D", DASHES[4]),
    "mask2former-r101": Look(PURPLE, "P", DASHES[5]),
    "mask2former-small": Look(GREEN, "2", DASHES[5]),
    "majority": Look(GREY, "_", DASHES[2]),
    "position-prior": Look(GREY, "|", DASHES[1]),
    "oracle-nearest": Look(BLUE, "s", DASHES[0]),
    "oracle-bilinear": Look(ORANGE, "^", DASHES[1]),
    "oracle-stride4": Look(GREEN, "v", DASHES[2]),
}

CONTROLS: Mapping[str, Look] = {  # of the long-range statistics: no networks of a table
    "untrained": Look(BLUE, "^", DASHES[2]),
    "white noise": Look(GREY, "D", DASHES[3]),
    "blurred noise": Look(GREEN, "v", DASHES[4]),
}

STRANGER = Look(GREY, "x", DASHES[0])  # of a record whose network is registered no more


def look_of(model: str) -> Look:
    """Of a network, of one that is counted as part of it (`detr-r50-detector`), or of a control."""
    return CONTROLS.get(model) or LOOKS.get(model.removesuffix("-detector"), STRANGER)

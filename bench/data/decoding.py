"""A picture's pixels, at half size where that is allowed and quicker. Imports no torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HALVED_FROM = 384  # pixels of the shorter side: its half is still 1.5 times the largest size made from it, 128


def rgb(picture: Image.Image, halve: bool = False) -> NDArray[np.uint8]:
    """(h, w, 3) uint8; where `halve`, a JPEG of HALVED_FROM pixels and more as (ceil(h / 2), ceil(w / 2), 3).

    libjpeg then transforms 4 x 4 of the 8 x 8 frequencies of each block, which is a mean of 2 x 2 pixels but for
    rounding.
    """
    if halve and picture.format == "JPEG" and min(picture.size) >= HALVED_FROM:
        picture.draft(None, (picture.width // 2, picture.height // 2))
    return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))

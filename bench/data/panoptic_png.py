"""COCO's panoptic PNG: a 24-bit RGB picture whose pixel is a segment id, R + 256 G + 65536 B (panopticapi's rgb2id)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from bench.errors import UserError


def read_ids(path: Path) -> NDArray[np.int32]:
    """(H, W) int32 segment ids. Raises UserError where the file is absent or no picture."""
    try:
        with Image.open(path) as picture:
            rgb = np.asarray(picture.convert("RGB"), dtype=np.int32)
    except FileNotFoundError:
        raise UserError(f"no panoptic PNG at {path}; expected one for every annotation of the json") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path} is not a readable PNG ({error}); fetch or write it again") from None
    return rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]


def write_ids(path: Path, ids: NDArray[Any]) -> None:
    """Writes (H, W) ids below 2**24; red is the lowest byte."""
    values = np.asarray(ids, dtype=np.int64)
    if values.min(initial=0) < 0 or values.max(initial=0) >= 1 << 24:
        raise ValueError("segment ids must lie in 0 .. 2**24 - 1")
    rgb = np.stack([values & 255, (values >> 8) & 255, values >> 16], axis=-1).astype(np.uint8)
    Image.fromarray(rgb).save(path)

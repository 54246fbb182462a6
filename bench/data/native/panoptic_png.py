"""COCO's panoptic PNG: a 24-bit RGB picture whose pixel is a segment id, R + 256 G + 65536 B (panopticapi's rgb2id)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile

from bench.data.decoding import rgb
from bench.data.native.pictures import opened


def read_ids(path: Path, image: str | None = None) -> NDArray[np.int32]:
    """(H, W) int32 segment ids. Raises FaultError, a UserError, where there is no such picture."""
    return ids_of(read_pixels(path, image))


def ids_of(pixels: NDArray[np.uint8]) -> NDArray[np.int32]:
    """(..., 3) colours -> (...) segment ids."""
    red, green, blue = (pixels[..., colour].astype(np.int32) for colour in range(3))
    return red + (green << 8) + (blue << 16)


def read_pixels(path: Path, image: str | None = None) -> NDArray[np.uint8]:
    """(H, W, 3) uint8, whose colours are the segment ids. As `read_ids`."""
    with opened(path, image, "panoptic PNG") as picture:
        if picture.format == "PNG" and picture.mode == "RGB":
            return _decoded(picture)
        return rgb(picture)


def _decoded(picture: ImageFile) -> NDArray[np.uint8]:
    """A PNG of 24 bits a pixel, in less than half of Pillow's time. Raises ValueError for a damaged one."""
    from kornia_rs.io import decode_image_png_u8  # not above: whoever only writes has no need of it

    assert picture.fp is not None  # of a picture that is not decoded yet
    picture.fp.seek(0)
    try:
        pixels: NDArray[np.uint8] = decode_image_png_u8(picture.fp.read(), (picture.height, picture.width), "rgb")
    except Exception as error:  # it knows no narrower kind
        raise ValueError(error) from None
    return pixels


def write_ids(path: Path, ids: NDArray[Any]) -> None:
    """Writes (H, W) ids below 2**24; red is the lowest byte."""
    values = np.asarray(ids, dtype=np.int64)
    if values.min(initial=0) < 0 or values.max(initial=0) >= 1 << 24:
        raise ValueError("segment ids must lie in 0 .. 2**24 - 1")
    rgb = np.stack([values & 255, (values >> 8) & 255, values >> 16], axis=-1).astype(np.uint8)
    Image.fromarray(rgb).save(path)

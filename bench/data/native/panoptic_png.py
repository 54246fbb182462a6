"""COCO's panoptic PNG: a 24-bit RGB picture whose pixel is a segment id, R + 256 G + 65536 B (panopticapi's rgb2id)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.data.native.pictures import opened

ID_BITS = 0xFFFFFF


def read_ids(path: Path, image: str | None = None) -> NDArray[np.int32]:
    """(H, W) int32 segment ids. Raises FaultError, a UserError, where there is no such picture."""
    return read_pixels(path, image) & ID_BITS


def read_pixels(path: Path, image: str | None = None) -> NDArray[np.int32]:
    """(H, W) int32, read only, whose ID_BITS are the segment ids: Pillow's own four bytes a pixel. As `read_ids`."""
    import pyarrow as pa  # not above: whoever only writes has no need of it, as panopticapi's own environment

    with opened(path, image, "panoptic PNG") as picture:
        picture.load()
        rgb = picture if picture.mode == "RGB" else picture.convert("RGB")
        try:
            content = pa.array(rgb).values.buffers()[1]
        except ValueError:  # more than 16 MB, which Pillow holds in pieces
            content = rgb.tobytes("raw", "RGBX")
        return np.frombuffer(content, dtype="<i4").reshape(rgb.height, rgb.width)


def write_ids(path: Path, ids: NDArray[Any]) -> None:
    """Writes (H, W) ids below 2**24; red is the lowest byte."""
    values = np.asarray(ids, dtype=np.int64)
    if values.min(initial=0) < 0 or values.max(initial=0) >= 1 << 24:
        raise ValueError("segment ids must lie in 0 .. 2**24 - 1")
    rgb = np.stack([values & 255, (values >> 8) & 255, values >> 16], axis=-1).astype(np.uint8)
    Image.fromarray(rgb).save(path)

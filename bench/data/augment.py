"""What training does to an image and its truth (paper Sec. 4.2): scale, crop or pad, flip. Imports no torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.resize import resize_image, resize_labels
from bench.spec import Augmentation

PAD = 128  # grey around a shrunk image; its labels are void

Uniforms = tuple[float, float, float, float]


def augment(
    image: NDArray[np.uint8],
    segments: NDArray[Any],
    by: Augmentation,
    uniforms: Uniforms,
    out: tuple[NDArray[np.uint8], NDArray[Any]],
) -> None:
    """Scales, crops or pads back to the size at a random place, flips; all decided by four numbers in [0, 1).

    image: (H, W, 3), segments: (H, W); `out`: arrays of the same shapes, overwritten. What is outside is void.
    """
    height, width = segments.shape
    scale = by.scale[0] + (by.scale[1] - by.scale[0]) * uniforms[0]
    scaled = max(1, round(height * scale)), max(1, round(width * scale))
    rows, columns = _overlap(scaled[0], height, uniforms[1]), _overlap(scaled[1], width, uniforms[2])
    new_image, new_segments = out
    if uniforms[3] < by.flip:  # what is written to a mirrored view lies mirrored
        new_image, new_segments = new_image[:, ::-1], new_segments[:, ::-1]
    if min(scaled[0] - height, scaled[1] - width) < 0:
        new_image[:], new_segments[:] = PAD, 0
    new_image[rows[1], columns[1]] = resize_image(image, scaled)[rows[0], columns[0]]
    new_segments[rows[1], columns[1]] = resize_labels(segments, scaled)[rows[0], columns[0]]


def _overlap(scaled: int, length: int, place: float) -> tuple[slice, slice]:
    """Which part of the scaled axis goes where on the target's: cropped where longer, padded where shorter."""
    slack = abs(scaled - length)
    start = min(slack, int(place * (slack + 1)))
    inner, whole = slice(start, start + min(scaled, length)), slice(0, min(scaled, length))
    return (inner, whole) if scaled >= length else (whole, inner)

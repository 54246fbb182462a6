"""The pictures that a run keeps: image | truth | prediction. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.data.resize import resize_labels
from models.categories import Categories, PredictedSegment, Segment

SAMPLES = 4  # pictures a run keeps
LONGEST = 320  # pixels of a panel's longer side: a record goes into git
VOID_COLOR = (0, 0, 0)


def draw_sample(
    path: Path,
    categories: Categories,
    image: NDArray[np.uint8],
    truth: tuple[NDArray[Any], Mapping[int, Segment]],
    prediction: tuple[NDArray[Any], Mapping[int, PredictedSegment]],
) -> None:
    """image: (H, W, 3) RGB; truth and prediction: (H, W) segment ids, 0 = void, each with its table.

    A colour a category, a dark line between segments; panels side by side, shrunk where they are larger than LONGEST.
    """
    height, width = image.shape[:2]
    longest = max(height, width)
    size = (height, width) if longest <= LONGEST else (height * LONGEST // longest, width * LONGEST // longest)
    picture = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))
    maps = [_paint(resize_labels(ids, size), table, categories) for ids, table in (truth, prediction)]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate([picture, *maps], axis=1)).save(path)


def _paint(
    segments: NDArray[Any], table: Mapping[int, Segment | PredictedSegment], categories: Categories
) -> NDArray[np.uint8]:
    """(H, W) segment ids -> (H, W, 3) uint8."""
    palette = np.full((max(table, default=0) + 1, 3), VOID_COLOR, dtype=np.uint8)
    for number, segment in table.items():
        palette[number] = categories.entries[segment.category].color
    picture = palette[segments]
    edge = np.zeros(segments.shape, dtype=bool)
    edge[:, 1:] |= segments[:, 1:] != segments[:, :-1]
    edge[1:] |= segments[1:] != segments[:-1]
    picture[edge] //= 3
    return picture

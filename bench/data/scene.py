"""One image with its ground truth, as every reader gives it. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.categories import VOID, Segment


@dataclass(frozen=True)
class Instance:
    """One object of the dataset's own instance annotation.

    `rle` is pycocotools' compressed form at the scene's size: {"size": [H, W], "counts": str}.
    """

    category: int
    is_crowd: bool
    rle: dict[str, Any]


@dataclass(frozen=True)
class Scene:
    """image: (H, W, 3) uint8 RGB, or (ceil(H / 2), ceil(W / 2), 3) where it was decoded at half size; segments: (H, W)
    int32, 0 = void; table: every id of `segments` but 0.

    `instances` is None where the dataset has no instance annotation of its own: its thing segments serve then.
    """

    id: str
    image: NDArray[np.uint8]
    segments: NDArray[np.int32]
    table: dict[int, Segment]
    instances: list[Instance] | None = None


def semantic_of(segments: NDArray[Any], table: dict[int, Segment]) -> NDArray[np.uint8]:
    """(H, W) segment ids -> (H, W) contiguous categories, 255 where void. Ids must be small (prepared form).

    Raises KeyError for an id that the table lacks. At most 255 categories.
    """
    lookup = np.full(int(segments.max(initial=0)) + 1, -1, dtype=np.int16)
    lookup[0] = VOID
    for number, segment in table.items():
        if number < len(lookup):
            lookup[number] = segment.category
    labels = lookup[segments]
    if labels.min(initial=0) < 0:
        missing = sorted(set(np.unique(segments).tolist()) - {0} - set(table))
        raise KeyError(f"segments without a table entry: {missing}")
    return labels.astype(np.uint8)

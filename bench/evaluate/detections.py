"""Scored instance masks of one image, in pycocotools' run-length form.

Shape letters: H height, W width, N instances of an image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_codec

MAX_DETECTIONS = 100  # COCO's limit


@dataclass(frozen=True)
class Detections:
    """Scored instances of one image: rles (pycocotools' compressed form), categories (N,) int64, scores (N,)."""

    rles: list[dict[str, Any]]
    categories: NDArray[np.int64]
    scores: NDArray[np.float64]

    def __post_init__(self) -> None:
        if not len(self.rles) == len(self.categories) == len(self.scores):
            raise ValueError(
                f"{len(self.rles)} masks, {len(self.categories)} categories and {len(self.scores)} scores; "
                "expected one of each for an instance"
            )
        if not np.isfinite(self.scores).all():
            raise ValueError("instance scores must be finite")

    @classmethod
    def none(cls) -> Detections:
        return cls([], np.empty(0, dtype=np.int64), np.empty(0))

    def best(self, limit: int) -> Detections:
        """The `limit` highest scores; equal scores keep their order."""
        if len(self.rles) <= limit:
            return self
        kept = by_score(self.scores)[:limit]
        return Detections([self.rles[i] for i in kept], self.categories[kept], self.scores[kept])


def encode(
    masks: NDArray[np.bool_],
    categories: NDArray[Any],
    scores: NDArray[Any],
    limit: int | None = MAX_DETECTIONS,
) -> Detections:
    """Detections from masks (N, H, W), categories (N,) and scores (N,); at most `limit` by score.

    Raises ValueError where the shapes disagree or a score is not finite.
    """
    shapes = (masks.shape, categories.shape, scores.shape)
    if masks.ndim != 3 or shapes[1:] != ((len(masks),), (len(masks),)):
        raise ValueError(f"masks, categories and scores are {shapes}; expected (N, H, W), (N,) and (N,)")
    if limit is not None and len(masks) > limit:
        kept = by_score(scores)[:limit]
        masks, categories, scores = masks[kept], categories[kept], scores[kept]
    return Detections(encode_masks(masks), categories.astype(np.int64), scores.astype(np.float64))


def encode_masks(masks: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """(N, H, W) masks -> N compressed RLEs. The codec wants uint8 in Fortran order."""
    if not len(masks):
        return []
    rles: list[dict[str, Any]] = rle_codec.encode(np.asfortranarray(masks.transpose(1, 2, 0).astype(np.uint8)))
    return rles


def by_score(scores: NDArray[Any]) -> NDArray[np.int64]:
    """(N,) places by falling score; equal ones by place."""
    return np.argsort(-scores.astype(np.float64), kind="stable")


def ranks(scores: NDArray[Any]) -> NDArray[np.int64]:
    """(N,) the place of each by falling score, from 0; equal ones by place."""
    places = np.empty(len(scores), dtype=np.int64)
    places[by_score(scores)] = np.arange(len(scores))
    return places

"""Masks resized to the nearest pixel as run lengths, many at once: no mask is unfolded. Imports no torch.

A run-length mask of COCO is a list of run lengths down the columns, zeros first. A nearest resize that shrinks takes
some rows and some columns in order, so that every border between two runs moves to the first pixel taken after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from bench.data.native.coco_instances import text_rle

Rle = dict[str, Any]  # {"size": [H, W], "counts": str}, pycocotools' compressed form
Numbers = NDArray[np.int64]


def nearest_index(length: int, target: int) -> Numbers:
    """(target,) index of the source pixel under the centre of each target pixel: floor((i + 1/2) length / target)."""
    return (2 * np.arange(target, dtype=np.int64) + 1) * length // (2 * target)


def resize_masks(rles: Sequence[Rle], sizes: Sequence[tuple[int, int]]) -> list[list[Rle | None]]:
    """N masks of one size at each (H, W) of `sizes`, nearest; None where no pixel is left.

    Raises ValueError where the runs of a mask do not add up to its pixels.
    """
    if not rles:
        return [[] for _ in sizes]
    native = rles[0]["size"][0], rles[0]["size"][1]
    owner, border = _borders([rle["counts"] for rle in rles], native[0] * native[1])
    return [
        _shrunk(owner, border, len(rles), native, size)
        if size[1] <= native[1]  # else a column is taken twice, and borders do not keep their order
        else [_enlarged(rle, size) for rle in rles]
        for size in sizes
    ]


def _shrunk(
    owner: Numbers, border: Numbers, masks: int, native: tuple[int, int], size: tuple[int, int]
) -> list[Rle | None]:
    """`border`: where a run ends, in pixels down the columns of its mask `owner`; the same for the masks at `size`."""
    area = size[0] * size[1]
    column, row = np.divmod(border, native[0])
    rows_before, columns_before, taken = _taken_before(native, size)
    moved = columns_before[column] * size[0] + np.where(taken[column], rows_before[row], 0)
    inside = moved < area
    places, times = np.unique(owner[inside] * area + moved[inside], return_counts=True)
    places = places[times % 2 == 1]  # two borders at one place: the run between them is gone
    runs = np.diff(np.sort(np.concatenate([places, np.arange(masks + 1) * area]))).tolist()
    ends = np.cumsum(np.bincount(places // area, minlength=masks) + 1).tolist()
    counts = [runs[a:b] for a, b in zip([0, *ends], ends, strict=False)]
    left = [n for n in range(masks) if len(counts[n]) > 1]
    found: list[Rle | None] = [None] * masks
    packed = coco_mask.frPyObjects([{"size": list(size), "counts": counts[n]} for n in left], *size) if left else []
    for n, rle in zip(left, packed, strict=True):
        found[n] = text_rle(rle)
    return found


@lru_cache(maxsize=64)  # most images of a dataset have one of few sizes
def _taken_before(native: tuple[int, int], size: tuple[int, int]) -> tuple[Numbers, Numbers, NDArray[np.bool_]]:
    """How many rows are taken above each row, how many columns before each column, and which columns are taken."""
    rows, columns = nearest_index(native[0], size[0]), nearest_index(native[1], size[1])
    every_column = np.arange(native[1] + 1)
    return (
        np.searchsorted(rows, np.arange(native[0])),
        np.searchsorted(columns, every_column),
        np.isin(every_column, columns),
    )


def _enlarged(rle: Rle, size: tuple[int, int]) -> Rle | None:
    mask = coco_mask.decode(rle)
    rows, columns = nearest_index(mask.shape[0], size[0]), nearest_index(mask.shape[1], size[1])
    mask = mask[rows[:, None], columns[None, :]]
    return text_rle(coco_mask.encode(np.asfortranarray(mask))) if mask.any() else None


def _borders(texts: Sequence[str], area: int) -> tuple[Numbers, Numbers]:
    """The ends of all runs of all masks but each mask's last: (owner, end in pixels down the columns)."""
    owner, place, values = _numbers(texts)
    for chain in (place % 2 == 1, (place % 2 == 0) & (place > 0)):  # a run is told as its excess over the last but one
        excess, whose = values[chain], owner[chain]
        sums = np.cumsum(excess)
        first = np.searchsorted(whose, whose)
        values[chain] = sums - sums[first] + excess[first]
    ends = np.cumsum(values) - owner * area
    if len(texts) * area != np.sum(values) or (ends < 0).any() or (ends > area).any():
        raise ValueError(f"a mask's runs do not add up to its {area} pixels")
    inner = ends < area
    return owner[inner], ends[inner]


def _numbers(texts: Sequence[str]) -> tuple[Numbers, Numbers, Numbers]:
    """What pycocotools' `counts` texts hold: whose, which of its numbers, and the number.

    A character less 48 has 5 bits of a number, lowest first; 32 says that more follow, 16 in the last is the sign.
    """
    bits = np.frombuffer("".join(texts).encode(), dtype=np.uint8).astype(np.int64) - 48
    last = np.flatnonzero(bits < 32)
    first = np.concatenate([[0], last[:-1] + 1])
    digit = np.arange(len(bits)) - np.repeat(first, last - first + 1)
    values = np.add.reduceat((bits & 31) << (5 * digit), first)
    values -= np.where(bits[last] & 16, 32 << (5 * digit[last]), 0)
    owner = np.searchsorted(np.cumsum([len(text) for text in texts]), last, side="right")
    return owner, np.arange(len(values)) - np.searchsorted(owner, owner), values

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
_SIGNED = 1 << np.arange(4, 60, 5, dtype=np.int64)  # from the nth on a number and its sign take more than n digits


@lru_cache(maxsize=256)  # most images of a dataset have one of few sizes
def nearest_index(length: int, target: int) -> Numbers:
    """(target,) index of the source pixel under the centre of each target pixel: floor((i + 1/2) length / target)."""
    index = (2 * np.arange(target, dtype=np.int64) + 1) * length // (2 * target)
    index.flags.writeable = False
    return index


def resize_masks(rles: Sequence[Rle], sizes: Sequence[tuple[int, int]]) -> list[list[Rle | None]]:
    """N masks of one size at each (H, W) of `sizes`, nearest; None where no pixel is left.

    Raises ValueError where the runs of a mask do not add up to its pixels.
    """
    if not rles:
        return [[] for _ in sizes]
    native = rles[0]["size"][0], rles[0]["size"][1]
    owner, border = _borders([rle["counts"] for rle in rles], native[0] * native[1])
    shrinking = [size for size in sizes if size[1] <= native[1]]  # else a column is taken twice: no order of borders
    shrunk = dict(zip(shrinking, _shrunk(owner, border, len(rles), native, shrinking), strict=True))
    return [shrunk[size] if size in shrunk else [_enlarged(rle, size) for rle in rles] for size in sizes]


def _shrunk(
    owner: Numbers, border: Numbers, masks: int, native: tuple[int, int], sizes: Sequence[tuple[int, int]]
) -> list[list[Rle | None]]:
    """`border`: where a run ends, in pixels down the columns of its mask `owner`; the same for the masks at `sizes`.

    All masks of all sizes are worked out at once, laid one after the other.
    """
    areas = np.repeat(np.array([height * width for height, width in sizes], dtype=np.int64), masks)
    ends = areas.cumsum()
    column, row = np.divmod(border, native[0])
    moved = [ends[:0]]
    for size, begins in zip(sizes, (ends - areas).reshape(-1, masks), strict=True):
        rows_before, columns_before, taken = _taken_before(native, size)
        places = columns_before[column] * size[0] + rows_before[row] * taken[column]
        inside = places < size[0] * size[1]
        moved.append((begins[owner] + places)[inside])
    places = _odd(np.concatenate(moved))  # two borders at one place: the run between them is gone
    runs = np.bincount(np.searchsorted(ends, places, side="right"), minlength=len(ends)) + 1
    texts = _texts(np.diff(np.sort(np.concatenate([places, ends])), prepend=0), runs)
    found = [
        {"size": list(sizes[number // masks]), "counts": text} if count > 1 else None
        for number, (text, count) in enumerate(zip(texts, runs.tolist(), strict=True))
    ]
    return [found[start : start + masks] for start in range(0, len(found), masks)]


def _odd(numbers: Numbers) -> Numbers:
    """Each of these ascending numbers that is there an odd number of times, once."""
    begins = np.ones(len(numbers), dtype=bool)
    begins[1:] = numbers[1:] != numbers[:-1]
    starts = begins.nonzero()[0]
    return numbers[starts[np.diff(starts, append=len(numbers)) % 2 == 1]]


@lru_cache(maxsize=64)
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
    values, counts = _numbers(texts)
    starts = counts.cumsum() - counts
    whose = np.repeat(starts, counts)
    first, values[starts] = values[starts], 0
    sums = np.zeros(len(values) + 2, dtype=np.int64)  # a run but the first is told as its excess over the last but one
    sums[2::2], sums[3::2] = values[::2].cumsum(), values[1::2].cumsum()
    runs = sums[2:] - sums[whose + (np.arange(len(values)) - whose) % 2]
    runs[starts] = first
    owner = np.repeat(np.arange(len(texts)), counts)
    ends = runs.cumsum() - owner * area
    if (runs < 0).any() or (ends[starts + counts - 1] != area).any():
        raise ValueError(f"a mask's runs do not add up to its {area} pixels")
    inner = (ends < area).nonzero()[0]
    return owner[inner], ends[inner]


def _numbers(texts: Sequence[str]) -> tuple[Numbers, Numbers]:
    """What pycocotools' `counts` texts hold: the numbers of all, and how many are in each.

    A character less 48 has 5 bits of a number, lowest first; 32 says that more follow, 16 in the last is the sign.
    Raises ValueError for a text without a number.
    """
    bits = np.frombuffer("".join(texts).encode(), dtype=np.uint8).astype(np.int64) - 48
    last = (bits < 32).nonzero()[0]
    counts = np.diff(np.searchsorted(last, np.cumsum([len(text) for text in texts])), prepend=0)
    if not counts.all():
        raise ValueError("a mask has no runs")
    first = np.append(0, last[:-1] + 1)
    digit = np.arange(len(bits)) - np.repeat(first, last - first + 1)
    values = np.add.reduceat((bits & 31) << (5 * digit), first)
    values -= np.where(bits[last] & 16, 32 << (5 * digit[last]), 0)
    return values, counts


def _texts(lengths: Numbers, runs: Numbers) -> list[str]:
    """Runs of all masks -> the `counts` of each, which has so many `runs`. The inverse of `_numbers` and `_borders`."""
    stops = runs.cumsum()
    place = np.arange(len(lengths)) - np.repeat(stops - runs, runs)
    values = lengths.copy()
    values[2:] -= np.where(place[2:] > 2, lengths[:-2], 0)
    digits = np.searchsorted(_SIGNED, values ^ (values >> 63), side="right") + 1
    ends = digits.cumsum()
    digit = np.arange(digits.sum()) - np.repeat(ends - digits, digits)
    characters = (np.repeat(values, digits) >> (5 * digit) & 31) + 32 + 48
    characters[ends - 1] -= 32
    text = characters.astype(np.uint8).tobytes().decode()
    cuts = ends[stops - 1].tolist()
    return [text[a:b] for a, b in zip([0, *cuts], cuts, strict=False)]

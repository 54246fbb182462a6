"""One mask averaged down to a coarse grid and interpolated back, exactly. Imports no torch.

Down: each cell holds the share of its area that the mask covers. Up: bilinear between the cells' centres, the outermost
cells carried to the border (what networks do with `align_corners=False`). Every weight is a whole number, so that
equal weights are equal on every machine; only the window that the mask can reach is computed.

Shape letters: H, W the native height and width; h, w the grid's.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.data.resize import nearest_index

Size = tuple[int, int]  # height, width


class Patch(NamedTuple):
    """Weights of one mask inside a window of the native image, 0 outside of it; `full_weight` is a whole mask's."""

    rows: slice
    columns: slice
    weights: NDArray[np.float64]  # whole numbers: exact below 2**53, which takes images of 47 million pixels


class _Taps(NamedTuple):
    """For each native pixel of an axis: the two cells it lies between, and the second one's part of 2 * length."""

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    part: NDArray[np.int64]


def full_weight(native: Size) -> float:
    """The weight of a pixel in whose surroundings the mask covers everything: 4 (HW)^2."""
    return 4.0 * (native[0] * native[1]) ** 2


def down_and_up(mask: NDArray[np.bool_], corner: tuple[int, int], native: Size, grid: Size) -> Patch:
    """mask: (a, b), the part of a (H, W) mask that begins at `corner` (row, column); all outside of it is empty."""
    top, across = _cell_sums(mask, corner[0], native[0], grid[0])
    left, cells = _cell_sums(across.T, corner[1], native[1], grid[1])
    columns, wide = _interpolate(cells, left, grid[1], native[1])
    rows, weights = _interpolate(np.ascontiguousarray(wide.T), top, grid[0], native[0])
    return Patch(rows, columns, weights)


def nearest_and_back(labels: NDArray[Any], grid: Size) -> NDArray[Any]:
    """(H, W) labels -> (H, W): the nearest pixel to (h, w) by the rule of the prepared form, and nearest back."""
    rows, columns = (_there_and_back(*pair) for pair in zip(labels.shape, grid, strict=True))
    return labels[rows][:, columns]


@lru_cache(maxsize=256)
def _there_and_back(length: int, count: int) -> NDArray[np.int64]:
    return nearest_index(length, count)[nearest_index(count, length)]


def _cell_sums(values: NDArray[Any], start: int, length: int, count: int) -> tuple[int, NDArray[Any]]:
    """Sums along axis 0 over the cells that the values lie in, times `count`: (first cell, (cells, ...)).

    `values` begin at pixel `start` of an axis of `length` pixels that `count` equal cells divide.
    """
    size = len(values)
    first, last = start * count // length, -(-(start + size) * count // length)
    edges = np.arange(first, last + 1, dtype=np.int64) * length
    whole, rest = edges // count - start, edges % count
    rest[(whole < 0) | (whole >= size)] = 0
    whole = np.clip(whole, 0, size)
    before = np.zeros((size + 1, values.shape[1]), dtype=np.int64)
    np.cumsum(values, axis=0, out=before[1:])
    up_to_edge = before[whole] * count + values[np.minimum(whole, size - 1)] * rest[:, None]
    return first, up_to_edge[1:] - up_to_edge[:-1]


def _interpolate(cells: NDArray[Any], first: int, count: int, length: int) -> tuple[slice, NDArray[np.float64]]:
    """(cells, ...) that begin at cell `first` -> the pixels they reach: (which, (pixels, ...)), times 2 * length."""
    taps = _taps(length, count)
    last = first + len(cells)
    start = int(np.searchsorted(taps.high, first))
    stop = int(np.searchsorted(taps.low, last))
    padded = np.zeros((len(cells) + 2, cells.shape[1]))  # an empty cell on each side
    padded[1:-1] = cells
    low = np.maximum(taps.low[start:stop], first - 1) - first + 1
    high = np.minimum(taps.high[start:stop], last) - first + 1
    part = taps.part[start:stop, None]
    pixels = padded[low]
    pixels *= 2 * length - part
    second = padded[high]
    second *= part
    pixels += second
    return slice(start, stop), pixels


@lru_cache(maxsize=256)
def _taps(length: int, count: int) -> _Taps:
    """A pixel's centre lies at ((2i + 1) count - length) / 2 length cells from the first cell's centre."""
    places = (2 * np.arange(length, dtype=np.int64) + 1) * count - length
    cell = places // (2 * length)
    return _Taps(np.maximum(cell, 0), np.minimum(cell + 1, count - 1), places % (2 * length))

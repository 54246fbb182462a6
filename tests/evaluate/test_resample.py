"""One mask down and back: against dense matrices in whole numbers, and against torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.nn.functional import interpolate

from bench.data.resize import resize_labels
from bench.evaluate.resample import down_and_up, full_weight, nearest_and_back

SIDE = st.integers(1, 23)
CELLS = st.integers(1, 29)  # also more cells than pixels


def area_matrix(length: int, count: int) -> np.ndarray:
    """(cells, pixels): how much of each pixel lies in each cell, times `count`."""
    rows = [
        [
            max(0, min((cell + 1) * length, (pixel + 1) * count) - max(cell * length, pixel * count))
            for pixel in range(length)
        ]
        for cell in range(count)
    ]
    return np.array(rows, dtype=object)


def hat_matrix(length: int, count: int) -> np.ndarray:
    """(pixels, cells): the hat function around each cell's centre at the pixel's centre, times 2 * length."""
    rows = []
    for pixel in range(length):
        place = min(max((2 * pixel + 1) * count - length, 0), (count - 1) * 2 * length)
        rows.append([max(0, 2 * length - abs(place - cell * 2 * length)) for cell in range(count)])
    return np.array(rows, dtype=object)


def dense(mask: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    height, width = mask.shape
    cells = area_matrix(height, grid[0]) @ mask.astype(object) @ area_matrix(width, grid[1]).T
    return hat_matrix(height, grid[0]) @ cells @ hat_matrix(width, grid[1]).T


def whole(mask: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Ours, from the mask's own box, put back into the whole image."""
    rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
    box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    patch = down_and_up(box, (int(rows[0]), int(columns[0])), mask.shape, grid)
    found = np.zeros(mask.shape)
    found[patch.rows, patch.columns] = patch.weights
    return found


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_the_window_holds_exactly_what_the_dense_matrices_give(data: st.DataObject) -> None:
    native, grid = (data.draw(SIDE), data.draw(SIDE)), (data.draw(CELLS), data.draw(CELLS))
    mask = data.draw(arrays(bool, native))
    mask[data.draw(st.integers(0, native[0] - 1)), data.draw(st.integers(0, native[1] - 1))] = True
    assert (whole(mask, grid) == dense(mask, grid)).all()


@pytest.mark.parametrize("grid", [(48, 64), (12, 16), (6, 4), (1, 1)])
def test_it_is_area_pooling_and_torchs_bilinear(grid: tuple[int, int]) -> None:
    mask = np.random.default_rng(0).random((48, 64)) < 0.3
    pooled = torch.from_numpy(mask).double().reshape(grid[0], 48 // grid[0], grid[1], 64 // grid[1]).mean((1, 3))
    back = interpolate(pooled[None, None], size=(48, 64), mode="bilinear", align_corners=False)[0, 0]
    assert np.allclose(whole(mask, grid) / full_weight((48, 64)), back.numpy(), atol=1e-12)


def test_a_full_mask_weighs_everything_everywhere() -> None:
    mask = np.ones((375, 500), dtype=bool)
    assert (down_and_up(mask, (0, 0), (375, 500), (64, 48)).weights == full_weight((375, 500))).all()


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_nearest_is_the_prepared_forms_rule_twice(data: st.DataObject) -> None:
    native, grid = (data.draw(SIDE), data.draw(SIDE)), (data.draw(CELLS), data.draw(CELLS))
    labels = np.arange(native[0] * native[1], dtype=np.int32).reshape(native)
    assert (nearest_and_back(labels, grid) == resize_labels(resize_labels(labels, grid), native)).all()

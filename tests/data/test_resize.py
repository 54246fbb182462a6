from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from bench.data.resize import measure, nearest_index, resize_image, resize_labels, resize_scene
from bench.data.scene import Scene
from models.categories import Segment


@pytest.mark.parametrize("size", [(128, 128), (64, 64), (32, 32), (256, 512)])
@pytest.mark.parametrize("native", [(480, 640), (427, 640), (1024, 2048), (257, 385)])
def test_labels_are_pils_nearest(native: tuple[int, int], size: tuple[int, int]) -> None:
    labels = np.arange(native[0] * native[1], dtype=np.int32).reshape(native)
    expected = np.asarray(Image.fromarray(labels).resize(size[::-1], Image.Resampling.NEAREST))
    assert np.array_equal(resize_labels(labels, size), expected)


def test_a_tie_is_exact_where_pils_running_sum_is_not() -> None:
    """480 to 48 has no tie; 64 to 48 has: (2 + 1/2) 64 / 48 = 3.33, (4 + 1/2) 64 / 48 = 6 exactly."""
    assert nearest_index(64, 48)[4] == 6
    pils = np.asarray(Image.fromarray(np.arange(64, dtype=np.int32)[None]).resize((48, 1), Image.Resampling.NEAREST))
    assert abs(pils[0] - nearest_index(64, 48)).max() <= 1


def test_a_checkerboard_of_pixels_shrinks_to_grey() -> None:
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    assert abs(resize_image(board, (8, 8)).astype(int) - 127).max() <= 2  # without antialiasing it would be 0 or 255


def test_measure_by_hand() -> None:
    found = measure(np.array([[0, 7, 7, 0], [0, 0, 7, 2]], dtype=np.uint16))
    assert found.numbers.tolist() == [2, 7]
    assert found.areas.tolist() == [1, 3]
    assert found.boxes.tolist() == [[3, 1, 1, 1], [1, 0, 2, 2]]
    assert measure(np.zeros((2, 2), dtype=np.uint16)).boxes.shape == (0, 4)


def test_what_has_no_pixel_left_is_dropped_and_numbers_stay() -> None:
    segments = np.full((8, 8), 2, dtype=np.int32)
    segments[0, 0] = 1
    table = {1: Segment(0, True, False), 2: Segment(1, False, False)}
    small = resize_scene(Scene("a", np.zeros((8, 8, 3), np.uint8), segments, table), (2, 2))
    assert small.table == {2: table[2]}
    assert small.segments.tolist() == [[2, 2], [2, 2]]

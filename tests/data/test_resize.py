from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from bench.data.decoding import HALVED_FROM, rgb
from bench.data.resize import (
    HALVED_TOLERANCE,
    RULE,
    measure,
    resize_halved,
    resize_image,
    resize_labels,
    resize_scene,
    takes_halved,
)
from bench.data.run_lengths import nearest_index
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


@settings(max_examples=50, deadline=None)
@given(
    arrays(np.uint16, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.sampled_from([0, 1, 2, 9, 65535]))
)
def test_measure_is_what_each_segment_alone_measures(segments: np.ndarray) -> None:
    found = measure(segments)
    assert found.numbers.tolist() == sorted(set(segments.ravel().tolist()) - {0})
    for number, area, (x, y, w, h) in zip(found.numbers, found.areas, found.boxes.tolist(), strict=True):
        rows, columns = np.nonzero(segments == number)
        assert area == len(rows)
        assert (x, y, x + w - 1, y + h - 1) == (columns.min(), rows.min(), columns.max(), rows.max())


@settings(max_examples=50, deadline=None)
@given(arrays(np.uint16, array_shapes(min_dims=3, max_dims=3, max_side=6), elements=st.sampled_from([0, 1, 2, 65535])))
def test_several_maps_are_measured_as_each_alone(segments: np.ndarray) -> None:
    found, alone = measure(segments), [measure(one) for one in segments]
    assert found.maps.tolist() == [number for number, one in enumerate(alone) for _ in one.numbers]
    for name in ("numbers", "areas", "boxes"):
        assert np.array_equal(getattr(found, name), np.concatenate([getattr(one, name) for one in alone]))


def halved_and_whole(path: Path, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    with Image.open(path) as picture:
        native = picture.height, picture.width
        halved = resize_halved(rgb(picture, halve=True), native, [size])[0]
    with Image.open(path) as picture:
        return halved.astype(int), resize_image(rgb(picture), size).astype(int)


@pytest.mark.parametrize("size", [(128, 128), (64, 64), (48, 64), (32, 32)])
def test_halved_pictures_are_within_the_stated_tolerance(
    shared_data: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    """Real photographs, four beside one another: as sharp as any, and of up to 512 pixels."""
    photographs = sorted((shared_data / "coco_panoptic" / "val2017").glob("*.jpg"))
    paths = [path for path in photographs if min(Image.open(path).size) >= 256][:24]
    means = []
    for start in range(0, len(paths), 4):
        four = [Image.open(path).convert("RGB").crop((0, 0, 256, 256)) for path in paths[start : start + 4]]
        sheet = np.vstack([np.hstack(four[:2]), np.hstack(four[2:])])[: 511 - start, : 512 - start // 2]
        Image.fromarray(sheet).save(tmp_path / "sheet.jpg", quality=92)
        halved, whole = halved_and_whole(tmp_path / "sheet.jpg", size)
        assert halved.shape == (*size, 3)
        assert abs((halved - whole).mean()) < 0.5  # neither brighter nor darker
        means.append(abs(halved - whole).mean())
    assert 0 < max(means) < HALVED_TOLERANCE
    assert f"less than {HALVED_TOLERANCE} of 255" in RULE


@pytest.mark.parametrize("side", [384, 385, 391, 511])
@pytest.mark.parametrize("size", [(64, 64), (128, 128)])
def test_halving_does_not_shift_the_picture(tmp_path: Path, side: int, size: tuple[int, int]) -> None:
    """On a ramp a shift is a difference of its own sign in each direction; noise keeps rounding from hiding it."""
    noise = np.random.default_rng(0).normal(0, 15, (side, side))
    differences = []
    for ramp in (np.linspace(60, 195, side), np.linspace(195, 60, side)):
        grey = np.clip(ramp[None, :] + noise, 0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)
        Image.fromarray(grey).save(tmp_path / "ramp.jpg", quality=95)
        halved, whole = halved_and_whole(tmp_path / "ramp.jpg", size)
        differences.append((halved - whole)[:, 3:-3].mean())
    pixels = (differences[0] - differences[1]) / 2 * side / (195 - 60)
    assert abs(pixels) < 0.1


@pytest.mark.parametrize(("side", "suffix", "expected"), [(384, "jpg", 192), (383, "jpg", 383), (384, "png", 384)])
def test_only_large_jpegs_are_halved(tmp_path: Path, side: int, suffix: str, expected: int) -> None:
    path = tmp_path / f"p.{suffix}"
    Image.new("RGB", (side + 100, side)).save(path)
    assert HALVED_FROM == 384
    with Image.open(path) as picture:
        assert rgb(picture, halve=True).shape[0] == expected
    with Image.open(path) as picture:
        assert rgb(picture).shape == (side, side + 100, 3)
    assert [takes_halved(size) for size in [(128, 128), (48, 64), (129, 128), (64, 256)]] == [True, True, False, False]


def test_grey_and_palette_pictures_become_rgb(tmp_path: Path) -> None:
    for mode, suffix in (("L", "jpg"), ("CMYK", "jpg"), ("P", "png")):
        Image.new(mode, (400, 400)).save(tmp_path / f"p.{suffix}")
        with Image.open(tmp_path / f"p.{suffix}") as picture:
            assert rgb(picture, halve=True).shape[2] == 3

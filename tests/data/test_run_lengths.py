"""Masks resized as run lengths, against unfolding, sampling and encoding them again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from bench.data.native.coco_instances import compressed_rle, text_rle
from bench.data.run_lengths import resize_masks

SIDES = st.integers(1, 40)


def encode(mask: np.ndarray) -> dict[str, Any]:
    return text_rle(coco_mask.encode(np.asfortranarray(mask.astype(np.uint8))))


def sampled(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixel by pixel: the source pixel under the centre of each target pixel."""
    (h, w), (height, width) = mask.shape, size
    rows = [(2 * y + 1) * h // (2 * height) for y in range(height)]
    columns = [(2 * x + 1) * w // (2 * width) for x in range(width)]
    return np.array([[mask[y, x] for x in columns] for y in rows])


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(SIDES, SIDES),
    st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=2),
    st.lists(st.sampled_from([0.0, 0.02, 0.5, 0.98, 1.0]), min_size=1, max_size=4),
    st.integers(0, 2**32 - 1),
)
def test_they_are_what_unfolded_masks_give(
    native: tuple[int, int], sizes: list[tuple[int, int]], densities: list[float], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    masks = [rng.random(native) < density for density in densities]
    expected = [[encode(small) if (small := sampled(mask, size)).any() else None for mask in masks] for size in sizes]
    assert resize_masks([encode(mask) for mask in masks], sizes) == expected


def test_by_hand() -> None:
    """A 4 x 4 mask, its right half set, at 2 x 2: rows and columns 1 and 3, so two pixels of zeros, two of ones."""
    mask = np.zeros((4, 4), dtype=bool)
    mask[:, 2:] = True
    ((small,),) = resize_masks([encode(mask)], [(2, 2)])
    assert small == text_rle(coco_mask.frPyObjects({"size": [2, 2], "counts": [2, 2]}, 2, 2))
    mask[:, 3] = False  # only column 2 is set, which is not taken
    assert resize_masks([encode(mask)], [(2, 2)]) == [[None]]


def test_without_masks_there_is_an_empty_list_a_size() -> None:
    assert resize_masks([], [(2, 2), (3, 3)]) == [[], []]


def test_runs_that_do_not_fill_the_picture_are_refused() -> None:
    good = encode(np.ones((4, 4), dtype=bool))
    with pytest.raises(ValueError, match="do not add up to its 20 pixels"):
        resize_masks([{"size": [5, 4], "counts": good["counts"]}], [(2, 2)])


@pytest.mark.parametrize(("counts", "told"), [("", "has no runs"), ("P", "has no runs"), ("00", "do not add up")])
def test_a_mask_without_runs_is_refused(counts: str, told: str) -> None:
    good, bad = encode(np.ones((4, 4), dtype=bool)), {"size": [4, 4], "counts": counts}
    for masks in ([bad], [good, bad], [bad, good, good]):
        with pytest.raises(ValueError, match=told):
            resize_masks(masks, [(2, 2)])


def test_two_masks_whose_faults_add_up_to_nothing_are_refused() -> None:
    """4 + 10 and 10 + 8 pixels: together those of two 4 x 4 masks."""
    bad = [{"size": [4, 4], "counts": chr(48 + a) + chr(48 + b)} for a, b in ((4, 10), (10, 8))]
    with pytest.raises(ValueError, match="do not add up to its 16 pixels"):
        resize_masks(bad, [(2, 2)])
    negative = {"size": [4, 4], "counts": "".join(chr(48 + n) for n in (8, 12, 28))}  # 8, 12, -4
    with pytest.raises(ValueError, match="do not add up to its 16 pixels"):
        resize_masks([negative], [(2, 2)])


def test_long_runs() -> None:
    """Of as many as 119,999 pixels, and each shorter or longer than the last but one by nearly as much."""
    mask = np.zeros((300, 400), dtype=bool)
    alone = [mask.copy() for _ in range(3)]
    alone[0][-1, -1] = alone[1][0, 0] = True
    alone[2][:, 100] = alone[2][5, 101] = alone[2][7, 399] = True
    sizes = [(300, 400), (299, 200), (600, 400)]
    expected = [[encode(small) if (small := sampled(one, size)).any() else None for one in alone] for size in sizes]
    assert resize_masks([encode(one) for one in alone], sizes) == expected


def test_real_polygons(shared_data: Path) -> None:
    content = json.loads((shared_data / "coco_instances" / "annotations" / "instances_val2017.json").read_text())
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    rows = [row for row in content["annotations"] if sizes[row["image_id"]] == (256, 341)][:60]
    assert len(rows) == 60
    rles = [compressed_rle(row["segmentation"], (256, 341)) for row in rows]
    for size, found in zip([(128, 128), (48, 64)], resize_masks(rles, [(128, 128), (48, 64)]), strict=True):
        for rle, small in zip(rles, found, strict=True):
            expected = sampled(coco_mask.decode(rle), size)
            assert small == (encode(expected) if expected.any() else None)

"""The pictures that a run keeps, pixel by pixel."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from bench.evaluate.samples import SHADES, _colors, draw_sample
from models.categories import Categories, Category, PredictedSegment, Segment, Task

GREY, RED = (100, 100, 100), (200, 0, 40)
KINDS = Categories(
    (Category(7, "road", False, GREY), Category(9, "car", True, RED), Category(11, "sky", False, (1, 2, 3)))
)
LIGHTER, DARKER = (225, 115, 137), (130, 0, 26)  # 200 + 0.45 (255 - 200) …; 200 (1 - 0.35) …
IMAGE = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
TRUTH = np.array([[1, 1, 2, 3], [0, 1, 2, 4]])  # road, road, car, car; void, road, car, car
TABLE = {
    1: Segment(0, False, False),
    2: Segment(1, True, False),
    3: Segment(1, True, False),
    4: Segment(1, True, False),
}
PREDICTED = np.array([[5, 5, 5, 5], [5, 5, 6, 6]])
FOUND = {5: PredictedSegment(0, 0.5), 6: PredictedSegment(1, 0.5)}


def drawn(folder: Path, task: Task, id: str = "a/b 1") -> Image.Image:
    draw_sample(folder, 3, id, KINDS, task, IMAGE, (TRUTH, TABLE), (PREDICTED, FOUND))
    (path,) = folder.iterdir()
    return Image.open(path)


def test_a_category_has_one_colour_and_instances_its_shades(tmp_path: Path) -> None:
    cars = {"semantic": [RED, RED, RED], "instance": [RED, LIGHTER, DARKER], "panoptic": [RED, LIGHTER, DARKER]}
    for task, (two, three, four) in cars.items():
        pixels = np.asarray(drawn(tmp_path / task, task))  # type: ignore[arg-type]
        assert pixels.shape == (2, 12, 3)
        assert (pixels[:, :4] == IMAGE).all()
        assert pixels[:, 4:8].tolist() == [
            [[*GREY], [*GREY], [*two], [*three]],
            [[0, 0, 0], [*GREY], [*two], [*four]],
        ]
        assert pixels[:, 8:].tolist() == [[[*GREY]] * 4, [[*GREY], [*GREY], [*RED], [*RED]]]


def test_the_name_has_the_id_and_the_file_what_it_shows(tmp_path: Path) -> None:
    picture = drawn(tmp_path, "semantic")
    assert [path.name for path in tmp_path.iterdir()] == ["3-a_b_1.png"]
    assert json.loads(picture.info["classes"]) == [["road", [*GREY]], ["car", [*RED]], ["void", [0, 0, 0]]]


def test_a_large_one_is_shrunk(tmp_path: Path) -> None:
    image = np.zeros((400, 640, 3), np.uint8)
    ids = np.ones((400, 640), np.int64)
    draw_sample(tmp_path, 0, "x", KINDS, "semantic", image, (ids, TABLE), (ids, TABLE))
    assert Image.open(tmp_path / "0-x.png").size == (3 * 320, 200)


@given(arrays(np.int64, (4, 4), elements=st.integers(0, 12)))
def test_things_that_touch_differ(ids: np.ndarray) -> None:
    """As long as one touches fewer of its kind than there are shades: of two, the one that is painted later."""
    colors = _colors(ids, {number: Segment(1, True, False) for number in range(1, 13)}, KINDS, "instance")
    beside = (
        np.concatenate([ids[:, 1:].ravel(), ids[1:].ravel()]),
        np.concatenate([ids[:, :-1].ravel(), ids[:-1].ravel()]),
    )
    pairs = {(max(a, b), min(a, b)) for a, b in zip(*(x.tolist() for x in beside), strict=True) if a != b and a and b}
    for later, earlier in pairs:
        if sum(later in pair for pair in pairs) < len(SHADES):
            assert colors[later] != colors[earlier]


def test_more_neighbours_than_shades_still_have_a_colour() -> None:
    around = len(SHADES) + 2
    ids = np.stack([np.arange(2, around + 2), np.ones(around, np.int64)])
    colors = _colors(ids, {number: Segment(1, True, False) for number in range(1, around + 2)}, KINDS, "panoptic")
    assert len(colors) == around + 1
    assert len(set(colors.values())) == len(SHADES)


@pytest.mark.parametrize("task", ["semantic", "instance"])
def test_the_shades_of_one_colour_are_far_apart(task: Task) -> None:
    ids = np.arange(1, len(SHADES) + 1)[None]
    colors = _colors(ids, {int(number): Segment(1, True, False) for number in ids[0]}, KINDS, task)
    assert len(set(colors.values())) == (len(SHADES) if task == "instance" else 1)

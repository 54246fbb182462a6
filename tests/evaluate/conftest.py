"""Random scenes with everything that is hard: crowds, void, empty predictions, absent classes. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.data.native.panoptic_png import write_ids
from models.categories import Categories, Category, PredictedSegment, Segment

# Ids with gaps, as COCO has them; the last two categories never appear.
CATEGORIES = Categories(
    tuple(Category(id=3 * k + 1, name=f"category {k}", isthing=k % 2 == 0, color=(k, 2 * k, 3 * k)) for k in range(7))
)
USED = 5


class RandomScene(NamedTuple):
    truth: NDArray[np.int64]
    table: dict[int, Segment]
    prediction: NDArray[np.int64]
    segments: dict[int, PredictedSegment]


def draw(seed: int, height: int = 24, width: int = 30) -> RandomScene:
    """Overlapping rectangles; the prediction is the truth moved, relabelled in places, with holes of void."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((height, width), dtype=np.int64)
    for number in rng.permutation(rng.integers(1, 60, size=9)):
        top, left = rng.integers(0, height - 4), rng.integers(0, width - 4)
        tall, wide = rng.integers(3, height // 2), rng.integers(3, width // 2)
        truth[top : top + tall, left : left + wide] = number
    present = [int(i) for i in rng.permutation(np.unique(truth)) if i]
    table = {}
    for number in present:
        category = int(rng.integers(USED))
        thing = CATEGORIES.is_thing[category]
        table[number] = Segment(category, thing, bool(thing and rng.random() < 0.3))
    prediction = np.roll(truth, rng.integers(-2, 3, size=2), axis=(0, 1)) + 100 * (truth % 2)
    prediction[rng.random(prediction.shape) < 0.05] = 0
    for _ in range(3):
        top, left = rng.integers(0, height), rng.integers(0, width)
        prediction[top : top + 6, left : left + 8] = rng.integers(0, 3) * 300
    if rng.random() < 0.1:
        prediction[:] = 0
    segments = {}
    for number in (int(i) for i in np.unique(prediction) if i):
        source = table.get(number % 100)
        keep = source is not None and rng.random() < 0.75
        category = source.category if source is not None and keep else int(rng.integers(USED))
        segments[number] = PredictedSegment(category, float(rng.random()))
    return RandomScene(truth, table, prediction, segments)


def write_panoptic(folder: Path, name: str, images: list[tuple[NDArray[np.int64], dict[int, Any]]]) -> Path:
    """A COCO panoptic json and its PNGs; images are numbered from 1. Returns the json's path."""
    annotations = []
    (folder / name).mkdir(parents=True)
    for image, (ids, table) in enumerate(images, start=1):
        write_ids(folder / name / f"{image}.png", ids)
        infos = [_info(ids, number, segment) for number, segment in table.items()]
        annotations.append({"image_id": image, "file_name": f"{image}.png", "segments_info": infos})
    sizes = [
        {"id": image, "height": ids.shape[0], "width": ids.shape[1], "file_name": f"{image}.jpg"}
        for image, (ids, _) in enumerate(images, start=1)
    ]
    path = folder / f"{name}.json"
    content = {"images": sizes, "annotations": annotations, "categories": CATEGORIES.to_json()}
    path.write_text(json.dumps(content))
    return path


def _info(ids: NDArray[np.int64], number: int, segment: Segment | PredictedSegment) -> dict[str, Any]:
    rows, columns = np.nonzero(ids == number)
    box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1] if len(rows) else [0, 0, 0, 0]
    return {
        "id": number,
        "category_id": CATEGORIES.entries[segment.category].id,
        "iscrowd": int(getattr(segment, "is_crowd", False)),
        "area": len(rows),
        "bbox": [int(value) for value in box],
    }


@pytest.fixture(scope="session")
def categories() -> Categories:
    return CATEGORIES


@pytest.fixture(scope="session")
def random_scenes() -> list[RandomScene]:
    return [draw(seed) for seed in range(240)]


@pytest.fixture(scope="session")
def written_scenes(random_scenes: list[RandomScene], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The random scenes in the official format: (truth json, predictions json)."""
    folder = tmp_path_factory.mktemp("scenes")
    truth = write_panoptic(folder, "truth", [(scene.truth, scene.table) for scene in random_scenes])
    prediction = write_panoptic(folder, "prediction", [(scene.prediction, scene.segments) for scene in random_scenes])
    return truth, prediction


@pytest.fixture(scope="session")
def write_official() -> Callable[..., Path]:
    return write_panoptic

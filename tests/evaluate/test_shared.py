"""An evaluation by several processes gives the bytes of one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.data.native.scenes import Scenes
from bench.data.prepared import load, prepare
from bench.data.view import View
from bench.evaluate.encoded import Encoded
from bench.evaluate.evaluator import EvaluatedPrediction
from bench.group import Group
from bench.predict import evaluate, evaluate_share
from bench.stop import StoppedError
from models.categories import PredictedSegment
from models.registry import build
from tests.together import together

IMAGES = 29  # three batches of eight and one of five: of three processes two get none in the second turn
MODELS = (("unet-small", "panoptic"), ("detr-small", "instance"))


def evaluated(group: Group, prepared: Path, folder: Path) -> list[dict[str, Any]]:
    found = []
    for name, task in MODELS:
        data = View(load(prepared), task)  # type: ignore[arg-type]
        torch.manual_seed(3)
        model = build(name, data.categories, data.size, task).to(memory_format=torch.channels_last)
        if group.rank:
            assert group.tell() == 7
            evaluate_share(model, data, group)
            continue
        own = folder / f"{group.size}-{name}"
        seen: list[int] = []
        evaluator = evaluate(model, data, lambda *said: seen.extend(said), own / "samples", True, group, 7)  # noqa: B023
        evaluator.write_images(own / "images.parquet")
        numbers = [evaluator.metrics(), evaluator.classes(), evaluator.protocols(), seen]
        files = {path.name: path.read_bytes() for path in sorted(own.rglob("*")) if path.is_file()}
        found.append({"numbers": json.dumps(numbers), "files": files})
    return found


@pytest.fixture(scope="module")
def thirteen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(Scenes(), "val", (32, 32), IMAGES, tmp_path_factory.mktemp("prepared")).folder


def test_every_number_table_and_picture_is_the_same_to_the_byte(thirteen: Path, tmp_path: Path) -> None:
    one, three = (together(count, evaluated, thirteen, tmp_path)[0] for count in (1, 3))
    assert one == three
    assert [len(found["files"]) for found in one] == [5, 5]
    for found in one:
        assert json.loads(found["numbers"])[-1] == [said for done in range(1, IMAGES + 1) for said in (done, IMAGES)]


def stopped(group: Group, prepared: Path) -> str:
    """The first process is asked to leave in the midst of a batch; the other waits for its next task."""
    data = View(load(prepared))
    model = build("unet-small", data.categories, data.size)
    if group.rank:
        assert group.tell() == 0
        evaluate_share(model, data, group)
        return str(group.tell())

    def report(done: int, of: int) -> None:
        if done == 3:
            raise StoppedError("a test", None)

    with pytest.raises(StoppedError):
        evaluate(model, data, report, group=group)
    return str(group.tell("the next"))


def test_a_stopped_evaluation_leaves_nobody_behind(thirteen: Path) -> None:
    assert together(2, stopped, thirteen) == ["the next"] * 2


def test_what_is_sent_is_small_and_comes_back_as_it_was() -> None:
    maps = np.array([[0, 255], [3, 4]]), np.array([[0, 1], [2, 70000]])
    segments = {number: PredictedSegment(0, 0.1 + 0.2) for number in (1, 2, 70000)}
    masks = np.array([[[True, False], [False, True]]])
    whole = Encoded.of(EvaluatedPrediction(*maps, segments, masks, np.array([1]), np.array([0.5], np.float32)))
    small = whole.small()
    assert (small.semantic.dtype, small.panoptic.dtype) == (np.uint8, np.uint32)
    back = small.restored()
    for mine, theirs in zip((back.semantic, back.panoptic), maps, strict=True):
        assert mine.dtype == theirs.dtype == np.int64
        assert (mine == theirs).all()
    assert (back.segments, back.detections) == (whole.segments, whole.detections)


def test_masks_of_another_size_are_refused() -> None:
    maps = np.zeros((2, 2), np.int64), np.zeros((2, 2), np.int64)
    with pytest.raises(ValueError, match=r"instance masks are \(1, 2, 3\)"):
        Encoded.of(EvaluatedPrediction(*maps, {}, np.zeros((1, 2, 3), bool), np.array([1]), np.array([0.5])))

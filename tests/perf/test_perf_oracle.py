"""How many images a second an oracle takes at 640x480, and what of that is reading them: a ratio in one run."""

from __future__ import annotations

import io
import sys
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.data.native.scenes import Scenes
from bench.data.scene import Scene
from bench.evaluate.evaluator import Evaluator
from bench.evaluate.oracle import WAYS, Way, predict

IMAGES = 6
NATIVE, SIZE = (480, 640), (128, 128)


def enlarged(scene: Scene) -> Scene:
    """About as many segments as an image of COCO has, at its size."""
    rows, columns = (np.arange(n) * 128 // n for n in NATIVE)
    image = np.asarray(Image.fromarray(scene.image).resize(NATIVE[::-1], Image.Resampling.BICUBIC))
    return Scene(scene.id, image, scene.segments[rows][:, columns], scene.table)


def decode(picture: bytes, labels: bytes) -> None:
    for content in (picture, labels):
        np.asarray(Image.open(io.BytesIO(content)))


@pytest.mark.perf
@pytest.mark.parametrize("way", WAYS)
def test_an_oracle_beside_decoding_its_files(benchmark: Any, capsys: pytest.CaptureFixture[str], way: Way) -> None:
    source = Scenes()
    scenes = [enlarged(source.scene("val", id)) for id in source.ids("val")[:IMAGES]]
    files = []
    for scene in scenes:
        picture, labels = io.BytesIO(), io.BytesIO()
        Image.fromarray(scene.image).save(picture, "jpeg", quality=90)
        Image.fromarray(np.repeat(scene.segments[..., None], 3, axis=2).astype(np.uint8)).save(labels, "png")
        files.append((picture.getvalue(), labels.getvalue()))

    def score() -> dict[str, object]:
        evaluator = Evaluator(source.categories, "panoptic things")
        for scene in scenes:
            prediction = predict(scene, SIZE, way)
            maps = (prediction.semantic, prediction.panoptic, prediction.segments)
            evaluator.add_encoded(scene.id, scene.segments, scene.table, None, *maps, prediction.detections)
        return evaluator.metrics()

    assert 0.5 < float(str(benchmark.pedantic(score, rounds=3)["pq"])) <= 1
    start = time.perf_counter()
    for pair in files:
        decode(*pair)
    decoding = time.perf_counter() - start
    scoring = benchmark.stats.stats.min
    benchmark.extra_info["images_per_s"] = round(IMAGES / scoring, 1)
    benchmark.extra_info["ratio_to_decoding"] = round(scoring / decoding, 1)
    segments = sum(len(scene.table) for scene in scenes) / IMAGES
    with capsys.disabled():
        sys.stdout.write(
            f"\n{way} oracle at 640x480, {segments:.0f} segments an image: {IMAGES / scoring:.0f} images/s predicted "
            f"and scored, {scoring / decoding:.1f} times decoding JPEG + PNG\n"
        )
    assert scoring / decoding < 30

"""How our in-memory PQ compares with hotcoco's (compiled, reads PNGs, uses every core), and what the protocols beside
`standard` cost, in the same run."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hotcoco.panoptic import PanopticEval

from bench.data.native.panoptic_png import write_ids
from bench.data.native.scenes import Scenes
from bench.data.prepared import prepare
from bench.data.view import View
from bench.evaluate.evaluator import EvaluatedPrediction, Evaluator
from bench.evaluate.panoptic import PanopticCounts, match, quality
from bench.predict import predictions
from models.categories import PredictedSegment, Segment
from models.registry import build

IMAGES, SIDE, SEGMENTS, K = 60, 128, 12, 20
ROUNDS = 3


def draw(rng: np.random.Generator) -> np.ndarray:
    ids = np.zeros((SIDE, SIDE), dtype=np.int64)
    for number in range(1, SEGMENTS + 1):
        top, left = rng.integers(0, SIDE - 16, size=2)
        ids[top : top + rng.integers(16, 64), left : left + rng.integers(16, 64)] = number
    return ids


def write(folder: Path, name: str, images: list[np.ndarray], tables: list[dict[int, Any]]) -> Path:
    (folder / name).mkdir()
    annotations = []
    for image, (ids, table) in enumerate(zip(images, tables, strict=True)):
        write_ids(folder / name / f"{image}.png", ids)
        infos = [
            {"id": i, "category_id": s.category + 1, "iscrowd": 0, "area": int((ids == i).sum())}
            for i, s in table.items()
        ]
        annotations.append({"image_id": image, "file_name": f"{image}.png", "segments_info": infos})
    categories = [{"id": k + 1, "name": str(k), "isthing": 1} for k in range(K)]
    sizes = [{"id": image, "height": SIDE, "width": SIDE} for image in range(len(images))]
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"images": sizes, "annotations": annotations, "categories": categories}))
    return path


def best_of(call: Callable[[], Any]) -> float:
    """Seconds of the fastest of some rounds."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


@pytest.mark.perf
def test_panoptic_matcher_against_hotcoco(benchmark: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    truths = [draw(rng) for _ in range(IMAGES)]
    predictions = [np.roll(ids, 3, axis=1) for ids in truths]
    tables = [{int(i): Segment(int(rng.integers(K)), True, False) for i in np.unique(ids) if i} for ids in truths]
    said = [{i: PredictedSegment(segment.category, 1.0) for i, segment in table.items()} for table in tables]
    paths = write(tmp_path, "truth", truths, tables), write(tmp_path, "prediction", predictions, said)

    def ours() -> PanopticCounts:
        counts = PanopticCounts.zeros(K)
        for truth, table, prediction, answer in zip(truths, tables, predictions, said, strict=True):
            counts += match(truth, table, prediction, answer, K)
        return counts

    def theirs() -> PanopticEval:
        evaluation = PanopticEval(*paths)
        evaluation.evaluate()
        return evaluation

    counts = benchmark.pedantic(ours, rounds=ROUNDS)
    assert quality(counts).pq == pytest.approx(theirs().results()["All"]["pq"], abs=1e-12)
    ratio = best_of(ours) / best_of(theirs)
    benchmark.extra_info["ratio_to_hotcoco"] = ratio
    with capsys.disabled():
        sys.stdout.write(f"\nPQ of {IMAGES} images at {SIDE}x{SIDE}: our time is {ratio:.2f} of hotcoco's\n")


@pytest.mark.perf
def test_the_protocols_cost_little_of_an_evaluation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the whole of it, the network included: an untrained U-Net, whose noisy maps have the most components."""
    source = Scenes()
    view = View(prepare(source, "val", (64, 64), 24, tmp_path, processes=1))
    torch.manual_seed(0)
    model = build("unet", view.categories, (64, 64), "panoptic").to(memory_format=torch.channels_last)
    found: list[EvaluatedPrediction] = []

    def predict() -> None:
        found[:] = [prediction for _, prediction in predictions(model, view)]

    def score(protocols: bool) -> None:
        evaluator = Evaluator(view.categories, "panoptic things", protocols=protocols)
        for image, prediction in enumerate(found):
            evaluator.add(view.ids[image], view.segments[image], view.table(image), None, prediction)
        evaluator.metrics()
        evaluator.protocols()

    network = best_of(predict)
    standard, all_of_them = (best_of(lambda on=on: score(on)) for on in (False, True))
    ratio = (network + all_of_them) / (network + standard)
    milliseconds = [1000 * seconds / len(view) for seconds in (network, standard, all_of_them)]
    with capsys.disabled():
        sys.stdout.write(
            "\nan image: network {:.1f} ms, standard numbers {:.1f} ms, with all protocols {:.1f} ms; ".format(
                *milliseconds
            )
            + f"an evaluation takes {ratio:.2f} times as long with them, scoring alone {all_of_them / standard:.1f}\n"
        )
    assert ratio < 1.6

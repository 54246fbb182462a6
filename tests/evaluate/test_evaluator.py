"""All numbers of a split in one pass, and what images.parquet keeps of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from bench.data.scene import Instance, semantic_of
from bench.evaluate.evaluator import EvaluatedPrediction, Evaluator, thing_instances
from models.categories import Categories, Category, PredictedSegment, Segment
from tests.evaluate.evaluated import evaluated

FRACTIONS = [
    *(f"{name}{part}" for part in ("", "_thing", "_stuff") for name in ("miou", "pq", "sq", "rq")),
    *("ap", "ap50", "ap75", "ar"),
]
CAT = Category(17, "cat", True, (1, 1, 1))
SKY = Category(187, "sky", False, (2, 2, 2))
TREE = Category(184, "tree", False, (3, 3, 3))
TWO = Categories((CAT, SKY, TREE))


def scene() -> tuple[np.ndarray, dict[int, Segment]]:
    """4 x 6: two cats on a sky, one column void."""
    segments = np.full((4, 6), 3)
    segments[:2, :2], segments[2:, 3:5], segments[:, 5] = 1, 2, 0
    return segments, {1: Segment(0, True, False), 2: Segment(0, True, False), 3: Segment(1, False, False)}


def perfect(segments: np.ndarray, table: dict[int, Segment]) -> EvaluatedPrediction:
    things = [number for number, segment in table.items() if segment.is_thing and (segments == number).any()]
    return EvaluatedPrediction(
        semantic_of(segments, table),
        segments,
        {i: PredictedSegment(table[i].category, 1.0) for i in table if (segments == i).any()},
        segments[None] == np.array(things, dtype=int).reshape(-1, 1, 1),
        np.array([table[i].category for i in things], dtype=int),
        np.ones(len(things)),
    )


def nothing(shape: tuple[int, int]) -> EvaluatedPrediction:
    void = np.zeros(shape, dtype=int)
    return EvaluatedPrediction(void + 255, void, {}, np.zeros((0, *shape), bool), np.empty(0, int), np.empty(0))


def test_perfect_prediction_is_one_everywhere():
    evaluator = Evaluator(TWO, "panoptic things")
    segments, table = scene()
    evaluator.add("a", segments, table, None, perfect(segments, table))
    metrics = evaluator.metrics()
    assert set(metrics) == {*FRACTIONS, "ap_classes", "instance_truth", "images"}
    assert [metrics[key] for key in FRACTIONS] == [pytest.approx(1.0)] * 16
    assert (metrics["ap_classes"], metrics["instance_truth"], metrics["images"]) == (1, "panoptic things", 1)
    json.dumps(metrics, allow_nan=False)


def test_empty_prediction_is_zero_everywhere():
    evaluator = Evaluator(TWO, "panoptic things")
    evaluator.add("a", *scene(), None, nothing((4, 6)))
    metrics = evaluator.metrics()
    assert [metrics[key] for key in FRACTIONS] == [0.0] * 16


def test_all_void_truth_and_no_image_give_none():
    evaluator = Evaluator(TWO, "panoptic things")
    assert {evaluator.metrics()[key] for key in FRACTIONS} == {None}
    assert evaluator.metrics()["images"] == 0
    evaluator.add("a", np.zeros((4, 6), int), {}, None, perfect(*scene()))
    assert {evaluator.metrics()[key] for key in FRACTIONS} == {None}
    assert evaluator.metrics()["images"] == 1


def test_things_only_has_no_stuff_numbers():
    evaluator = Evaluator(Categories((CAT,)), "panoptic things")
    segments, table = np.array([[1, 1], [0, 0]]), {1: Segment(0, True, False)}
    evaluator.add("a", segments, table, None, perfect(segments, table))
    metrics = evaluator.metrics()
    assert (metrics["miou_stuff"], metrics["pq_stuff"], metrics["sq_stuff"], metrics["rq_stuff"]) == (None,) * 4
    assert (metrics["pq"], metrics["pq_thing"]) == (1.0, 1.0)


def test_classes_carry_the_datasets_ids_and_none_where_absent():
    evaluator = Evaluator(TWO, "panoptic things")
    segments, table = scene()
    evaluator.add("a", segments, table, None, perfect(segments, table))
    cat, sky, tree = evaluator.classes()
    assert cat == {"id": 17, "name": "cat", "isthing": True} | dict.fromkeys(("iou", "pq", "sq", "rq"), 1.0) | {
        "ap": pytest.approx(1.0)
    }
    assert (sky["pq"], sky["ap"]) == (1.0, None)
    assert [tree[key] for key in ("iou", "pq", "sq", "rq", "ap")] == [None] * 5
    assert type(cat["iou"]) is float


def test_crowd_things_are_crowd_instances():
    segments, table = scene()
    table[2] = Segment(0, True, True)
    assert [instance.is_crowd for instance in thing_instances(segments, table)] == [False, True]
    evaluator = Evaluator(TWO, "panoptic things")
    prediction = perfect(segments, table)  # its second cat lies on the crowd: ignored
    evaluator.add("a", segments, table, None, prediction)
    assert evaluator.metrics()["ap"] == pytest.approx(1.0)
    assert evaluator.metrics()["pq_thing"] == 1.0


def test_the_datasets_own_instances_decide_where_they_are_the_truth():
    segments, table = scene()
    own: list[Instance] = thing_instances(segments, table)[:1]
    evaluator = Evaluator(TWO, "instances")
    with pytest.raises(ValueError, match="image a: no instance annotation"):
        evaluator.add("a", segments, table, None, perfect(segments, table))
    evaluator.add("a", segments, table, own, perfect(segments, table))
    metrics = evaluator.metrics()
    assert (metrics["instance_truth"], metrics["ar"]) == ("instances", pytest.approx(1.0))
    with pytest.raises(ValueError, match="instance truth 'masks'"):
        Evaluator(TWO, "masks")  # type: ignore[arg-type]


def test_metrics_may_be_asked_for_between_images():
    evaluator = Evaluator(TWO, "panoptic things")
    segments, table = scene()
    evaluator.add("a", segments, table, None, perfect(segments, table))
    assert evaluator.metrics()["ap"] == pytest.approx(1.0)
    evaluator.add("b", segments, table, None, nothing((4, 6)))
    assert evaluator.metrics()["ar"] == pytest.approx(0.5)
    assert evaluator.metrics()["pq"] == pytest.approx(1 / 1.5)


def broken(**changes: Any) -> EvaluatedPrediction:
    return EvaluatedPrediction(**(vars(perfect(*scene())) | changes))


@pytest.mark.parametrize(
    ("prediction", "message"),
    [
        (broken(segments={1: PredictedSegment(0, 1.0)}), "image a: the prediction has segments without a table"),
        (broken(segments={i: PredictedSegment(0, 1.0) for i in range(1, 5)}), "image a: predicted segments .4."),
        (broken(semantic=np.zeros((4, 5), int)), "image a: truth is"),
        (broken(semantic=np.full((4, 6), 9)), "image a: prediction holds labels"),
        (broken(masks=np.zeros((2, 4, 5), bool)), "image a: instance masks are"),
        (broken(scores=np.ones(3)), "image a: masks, categories and scores"),
    ],
)
def test_a_prediction_that_does_not_fit_is_refused_with_its_image(prediction: EvaluatedPrediction, message: str):
    evaluator = Evaluator(TWO, "panoptic things")
    with pytest.raises(ValueError, match=message):
        evaluator.add("a", *scene(), None, prediction)
    assert evaluator.metrics()["images"] == 0
    assert evaluator.metrics()["miou"] is None


def test_an_image_is_added_once_only():
    evaluator = Evaluator(TWO, "panoptic things")
    evaluator.add("a", *scene(), None, nothing((4, 6)))
    with pytest.raises(ValueError, match="image a was added before"):
        evaluator.add("a", *scene(), None, nothing((4, 6)))


@pytest.fixture(scope="module")
def seen(random_scenes: list[Any], categories: Categories) -> Evaluator:
    return evaluated(random_scenes[:60], categories, ties=False)


def test_metrics_can_be_recomputed_from_the_parquet_alone(seen: Evaluator, tmp_path: Path):
    path = tmp_path / "images.parquet"
    seen.write_images(path)
    assert [file.name for file in tmp_path.iterdir()] == ["images.parquet"]
    table = pd.read_parquet(path)
    rows = table[table.kind == "class"]
    assert rows.image.nunique() == 61
    sums = (
        rows[rows.category >= 0]
        .groupby("category")[["intersection", "truth", "predicted", "iou_sum", "tp", "fp", "fn"]]
        .sum()
    )
    union = sums.truth + sums.predicted - sums.intersection
    segments = sums.tp + sums.fp / 2 + sums.fn / 2
    metrics = seen.metrics()
    assert (sums.intersection / union)[union > 0].mean() == pytest.approx(metrics["miou"], abs=1e-12)
    assert (sums.iou_sum / segments)[segments > 0].mean() == pytest.approx(metrics["pq"], abs=1e-12)


def test_recall_can_be_recomputed_from_the_parquet_alone(seen: Evaluator, tmp_path: Path):
    path = tmp_path / "images.parquet"
    seen.write_images(path)
    thresholds = json.loads(pq.read_schema(path).metadata[b"iou_thresholds"])
    assert thresholds == pytest.approx(np.linspace(0.5, 0.95, 10))
    table = pd.read_parquet(path)
    detections = table[table.kind == "detection"]
    truths = table[table.kind == "class"].groupby("category").instances.sum()
    recalls = []
    for category, count in truths[truths > 0].items():
        of_class = detections[detections.category == category]
        hits = np.stack(of_class.match.to_list()) & ~np.stack(of_class.ignored.to_list())
        recalls.append(hits.sum(axis=0) / count)
    assert np.mean(recalls) == pytest.approx(seen.metrics()["ar"], abs=1e-12)
    assert detections.score.between(0, 1).all()
    assert detections.tp.isna().all()


def test_equal_evaluations_write_equal_bytes_even_when_empty(tmp_path: Path):
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for path in paths:
        Evaluator(TWO, "panoptic things").write_images(path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert len(pd.read_parquet(paths[0])) == 0


def test_evaluation_imports_no_torch():
    modules = "import sys, bench.evaluate.score, bench.evaluate.evaluator"
    script = f"{modules}; print(sorted({{'torch', 'pandas'}} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("task", "measured"),
    [("semantic", ("miou",)), ("instance", ("ap", "ar")), ("panoptic", ("miou", "pq", "sq", "rq", "ap", "ar"))],
)
def test_a_task_is_measured_by_its_own_numbers_alone(task: Any, measured: tuple[str, ...], tmp_path: Path):
    """A network trained for one task says nothing of the others: their numbers do not exist."""
    evaluator = Evaluator(TWO, "panoptic things", task=task)
    segments, table = scene()
    evaluator.add("a", segments, table, None, perfect(segments, table))
    metrics = evaluator.metrics()
    found = {key for key in FRACTIONS if metrics[key] is not None}
    assert found == {key for key in FRACTIONS if key.split("_")[0].rstrip("057") in measured}
    kept = {"semantic": {"iou"}, "instance": {"ap"}, "panoptic": {"iou", "pq", "sq", "rq", "ap"}}[task]
    cat = evaluator.classes()[0]
    assert {key for key in ("iou", "pq", "sq", "rq", "ap") if cat[key] is not None} == kept
    evaluator.write_images(tmp_path / "images.parquet")
    rows = pd.read_parquet(tmp_path / "images.parquet")
    classes = rows[rows.kind == "class"]
    assert (classes["truth"].sum() > 0) == ("miou" in measured)
    assert (classes["tp"].sum() > 0) == ("pq" in measured)
    assert ((rows.kind == "detection").sum() > 0) == ("ap" in measured)

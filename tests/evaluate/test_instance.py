"""AP: hand cases, and hotcoco's COCOeval on random scenes with crowds, equal scores and empty predictions."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import hotcoco
import numpy as np
import pytest
from pycocotools import mask as rle_codec
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bench.data.scene import Instance
from bench.evaluate.detections import Detections, encode, encode_masks
from bench.evaluate.evaluator import thing_instances
from bench.evaluate.instance import COCO_IOU, InstanceAccumulator

K = 3
SIDE = 10


def strip(start: int, stop: int) -> np.ndarray:
    """(1, SIDE, SIDE) mask of whole columns."""
    mask = np.zeros((1, SIDE, SIDE), dtype=bool)
    mask[:, :, start:stop] = True
    return mask


def truth(start: int, stop: int, category: int = 0, crowd: bool = False) -> Instance:
    return Instance(category, crowd, encode_masks(strip(start, stop))[0])


def found(*items: tuple[int, int, int, float]) -> Detections:
    """Detections from (start, stop, category, score)."""
    masks = np.concatenate([np.empty((0, SIDE, SIDE), dtype=bool), *(strip(a, b) for a, b, _, _ in items)])
    return encode(masks, np.array([item[2] for item in items], dtype=int), np.array([item[3] for item in items]))


def scored(*images: tuple[list[Instance], Detections], **options: Any):
    accumulator = InstanceAccumulator(K, **options)
    for instances, detections in images:
        accumulator.add(instances, detections)
    return accumulator.result()


def test_perfect_is_one_and_classes_counts_those_with_truth():
    result = scored(([truth(0, 5)], found((0, 5, 0, 0.9), (5, 9, 1, 0.9))))
    assert (result.ap, result.ap50, result.ap75, result.ar) == (pytest.approx(1.0),) * 4
    assert result.classes == 1  # category 1 was only predicted, so it does not count
    assert result.ap_per_class == [pytest.approx(1.0), None, None]


def test_nothing_predicted_is_zero_where_there_is_truth():
    result = scored(([truth(0, 5)], Detections.none()))
    assert (result.ap, result.ap50, result.ap75, result.ar) == (0.0, 0.0, 0.0, 0.0)
    assert result.classes == 1


@pytest.mark.parametrize("detections", [Detections.none(), found((0, 5, 0, 0.9))])
@pytest.mark.parametrize("instances", [[], [truth(0, 5, crowd=True)]])
def test_no_truth_is_none(instances: list[Instance], detections: Detections):
    result = scored((instances, detections))
    assert (result.ap, result.ap50, result.ap75, result.ar, result.classes) == (None, None, None, None, 0)
    assert result.ap_per_class == [None] * K


def test_no_image_is_none():
    assert scored().ap is None


def test_thresholds_met_by_hand():
    # 8 of 10 columns: IoU 0.8 meets .50 .. .80, seven of the ten thresholds
    result = scored(([truth(0, 10)], found((0, 8, 0, 0.9))))
    assert (result.ap50, result.ap75) == (pytest.approx(1.0), pytest.approx(1.0))
    assert result.ap == pytest.approx(0.7)
    assert result.ar == pytest.approx(0.7)


def test_a_false_positive_above_the_hit_halves_the_precision():
    result = scored(([truth(0, 5)], found((6, 9, 0, 0.9), (0, 5, 0, 0.8))))
    assert result.ap == pytest.approx(0.5)
    assert result.ar == pytest.approx(1.0)


def test_a_detection_inside_a_crowd_counts_neither_way():
    accumulator = InstanceAccumulator(K)
    counted = accumulator.add([truth(0, 4), truth(5, 10, crowd=True)], found((5, 7, 0, 0.9), (0, 4, 0, 0.8)))
    assert counted.tolist() == [1, 0, 0]
    assert accumulator.result().ap == pytest.approx(1.0)
    table = accumulator.table()
    assert table.score.tolist() == [0.9, 0.8]
    assert table.matched.all()
    assert table.ignored.tolist() == [[True] * 10, [False] * 10]


def test_the_first_instance_of_an_image_can_be_matched():
    """Annotation ids from 0 would make it a miss."""
    assert scored(([truth(0, 5)], found((0, 5, 0, 0.1)))).ap50 == pytest.approx(1.0)


def test_a_grid_without_one_half_has_no_ap50():
    grid = np.linspace(0.30, 0.95, 10)
    result = scored(([truth(0, 10)], found((0, 8, 0, 0.9))), iou_thresholds=grid)
    assert (result.ap50, result.ap75) == (None, None)
    assert result.ap == pytest.approx(np.mean(grid <= 0.8))


def test_a_hundred_detections_of_an_image_are_kept_by_score():
    low = [(6, 9, 1, 0.5)] * 99
    assert scored(([truth(0, 5)], found(*low, (0, 5, 0, 0.4)))).ap == pytest.approx(1.0)
    assert scored(([truth(0, 5)], found(*low, (6, 9, 1, 0.5), (0, 5, 0, 0.4)))).ap == 0.0


@pytest.mark.parametrize(("limit", "kept"), [(100, 100), (None, 150)])
def test_the_limit_holds_for_encoded_detections_over_all_categories(limit: int | None, kept: int):
    scores = np.linspace(0, 1, 150)
    encoded = Detections(found((0, 5, 0, 0.4)).rles * 150, np.arange(150) % 2, scores)
    accumulator = InstanceAccumulator(K, limit=limit)
    accumulator.add([], encoded)
    assert sorted(accumulator.table().score) == scores[-kept:].tolist()


def test_equal_scores_keep_their_order():
    hit, miss = (0, 5, 0, 0.5), (6, 9, 0, 0.5)
    assert scored(([truth(0, 5)], found(hit, miss))).ap == pytest.approx(1.0)
    assert scored(([truth(0, 5)], found(miss, hit))).ap == pytest.approx(0.5)


def test_truth_without_pixels_is_left_out():
    assert scored(([truth(0, 5), truth(3, 3)], found((0, 5, 0, 0.9)))).ar == pytest.approx(1.0)


def test_inputs_are_checked():
    accumulator = InstanceAccumulator(K)
    with pytest.raises(ValueError, match=r"expected 0 \.\. 2"):
        accumulator.add([], found((0, 5, 7, 0.9)))
    with pytest.raises(ValueError, match="different sizes"):
        accumulator.add([Instance(0, False, encode_masks(np.ones((1, 4, 4), dtype=bool))[0])], found((0, 5, 0, 0.9)))
    with pytest.raises(ValueError, match="finite"):
        found((0, 5, 0, float("nan")))
    with pytest.raises(ValueError, match=r"expected \(N, H, W\)"):
        encode(strip(0, 5), np.zeros(2), np.zeros(1))
    with pytest.raises(ValueError, match="threshold"):
        InstanceAccumulator(K, iou_thresholds=[])
    assert accumulator.images == 0


def random_detections(scene: Any, seed: int) -> Detections:
    """True things moved a little, some relabelled or missing, and the predicted things; many scores are equal."""
    rng = np.random.default_rng(seed)
    masks, categories, scores = [], [], []
    for number, segment in scene.table.items():
        if segment.is_thing and rng.random() < 0.8:
            masks.append(np.roll(scene.truth == number, rng.integers(0, 2), axis=1))
            categories.append(segment.category if rng.random() < 0.85 else 2)
            scores.append(rng.integers(3, 10) / 10)
    for number, predicted in scene.segments.items():
        if predicted.category % 2 == 0:
            masks.append(scene.prediction == number)
            categories.append(predicted.category)
            scores.append(rng.integers(1, 7) / 10)
    stacked = np.array(masks, dtype=bool).reshape(-1, *scene.truth.shape)
    return encode(stacked, np.array(categories, dtype=int), np.array(scores, dtype=float))


def as_coco(scenes: list[Any], most: int = 100) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """COCO's annotations and results of the scenes; `most`: results of an image."""
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image, scene in enumerate(scenes):
        for instance in thing_instances(scene.truth, scene.table):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": instance.category,
                    "iscrowd": int(instance.is_crowd),
                    "segmentation": as_text(instance.rle),
                    "area": float(rle_codec.area(instance.rle)),
                    "bbox": rle_codec.toBbox(instance.rle).tolist(),
                }
            )
        detections = random_detections(scene, image).best(most)
        for rle, category, score in zip(detections.rles, detections.categories, detections.scores, strict=True):
            row = {"image_id": image, "category_id": int(category), "score": float(score)}
            results.append({**row, "segmentation": as_text(rle)})
    height, width = scenes[0].truth.shape
    images = [{"id": image, "height": height, "width": width} for image in range(len(scenes))]
    categories = [{"id": k, "name": str(k)} for k in range(7)]
    return {"images": images, "annotations": annotations, "categories": categories}, results


def as_text(rle: dict[str, Any]) -> dict[str, Any]:
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


@pytest.fixture(scope="module")
def ours(random_scenes: list[Any]) -> InstanceAccumulator:
    accumulator = InstanceAccumulator(7)
    for image, scene in enumerate(random_scenes):
        accumulator.add(thing_instances(scene.truth, scene.table), random_detections(scene, image))
    return accumulator


@pytest.fixture(scope="module")
def referee(random_scenes: list[Any]) -> Any:
    dataset, results = as_coco(random_scenes)
    truth_set = hotcoco.COCO(dataset)
    evaluation = hotcoco.COCOeval(truth_set, truth_set.loadRes(results), "segm")
    evaluation.run()
    return evaluation


def test_equals_hotcoco_on_random_scenes(ours: InstanceAccumulator, referee: Any):
    result, stats = ours.result(), referee.stats
    assert 0.05 < stats[0] < 0.95
    assert (result.ap, result.ap50, result.ap75, result.ar) == pytest.approx(tuple(stats[[0, 1, 2, 8]]), abs=1e-12)
    per_class = referee.results(per_class=True)["per_class"]
    for k, value in enumerate(result.ap_per_class):
        if value is not None:
            assert value == pytest.approx(per_class[str(k)], abs=1e-12)
    assert result.classes == sum(value is not None for value in result.ap_per_class) == 3


def test_hotcoco_equals_pycocotools_in_all_twelve_numbers(random_scenes: list[Any], referee: Any):
    """So that either may serve: pycocotools for a record, hotcoco where speed counts."""
    dataset, results = as_coco(random_scenes)
    with contextlib.redirect_stdout(io.StringIO()):
        truth_set = COCO()
        truth_set.dataset = dataset
        truth_set.createIndex()
        evaluation = COCOeval(truth_set, truth_set.loadRes(results), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    np.testing.assert_allclose(referee.stats, evaluation.stats, rtol=0, atol=1e-12)


def test_the_average_precision_follows_from_the_table(ours: InstanceAccumulator, random_scenes: list[Any]):
    """What bootstrap needs: scores, matches, ignored flags and the number of true instances."""
    table = ours.table()
    kept = [thing_instances(scene.truth, scene.table) for scene in random_scenes]
    for category in range(0, 5, 2):
        truths = sum(i.category == category and not i.is_crowd for instances in kept for i in instances)
        rows = np.flatnonzero(table.category == category)
        rows = rows[np.argsort(-table.score[rows], kind="stable")]
        values = [ap_by_hand(table.matched[rows, t], table.ignored[rows, t], truths) for t in range(10)]
        assert ours.result().ap_per_class[category] == pytest.approx(np.mean(values), abs=1e-9)


def ap_by_hand(matched: np.ndarray, ignored: np.ndarray, truths: int) -> float:
    hits = np.cumsum((matched & ~ignored)[~ignored])
    precision = hits / np.arange(1, len(hits) + 1)
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    places = np.searchsorted(hits / truths, np.linspace(0, 1, 101), side="left")
    return float(envelope[places].mean())


def referee_at(scenes: list[Any], thresholds: Sequence[float], most: int = 100) -> Any:
    """pycocotools' COCOeval over all scenes at once."""
    dataset, results = as_coco(scenes, most)
    with contextlib.redirect_stdout(io.StringIO()):
        truth_set = COCO()
        truth_set.dataset = dataset
        truth_set.createIndex()
        evaluation = COCOeval(truth_set, truth_set.loadRes(results), "segm")
        evaluation.params.iouThrs = np.array(thresholds)
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][:, :, :, 0, -1]


FURTHER = (0.3, 0.35, 0.7, 1.0)


@pytest.fixture(scope="module")
def ours_with_further(random_scenes: list[Any]) -> InstanceAccumulator:
    accumulator = InstanceAccumulator(7, also=FURTHER)
    for image, scene in enumerate(random_scenes):
        accumulator.add(thing_instances(scene.truth, scene.table), random_detections(scene, image))
    return accumulator


def test_each_further_threshold_is_what_pycocotools_gives_for_it_alone(
    ours_with_further: InstanceAccumulator, random_scenes: list[Any]
):
    found = ours_with_further.average_precision([(threshold,) for threshold in FURTHER])
    for threshold, value in zip(FURTHER, found, strict=True):
        precision = referee_at(random_scenes, [threshold])
        assert value == precision[precision > -1].mean()
    assert found[0] > found[2] > found[3] > 0  # some random things are found to the pixel


@pytest.mark.parametrize("most", [1, 2, 3, 5, 100])
def test_a_cap_is_what_pycocotools_gives_when_only_so_many_are_handed_in(
    ours_with_further: InstanceAccumulator, random_scenes: list[Any], most: int
):
    """A match never depends on detections of lower score, so one matching serves every cap."""
    precision = referee_at(random_scenes, COCO_IOU, most)
    assert ours_with_further.average_precision([COCO_IOU], most) == [precision[precision > -1].mean()]


def test_the_caps_of_the_test_bind(ours_with_further: InstanceAccumulator):
    values = [ours_with_further.average_precision([COCO_IOU], most)[0] for most in (1, 2, 3, 5, 100)]
    assert len(set(values)) == 5


def test_further_thresholds_change_nothing_else(ours: InstanceAccumulator, ours_with_further: InstanceAccumulator):
    assert ours.result() == ours_with_further.result()
    assert ours.average_precision([COCO_IOU]) == [ours.result().ap]
    one, other = ours.table(), ours_with_further.table()
    for name, column in vars(one).items():
        np.testing.assert_array_equal(column, vars(other)[name])


def test_hotcoco_agrees_on_the_further_thresholds(ours_with_further: InstanceAccumulator, random_scenes: list[Any]):
    dataset, results = as_coco(random_scenes)
    truth_set = hotcoco.COCO(dataset)
    evaluation = hotcoco.COCOeval(truth_set, truth_set.loadRes(results), "segm")
    evaluation.params.iouThrs = list(FURTHER)
    evaluation.evaluate()
    evaluation.accumulate()
    precision = np.asarray(evaluation.eval["precision"])[:, :, :, 0, -1]
    expected = precision[precision > -1].mean()
    assert ours_with_further.average_precision([FURTHER])[0] == pytest.approx(expected, abs=1e-12)


def test_an_iou_threshold_of_one_takes_equal_masks_alone():
    for stop, expected in ((5, 1.0), (4, 0.0)):
        accumulator = InstanceAccumulator(K, also=(1.0,))
        accumulator.add([truth(0, 5)], found((0, stop, 0, 0.9)))
        assert accumulator.average_precision([(1.0,)]) == [pytest.approx(expected)]


def test_one_pixel_of_nine_hundred_makes_ap_at_one_zero():
    mask = np.zeros((1, 40, 40), dtype=bool)
    mask[0, 5:35, 5:35] = True
    short = mask.copy()
    short[0, 5, 5] = False
    accumulator = InstanceAccumulator(K, also=(1.0,))
    accumulator.add([Instance(0, False, encode_masks(mask)[0])], encode(short, np.zeros(1, int), np.ones(1)))
    assert accumulator.average_precision([(1.0,), COCO_IOU]) == [0.0, pytest.approx(1.0)]


def test_a_threshold_that_was_not_matched_is_refused(ours: InstanceAccumulator):
    with pytest.raises(ValueError, match=r"at IoU 0\.3"):
        ours.average_precision([(0.3,)])


def test_asking_between_images_is_not_remembered():
    accumulator = InstanceAccumulator(K)
    accumulator.add([truth(0, 5)], found((0, 5, 0, 0.9)))
    assert accumulator.average_precision([(0.5,)]) == [pytest.approx(1.0)]
    accumulator.add([truth(0, 5)], Detections.none())
    assert accumulator.average_precision([(0.5,)])[0] == pytest.approx(51 / 101)
    assert InstanceAccumulator(K).average_precision([(0.5,), (0.7,)]) == [None, None]


def test_prints_nothing(capsys: pytest.CaptureFixture[str]):
    scored(([truth(0, 5)], found((0, 5, 0, 0.9))))
    assert capsys.readouterr().out == ""

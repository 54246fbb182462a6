"""The truth resized and back as a prediction: cases worked by hand, a dense implementation, real COCO."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle_codec

from bench.data.catalog import DataRoots, Missing, find
from bench.data.native.coco_instances import text_rle
from bench.data.native.scenes import Scenes
from bench.data.scene import Instance, Scene
from bench.evaluate.evaluator import Evaluator
from bench.evaluate.native import NativeResult, evaluate_oracle
from bench.evaluate.oracle import WAYS, Loss, OraclePrediction, Way, predict, way_of
from bench.evaluate.panoptic import match
from models.categories import Categories, Category, PredictedSegment, Segment

TABLE = Categories(
    (
        Category(1, "cat", True, (255, 0, 0)),
        Category(2, "dog", True, (0, 255, 0)),
        Category(3, "sky", False, (0, 0, 255)),
    )
)
CAT, DOG, SKY = 0, 1, 2


def scene_of(
    segments: np.ndarray, categories: Sequence[int], crowd: Sequence[int] = (), instances: list[Instance] | None = None
) -> Scene:
    """Segment n has the n-th category; those in `crowd` are crowds."""
    table = {n: Segment(k, TABLE.is_thing[k], n in crowd) for n, k in enumerate(categories, start=1)}
    image = np.zeros((*segments.shape, 3), dtype=np.uint8)
    return Scene("one", image, segments.astype(np.int32), table, instances)


def instance(mask: np.ndarray, category: int, crowd: bool = False) -> Instance:
    return Instance(category, crowd, text_rle(rle_codec.encode(np.asfortranarray(mask, dtype=np.uint8))))


def scores(scene: Scene, prediction: OraclePrediction, categories: Categories = TABLE) -> dict[str, object]:
    evaluator = Evaluator(categories, "panoptic things" if scene.instances is None else "instances")
    truth = (scene.segments, scene.table, scene.instances)
    maps = (prediction.semantic, prediction.panoptic, prediction.segments)
    evaluator.add_encoded(scene.id, *truth, *maps, prediction.detections)
    return evaluator.metrics()


def thing_in_sky(columns: int, number: int = 1) -> Scene:
    """8x8: a cat in the first columns, sky in the rest; the cat is segment `number`, 1 or 2."""
    segments = np.full((8, 8), 3 - number)
    segments[:, :columns] = number
    return scene_of(segments, (CAT, SKY) if number == 1 else (SKY, CAT))


@pytest.mark.parametrize("way", ["nearest", "bilinear"])
@pytest.mark.parametrize("index", range(12))
def test_at_its_native_size_nothing_is_lost(way: Way, index: int) -> None:
    source = Scenes()
    scene = source.scene("val", f"val-{index:06d}")
    prediction = predict(scene, (128, 128), way)
    found = scores(scene, prediction, source.categories)
    ones = [found[key] for key in ("miou", "pq", "sq", "rq", "ap", "ar")]
    assert ones == pytest.approx([1.0] * 6)
    assert prediction.lost.things.vanished == prediction.lost.stuff.vanished == prediction.lost.instances.vanished == 0
    assert prediction.lost.things.total == sum(s.is_thing and not s.is_crowd for s in scene.table.values())


@pytest.mark.parametrize("way", ["nearest", "bilinear"])
def test_a_thing_of_one_pixel_vanishes(way: Way) -> None:
    segments = np.full((8, 8), 2)
    segments[0, 0] = 1  # nearest looks at odd rows and columns; averaged, it is a quarter of its cell
    scene = scene_of(segments, (CAT, SKY))
    prediction = predict(scene, (4, 4), way)
    found = scores(scene, prediction)
    assert found["pq"] == found["miou"] == pytest.approx((0 + 63 / 64) / 2)
    assert found["ap"] == 0.0
    assert prediction.lost == type(prediction.lost)(Loss(1, 1), Loss(1, 0), Loss(1, 1))
    assert list(prediction.segments) == [2]


def test_masks_of_a_quarter_of_the_size_lose_what_is_under_half_a_cell() -> None:
    """8x8 has 2x2 masks. A cat of two columns is half of its cells, of one column a quarter."""
    kept, gone = (predict(thing_in_sky(columns), (8, 8), "stride4") for columns in (2, 1))
    assert (kept.panoptic == thing_in_sky(2).segments).all()
    assert scores(thing_in_sky(2), kept)["ap"] == pytest.approx(1.0)
    assert gone.lost.things == gone.lost.instances == Loss(1, 1)
    assert (gone.semantic == SKY).all()


def test_equal_weights_go_to_the_first_segment() -> None:
    second = predict(thing_in_sky(2, number=2), (8, 8), "stride4")
    assert (second.panoptic == 1).all()
    assert second.lost.things == Loss(1, 1)
    assert second.lost.instances == Loss(1, 0)  # by itself it does have half the weight


@pytest.mark.parametrize(("size", "quarter"), [((128, 128), (32, 32)), ((48, 64), (12, 16)), ((10, 9), (3, 3))])
def test_stride_4_is_the_bilinear_one_at_a_quarter_of_the_size(size: tuple[int, int], quarter: tuple[int, int]) -> None:
    scene = Scenes().scene("val", "val-000003")
    first, second = predict(scene, size, "stride4"), predict(scene, quarter, "bilinear")
    assert (first.panoptic == second.panoptic).all()
    assert first.detections.rles == second.detections.rles


def test_void_is_given_away_where_a_segment_reaches_and_kept_where_none_does() -> None:
    segments = np.zeros((8, 8))
    segments[:, :4] = 1
    prediction = predict(scene_of(segments, (SKY,)), (2, 2), "bilinear")
    assert (prediction.semantic[:, :6] == SKY).all()  # the cells' centres are at 1.5 and 5.5
    assert (prediction.semantic[:, 6:] == 255).all()
    assert (prediction.panoptic == (prediction.semantic == SKY)).all()
    assert (predict(scene_of(segments, (SKY,)), (2, 2), "nearest").panoptic == segments).all()


@pytest.mark.parametrize("way", ["nearest", "bilinear"])
def test_a_crowd_is_in_the_semantic_map_alone(way: Way) -> None:
    segments = np.repeat([[1, 1, 2, 2, 3, 3, 4, 4]], 8, axis=0)
    scene = scene_of(segments, (CAT, CAT, SKY, DOG), crowd=(1, 2))
    prediction = predict(scene, (8, 8), way)
    assert (prediction.semantic[:, :4] == CAT).all()
    assert (prediction.panoptic[:, :4] == 0).all()
    assert prediction.detections.categories.tolist() == [DOG]
    assert prediction.lost.things == prediction.lost.instances == Loss(1, 0)
    found = scores(scene, prediction)
    assert (found["miou"], found["pq"], found["ap"]) == (1.0, 1.0, pytest.approx(1.0))
    said = {n: PredictedSegment(segment.category, 1.0) for n, segment in scene.table.items()}
    assert match(segments, scene.table, segments, said, 3).fp.tolist() == [1, 0, 0]  # what predicting it would cost


@pytest.mark.parametrize("way", WAYS)
def test_the_datasets_own_instances_may_overlap(way: Way) -> None:
    left, upper, crowd = np.zeros((8, 8)), np.zeros((8, 8)), np.ones((8, 8))
    left[:, :4], upper[:4] = 1, 1
    own = [instance(left, CAT), instance(upper, DOG), instance(crowd, DOG, True), instance(0 * left, CAT)]
    scene = scene_of(np.full((8, 8), 1), (SKY,), instances=own)
    prediction = predict(scene, (8, 8), way)
    masks = [rle_codec.decode(rle) for rle in prediction.detections.rles]
    assert len(masks) == 2
    assert (masks[0] == left).all()
    assert (masks[1] == upper).all()
    assert prediction.detections.scores.tolist() == [1.0, 1.0]
    assert prediction.lost.instances == Loss(2, 0)  # neither the crowd nor the empty mask counts
    assert scores(scene, prediction)["ap"] == pytest.approx(1.0)


def averaged_by_hand(scene: Scene, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """All masks at once, by PIL: labels, and how much the winner is ahead."""
    height, width = scene.segments.shape
    weights = [np.full((height, width), 1e-9)]
    for number in scene.table:
        low = Image.fromarray((scene.segments == number).astype(np.float32)).resize(size[::-1], Image.Resampling.BOX)
        weights.append(np.asarray(low.resize((width, height), Image.Resampling.BILINEAR)))
    ordered = np.sort(weights, axis=0)
    return np.argmax(weights, axis=0), ordered[-1] - ordered[-2]


@pytest.mark.parametrize("size", [(64, 64), (32, 64), (16, 8)])
def test_the_running_argmax_is_the_one_over_all_masks(size: tuple[int, int]) -> None:
    for index in range(5):
        scene = Scenes().scene("val", f"val-{index:06d}")
        crowds = [number for number, segment in scene.table.items() if segment.is_crowd]
        labels, ahead = averaged_by_hand(scene, size)
        sure = (ahead > 1e-6) & ~np.isin(labels, crowds)
        assert sure.mean() > 0.9
        assert (predict(scene, size, "bilinear").panoptic == labels)[sure].all()


def test_an_image_of_void_alone_predicts_nothing() -> None:
    prediction = predict(scene_of(np.zeros((8, 8)), ()), (4, 4), "bilinear")
    assert prediction.segments == {}
    assert not prediction.panoptic.any()
    assert prediction.lost == type(prediction.lost)()


def run(size: tuple[int, int], way: Way, count: int, samples: Path | None = None) -> NativeResult:
    ids = Scenes().ids("val")[:count]
    said: list[tuple[int, int]] = []
    result = evaluate_oracle(Scenes(), "val", ids, size, way, "panoptic", lambda *done: said.append(done), samples)
    assert said == [(n, count) for n in range(1, count + 1)]
    return result


def test_a_split_loses_what_its_images_lose() -> None:
    source, found = Scenes(), run((16, 16), "bilinear", 4).lost
    losses = [predict(source.scene("val", id), (16, 16), "bilinear").lost for id in source.ids("val")[:4]]
    for name in ("things", "stuff", "instances"):
        parts = [getattr(one, name) for one in losses]
        assert getattr(found, name) == Loss(sum(p.total for p in parts), sum(p.vanished for p in parts))
    assert sum(one.things.vanished > 0 for one in losses) > 1


def test_one_truth_has_one_hash_at_every_size() -> None:
    results = [run((64, 64), "nearest", 3), run((32, 32), "stride4", 3), run((64, 64), "nearest", 4)]
    first, second, longer = (result.truth_hash for result in results)
    assert first == second != longer


def test_a_changed_pixel_or_category_changes_the_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = {run((32, 32), "nearest", 2).truth_hash}
    draw = Scenes.scene

    def other_pixel(source: Scenes, split: str, id: str) -> Scene:
        scene = draw(source, split, id)
        segments = scene.segments.copy()
        segments[0, 0] = 3 - segments[0, 0] if segments[0, 0] in (1, 2) else 1
        return dataclasses.replace(scene, segments=segments)

    def other_crowd(source: Scenes, split: str, id: str) -> Scene:
        scene = draw(source, split, id)
        return dataclasses.replace(scene, table={**scene.table, 1: scene.table[1]._replace(is_crowd=True)})

    for change in (other_pixel, other_crowd):
        monkeypatch.setattr(Scenes, "scene", change)
        hashes.add(run((32, 32), "nearest", 2).truth_hash)
    assert len(hashes) == 3


def test_a_smaller_size_costs_more_and_pictures_are_kept(tmp_path: Path) -> None:
    large, small = (run((side, side), "bilinear", 6, tmp_path).evaluator.metrics() for side in (64, 16))
    assert all(large[key] > small[key] for key in ("miou", "pq", "ap"))  # type: ignore[operator]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{n}-val-{n:06}.png" for n in range(4)]
    assert Image.open(tmp_path / "0-val-000000.png").size == (3 * 128, 128)


def test_only_oracles_have_a_way() -> None:
    assert [way_of(f"oracle-{way}") for way in WAYS] == list(WAYS)
    with pytest.raises(ValueError, match="no oracle is named 'unet'"):
        way_of("unet")


def test_on_real_coco_the_bilinear_one_beats_the_nearest(shared_data: Path) -> None:
    source = find("coco", DataRoots({"coco": shared_data / "coco_panoptic"}))
    assert not isinstance(source, Missing)
    ids = source.ids("val")
    found = {
        way: evaluate_oracle(source, "val", ids, (128, 128), way, "panoptic", lambda *_: None).evaluator.metrics()["pq"]
        for way in WAYS
    }
    assert found["nearest"] == pytest.approx(0.89, abs=0.01)
    assert found["bilinear"] == pytest.approx(0.95, abs=0.01)
    assert found["stride4"] < 0.8  # type: ignore[operator]

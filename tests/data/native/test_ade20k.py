from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data.catalog import DataRoots, find
from bench.data.native.ade20k import Ade20k
from bench.data.native.coco_panoptic import CocoPanoptic
from bench.data.native.panoptic_png import write_ids
from bench.data.scene import Scene, semantic_of
from bench.errors import UserError
from models.categories import Segment
from tests.data.layouts import Layout, write_ade20k

SKY, ROAD, PERSON, CAR = 2, 6, 12, 20  # indices: the label less one
INSTANCE_CLASS = {9: CAR, 4: PERSON}  # of the 100, by CSAILVision/placeschallenge
FIRST, LAST = "ADE_train_00000001", "ADE_val_00000002"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return write_ade20k(tmp_path)


def png(layout: Layout, kind: str, id: str) -> Path:
    return layout.folder / kind / {"tra": "training", "val": "validation"}[id[4:7]] / f"{id}.png"


def pixels(layout: Layout, kind: str, id: str) -> np.ndarray:
    return np.asarray(Image.open(png(layout, kind, id)))


def category_of(scene: Scene) -> np.ndarray:
    return semantic_of(scene.segments, scene.table)


def test_lists_the_images_of_both_splits_in_order(layout: Layout) -> None:
    source = Ade20k(layout.folder)
    assert {split: source.ids(split) for split in source.splits} == layout.ids
    assert source.has_instances("val") is False


@pytest.mark.parametrize("id", [FIRST, LAST])
def test_stuff_comes_first_and_numbered_instances_lie_over_it(layout: Layout, id: str) -> None:
    source = Ade20k(layout.folder)
    scene = source.scene(id[4:].split("_")[0], id)
    semantic, objects = pixels(layout, "annotations", id), pixels(layout, "annotations_instance", id)
    by_pixel = {  # worked out pixel by pixel: an instance, else a stuff class, else void
        (y, x): (int(objects[y, x, 0]), int(objects[y, x, 1])) if objects[y, x, 1] else int(semantic[y, x])
        for y in range(semantic.shape[0])
        for x in range(semantic.shape[1])
    }
    owners = {}
    for (y, x), what in by_pixel.items():
        number = int(scene.segments[y, x])
        if isinstance(what, tuple):
            assert scene.table[number] == Segment(INSTANCE_CLASS[what[0]], True, False)
        elif what in (SKY + 1, ROAD + 1):
            assert scene.table[number] == Segment(what - 1, False, False)
        else:
            assert number == 0
            continue
        assert owners.setdefault(number, what) == what
    assert sorted(owners) == sorted(scene.table) == list(range(1, len(scene.table) + 1))
    assert len(set(owners.values())) == len(owners)
    kinds = [isinstance(owners[number], tuple) for number in sorted(owners)]
    assert kinds == sorted(kinds)  # stuff has the lower numbers


def test_a_thing_pixel_without_an_instance_is_void(layout: Layout) -> None:
    scene = Ade20k(layout.folder).scene("train", FIRST)
    semantic, objects = pixels(layout, "annotations", FIRST), pixels(layout, "annotations_instance", FIRST)
    uncovered = (semantic == CAR + 1) & (objects[..., 1] == 0)
    assert uncovered.sum() > 50
    assert (scene.segments[uncovered] == 0).all()
    assert (category_of(scene)[uncovered] == 255).all()


def test_an_instance_wins_over_another_class(layout: Layout) -> None:
    scene = Ade20k(layout.folder).scene("train", FIRST)
    semantic, objects = pixels(layout, "annotations", FIRST), pixels(layout, "annotations_instance", FIRST)
    beside = (objects[..., 0] == 4) & (semantic != PERSON + 1)
    assert beside.any()
    assert (category_of(scene)[beside] == PERSON).all()


def test_the_semantic_task_has_the_semantic_annotation_whole(layout: Layout) -> None:
    source = Ade20k(layout.folder)
    semantic_source = source.for_task("semantic")
    for split in ("train", "val"):
        assert semantic_source.ids(split) == source.ids(split)
        for id in source.ids(split):
            scene = semantic_source.scene(split, id)
            raw = pixels(layout, "annotations", id).astype(int)
            assert np.array_equal(category_of(scene), np.where(raw == 0, 255, raw - 1))
            assert len({segment.category for segment in scene.table.values()}) == len(scene.table)
            assert not any(segment.is_thing or segment.is_crowd for segment in scene.table.values())
    for task in ("panoptic", "instance"):
        assert source.for_task(task).scene("val", LAST).table == source.scene("val", LAST).table
        assert semantic_source.for_task(task).fingerprint("val") == source.fingerprint("val")
    assert semantic_source.fingerprint("val") != source.fingerprint("val")
    assert semantic_source.form != source.form


def test_without_instances_the_semantic_task_runs_and_the_others_say_why(tmp_path: Path) -> None:
    layout = write_ade20k(tmp_path, instances=False)
    source = find("ade20k", DataRoots(root=tmp_path))
    assert source.for_task("semantic").scene("val", LAST).table
    for task in ("panoptic", "instance"):
        with pytest.raises(UserError, match=rf"the {task} task needs the instance annotation.*annotations_instance"):
            source.for_task(task)
    (layout.folder / "annotations_instance" / "training").mkdir(parents=True)
    with pytest.raises(UserError, match=r"no .*annotations_instance/validation") as caught:
        find("ade20k", DataRoots(root=tmp_path)).for_task("panoptic")
    assert "\n" not in str(caught.value)


def write_panoptic_json(layout: Layout, split: str) -> None:
    """What prepare_ade20k_pan_seg.py of Mask2Former makes: ids 0 .. 149, one id for each stuff class and instance."""
    images, annotations = [], []
    categories = [
        {"id": e.id - 1, "name": e.name, "isthing": int(e.isthing)} for e in Ade20k(layout.folder).categories.entries
    ]
    things = [row["id"] for row in categories if row["isthing"]]
    folder = layout.folder / f"ade20k_panoptic_{split}"
    folder.mkdir()
    for id in layout.ids[split]:
        semantic, objects = pixels(layout, "annotations", id), pixels(layout, "annotations_instance", id)
        ids, infos = np.zeros(semantic.shape, dtype=int), []
        for label in sorted(set(semantic.ravel().tolist()) - {0}):
            if label - 1 not in things:
                ids[semantic == label] = 1000 + label
                infos.append({"id": 1000 + label, "category_id": label - 1, "iscrowd": 0})
        for number in sorted(set(objects[..., 1].ravel().tolist()) - {0}):
            mask = objects[..., 1] == number
            ids[mask] = 2000 + number
            infos.append({"id": 2000 + number, "category_id": things[objects[mask][0, 0] - 1], "iscrowd": 0})
        infos = [info for info in infos if (ids == info["id"]).any()]
        write_ids(folder / f"{id}.png", ids)
        images.append({"id": id, "file_name": f"{id}.jpg"})
        annotations.append({"image_id": id, "file_name": f"{id}.png", "segments_info": infos})
    content = {"images": images, "annotations": annotations, "categories": categories}
    folder.with_suffix(".json").write_text(json.dumps(content))


def test_the_panoptic_json_gives_the_same_scenes_and_serves_where_instances_are_missing(tmp_path: Path) -> None:
    layout = write_ade20k(tmp_path)
    for split in layout.ids:
        write_panoptic_json(layout, split)
    native = find("ade20k", DataRoots(root=tmp_path))
    assert isinstance(native, Ade20k)  # the published files come first
    scenes = {id: native.scene(split, id) for split, ids in layout.ids.items() for id in ids}
    fingerprint = native.fingerprint("val")
    shutil.rmtree(layout.folder / "annotations_instance")
    converted = find("ade20k", DataRoots(root=tmp_path))
    assert isinstance(converted, CocoPanoptic)
    assert converted.form != native.form
    assert converted.fingerprint("val") != fingerprint
    for split, ids in layout.ids.items():
        for id in ids:
            scene = converted.scene(split, id)
            assert np.array_equal(scene.segments, scenes[id].segments)
            assert scene.table == scenes[id].table


def test_the_fingerprint_follows_the_annotations(layout: Layout) -> None:
    before = Ade20k(layout.folder).fingerprint("val")
    assert Ade20k(layout.folder).fingerprint("val") == before
    assert Ade20k(layout.folder).fingerprint("train") != before
    Image.new("RGB", (8, 8)).save(png(layout, "annotations_instance", LAST))
    assert Ade20k(layout.folder).fingerprint("val") != before


def test_part_reads_the_same_scene_and_nothing_else(layout: Layout) -> None:
    source = Ade20k(layout.folder)
    part = pickle.loads(pickle.dumps(source.part("val", [LAST])))  # as it goes to another process
    assert part.ids("val") == [LAST]
    assert np.array_equal(part.scene("val", LAST).segments, source.scene("val", LAST).segments)


def _label_151(layout: Layout) -> None:
    raw = pixels(layout, "annotations", LAST).copy()
    raw[0, 0] = 151
    Image.fromarray(raw).save(png(layout, "annotations", LAST))


def _instance_pixel(layout: Layout, *values: tuple[int, int]) -> None:
    raw = pixels(layout, "annotations_instance", LAST).copy()
    for column, (kind, number) in enumerate(values):
        raw[0, column] = kind, number, 0
    Image.fromarray(raw).save(png(layout, "annotations_instance", LAST))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_label_151, "label 151, expected 0 .* 150"),
        (lambda x: _instance_pixel(x, (101, 200)), "instance 200 has category 101, expected 1 .. 100"),
        (lambda x: _instance_pixel(x, (0, 200)), "instance 200 has category 0, expected 1 .. 100"),
        (lambda x: _instance_pixel(x, (9, 200), (4, 200)), "instance 200 has more than one category"),
        (lambda x: Image.new("L", (9, 9)).save(png(x, "annotations", LAST)), "is 9x9, .*jpg 48x64"),
        (lambda x: Image.new("RGB", (64, 48)).save(png(x, "annotations", LAST)), "mode RGB, expected L or P"),
        (lambda x: Image.new("L", (64, 48)).save(png(x, "annotations_instance", LAST)), "mode L, expected RGB"),
        (lambda x: png(x, "annotations", LAST).write_bytes(b"no"), "not a picture"),
    ],
)
def test_a_spoilt_image_is_one_line_and_no_other_image(layout: Layout, spoil, message: str) -> None:
    spoil(layout)
    source = Ade20k(layout.folder)
    assert source.survey("val").problems == []
    with pytest.raises(UserError, match=rf"ade20k image {LAST}: .*{message}") as caught:
        source.scene("val", LAST)
    assert "\n" not in str(caught.value)
    assert source.check("val", LAST)
    assert source.check("val", source.ids("val")[0]) == []


def test_every_fault_of_an_image_is_told(layout: Layout) -> None:
    (layout.folder / "images/validation" / f"{LAST}.jpg").write_bytes(b"no")
    png(layout, "annotations", LAST).write_bytes(b"no")
    Image.new("L", (64, 48)).save(png(layout, "annotations_instance", LAST))
    problems = Ade20k(layout.folder).check("val", LAST)
    assert [problem.kind for problem in problems] == ["unreadable", "unreadable", "format"]


@pytest.mark.parametrize(("kind", "what"), [("annotations", "semantic annotation"), ("images", "picture")])
def test_a_file_without_its_counterpart_is_named(layout: Layout, kind: str, what: str) -> None:
    (layout.folder / kind / "validation" / (LAST + (".png" if kind == "annotations" else ".jpg"))).unlink()
    survey = Ade20k(layout.folder).survey("val")
    assert list(survey.pictures) == layout.ids["val"][:1]
    assert [problem.image for problem in survey.problems] == [LAST]
    with pytest.raises(UserError, match=f"image {LAST} has no {what}"):
        Ade20k(layout.folder).ids("val")


def test_the_header_of_the_class_list_is_no_class(layout: Layout) -> None:
    """150 classes, not the 151 lines; a list of other classes is refused."""
    path = layout.folder / "objectInfo150.txt"
    lines = path.read_text().splitlines()
    assert len(lines) == 151
    assert Ade20k(layout.folder).survey("val").problems == []
    path.write_text("\n".join(lines[:-1]))
    with pytest.raises(UserError, match="not the list of the 150 benchmark classes: 150 is not flag"):
        Ade20k(layout.folder).ids("val")
    path.write_text("\n".join([lines[0], *(line.replace("\t", ",", 4) for line in lines[1:])]))
    assert Ade20k(layout.folder).survey("val").problems == []
    path.unlink()
    assert Ade20k(layout.folder).ids("val") == layout.ids["val"]


def test_real_images_have_their_annotation_as_semantic_truth(shared_data: Path) -> None:
    folder = shared_data / "ade20k_samples"
    source = Ade20k(folder)
    ids = source.ids("val")
    assert ids == [f"ADE_val_{n:08d}" for n in (1, 2, 3)]
    seen = set()
    for id in ids:
        raw = np.asarray(Image.open(folder / "annotations/validation" / f"{id}.png")).astype(int)
        scene = source.scene("val", id)
        assert np.array_equal(category_of(scene), np.where(raw == 0, 255, raw - 1))
        assert scene.image.shape[:2] == raw.shape
        seen |= {source.categories.entries[segment.category].name for segment in scene.table.values()}
    assert {"sky", "building", "tree"} <= seen
    with pytest.raises(UserError, match="the panoptic task needs"):
        source.for_task("panoptic")

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from cityscapesscripts.helpers.labels import id2label
from cityscapesscripts.preparation.createPanopticImgs import convert2panoptic
from PIL import Image

from bench.data.catalog import DataRoots, find
from bench.data.native.cityscapes import Cityscapes
from bench.data.native.coco_panoptic import CocoPanoptic
from bench.data.scene import Scene, semantic_of
from bench.errors import UserError
from models.categories import Segment
from tests.data.layouts import Layout, write_cityscapes

FIRST = "frankfurt_000000_000019"
CAR = 13


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return write_cityscapes(tmp_path)


def labels(layout: Layout, id: str, kind: str = "instanceIds") -> Path:
    return layout.folder / "gtFine" / "val" / id.split("_")[0] / f"{id}_gtFine_{kind}.png"


def spoilt(layout: Layout, code: int) -> None:
    raw = np.asarray(Image.open(labels(layout, FIRST))).copy()
    raw[20, 20] = code
    Image.fromarray(raw).save(labels(layout, FIRST))


def same_as_cityscapesscripts(folder: Path, split: str, out: Path) -> int:
    """Compares every pixel and every segment with what createPanopticImgs makes of the files; the images compared."""
    convert2panoptic(str(folder / "gtFine"), str(out), False, [split])
    whole = json.loads((out / f"cityscapes_panoptic_{split}.json").read_text())
    source = Cityscapes(folder)
    assert source.ids(split) == [image["id"] for image in whole["images"]]
    assert source.categories.to_json() == [
        {key: row[key] for key in ("id", "name", "isthing", "color")} for row in whole["categories"]
    ]
    for row in whole["annotations"]:
        scene = source.scene(split, row["image_id"])
        rgb = np.asarray(Image.open(out / f"cityscapes_panoptic_{split}" / row["file_name"])).astype(np.int64)
        ids = rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]
        assert len(scene.table) == len(row["segments_info"])
        for number, info in enumerate(row["segments_info"], start=1):
            assert np.array_equal(scene.segments == number, ids == info["id"])
            segment = scene.table[number]
            assert source.categories.entries[segment.category].id == info["category_id"]
            assert segment.is_crowd == bool(info["iscrowd"])
            assert (scene.segments == number).sum() == info["area"]
        assert np.array_equal(scene.segments == 0, ids == 0)
    return len(whole["annotations"])


@pytest.mark.parametrize("split", ["train", "val"])
def test_generated_files_read_as_cityscapesscripts_reads_them(layout: Layout, split: str, tmp_path: Path) -> None:
    assert same_as_cityscapesscripts(layout.folder, split, tmp_path) == len(layout.ids[split])


def test_a_real_frame_reads_as_cityscapesscripts_reads_it(shared_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "real"
    shutil.copytree(shared_data / "cityscapes_samples/mmseg_pseudo_cityscapes", folder)
    assert same_as_cityscapesscripts(folder, "val", tmp_path) == 1


def test_groups_are_crowds_and_what_is_not_evaluated_is_void(layout: Layout) -> None:
    source = Cityscapes(layout.folder)
    scene = source.scene("val", FIRST)
    raw = np.asarray(Image.open(labels(layout, FIRST)))
    assert scene.table[int(scene.segments[raw == 26][0])] == Segment(CAR, True, True)
    assert scene.table[int(scene.segments[raw == 26001][0])] == Segment(CAR, True, False)
    for ignored in (0, 1, 3, 29000):
        assert (raw == ignored).any()
        assert (scene.segments[raw == ignored] == 0).all()


def train_ids(raw: np.ndarray) -> np.ndarray:
    """By the table of cityscapesscripts; a licence plate has train id -1."""
    lookup = {value: id2label[value].trainId for value in set(raw.ravel().tolist())}
    return np.vectorize(lambda value: 255 if lookup[value] < 0 else lookup[value])(raw)


def test_a_real_frame_has_its_label_ids_as_semantic_truth(shared_data: Path) -> None:
    """Its labelTrainIds are not compared: in this copy they were shrunk apart and differ at 77 of 32,768 pixels."""
    folder = shared_data / "cityscapes_samples/mmseg_pseudo_cityscapes"
    scene = Cityscapes(folder).scene("val", "frankfurt_000000_000294")
    path = folder / "gtFine/val/frankfurt/frankfurt_000000_000294_gtFine_labelIds.png"
    assert np.array_equal(semantic_of(scene.segments, scene.table), train_ids(np.asarray(Image.open(path))))
    assert sum(segment.is_thing for segment in scene.table.values()) == 7


def test_every_task_has_the_truth_of_the_label_ids(layout: Layout) -> None:
    source = Cityscapes(layout.folder)
    assert {split: source.ids(split) for split in source.splits} == layout.ids
    for id in source.ids("val"):
        expected = train_ids(np.asarray(Image.open(labels(layout, id, "labelIds"))))
        for task in ("semantic", "instance", "panoptic"):
            scene = source.for_task(task).scene("val", id)
            assert np.array_equal(semantic_of(scene.segments, scene.table), expected)


def test_a_licence_plate_is_void_and_an_unknown_id_is_refused(layout: Layout) -> None:
    spoilt(layout, 65535)  # label -1 in 16 bits
    assert Cityscapes(layout.folder).scene("val", FIRST).segments[20, 20] == 0
    for code in (34, 999, 34000, 60001):
        spoilt(layout, code)
        with pytest.raises(UserError, match=rf"cityscapes image {FIRST}: .*has the id {code}, of no label") as caught:
            Cityscapes(layout.folder).scene("val", FIRST)
        assert "\n" not in str(caught.value)


def drop(layout: Layout, kind: str) -> None:
    for path in layout.folder.glob(f"gtFine/*/*/*_{kind}.png"):
        path.unlink()


def scenes(source) -> dict[str, Scene]:
    return {id: source.scene(split, id) for split in source.splits for id in source.ids(split)}


def test_label_pngs_come_first_and_the_panoptic_json_gives_the_same_scenes(tmp_path: Path) -> None:
    layout = write_cityscapes(tmp_path)
    convert2panoptic(str(layout.folder / "gtFine"), None, False, ["train", "val"])
    native = find("cityscapes", DataRoots(root=tmp_path))
    assert isinstance(native, Cityscapes)
    truth = scenes(native)
    drop(layout, "instanceIds")
    converted = find("cityscapes", DataRoots(root=tmp_path))
    assert isinstance(converted, CocoPanoptic)
    assert converted.form != native.form
    assert converted.categories == native.categories
    for id, scene in scenes(converted).items():
        assert np.array_equal(scene.segments, truth[id].segments)
        assert np.array_equal(scene.image, truth[id].image)
        assert scene.table == truth[id].table


def test_label_ids_alone_serve_the_semantic_task(tmp_path: Path) -> None:
    layout = write_cityscapes(tmp_path)
    truth = scenes(find("cityscapes", DataRoots(root=tmp_path)))
    drop(layout, "instanceIds")
    source = find("cityscapes", DataRoots(root=tmp_path)).for_task("semantic")
    for id, scene in scenes(source).items():
        expected = semantic_of(truth[id].segments, truth[id].table)
        assert np.array_equal(semantic_of(scene.segments, scene.table), expected)
        assert not any(segment.is_thing for segment in scene.table.values())
    for task in ("instance", "panoptic"):
        with pytest.raises(UserError, match=rf"the {task} task needs \*_gtFine_instanceIds.png") as caught:
            source.for_task(task)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("missing", "what"),
    [
        ("gtFine/val/frankfurt/{}_gtFine_instanceIds.png", "instanceIds PNG"),
        ("leftImg8bit/val/frankfurt/{}_leftImg8bit.png", "picture"),
    ],
)
def test_a_file_without_its_counterpart_is_named(layout: Layout, missing: str, what: str) -> None:
    (layout.folder / missing.format(FIRST)).unlink()
    assert list(Cityscapes(layout.folder).survey("val").pictures) == layout.ids["val"][1:]
    with pytest.raises(UserError, match=f"image {FIRST} has no {what}"):
        Cityscapes(layout.folder).ids("val")


def test_part_and_fingerprint(layout: Layout) -> None:
    source = Cityscapes(layout.folder)
    part = pickle.loads(pickle.dumps(source.part("val", [FIRST])))
    assert part.ids("val") == [FIRST]
    assert np.array_equal(part.scene("val", FIRST).segments, source.scene("val", FIRST).segments)
    before = source.fingerprint("val")
    spoilt(layout, 7)
    assert Cityscapes(layout.folder).fingerprint("val") != before

"""The readers on real annotations, against the counts and label maps that come with them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from bench.data.catalog import DataRoots, Missing, find
from bench.data.scene import Scene, semantic_of
from bench.data.source import Source


def scenes(source: Source, split: str) -> list[Scene]:
    return [source.scene(split, id) for id in source.ids(split)]


def opened(shared_data: Path, name: str, folder: str) -> Source:
    source = find(name, DataRoots({name: shared_data / folder}))
    assert not isinstance(source, Missing)
    return source


@pytest.mark.parametrize(("split", "void"), [("train", 0.098), ("val", 0.094)])  # void: the README of the copy
def test_coco_keeps_crowds_and_void(shared_data: Path, split: str, void: float) -> None:
    """Every segment has the category, crowd flag and area that the json gives it; pixels without one are void."""
    source = opened(shared_data, "coco", "coco_panoptic")
    content = json.loads((shared_data / f"coco_panoptic/annotations/panoptic_{split}2017.json").read_text())
    is_thing = {row["id"]: bool(row["isthing"]) for row in content["categories"]}
    empty = crowds = pixels = 0
    for scene, row in zip(scenes(source, split), content["annotations"], strict=True):
        assert scene.id == str(row["image_id"])
        areas = np.bincount(scene.segments.ravel(), minlength=len(scene.table) + 1)
        for number, info in enumerate(row["segments_info"], start=1):
            segment = scene.table[number]
            assert source.categories.entries[segment.category].id == info["category_id"]
            assert segment.is_thing == is_thing[info["category_id"]]
            assert segment.is_crowd == bool(info["iscrowd"])
            assert areas[number] == info["area"]
        empty, pixels = empty + areas[0], pixels + areas.sum()
        crowds += sum(segment.is_crowd for segment in scene.table.values())
    assert empty / pixels == pytest.approx(void, abs=0.0005)
    assert crowds >= 5


def test_coco_instances_are_those_of_pycocotools(shared_data: Path) -> None:
    source = opened(shared_data, "things", "coco_instances")
    coco = COCO(shared_data / "coco_instances/annotations/instances_val2017.json")
    for scene in scenes(source, "val")[::10]:
        rows = coco.loadAnns(coco.getAnnIds(imgIds=int(scene.id)))
        assert scene.instances is not None
        assert len(rows) == len(scene.instances) > 0
        for row, instance in zip(rows, scene.instances, strict=True):
            assert coco.annToRLE(row)["counts"].decode() == instance.rle["counts"]
            assert source.categories.entries[instance.category].id == row["category_id"]
            assert instance.is_crowd == bool(row["iscrowd"])


def test_camvid_is_all_stuff_and_equals_its_label_maps(shared_data: Path) -> None:
    source = opened(shared_data, "camvid", "camvid")
    assert not any(source.categories.is_thing)
    names = (shared_data / "camvid/val.txt").read_text().split()[1::2]
    for scene, name in zip(scenes(source, "val"), names, strict=True):
        labels = np.asarray(Image.open(shared_data / "camvid/valannot" / Path(name).name))
        assert np.array_equal(semantic_of(scene.segments, scene.table), np.where(labels == 11, 255, labels))


def test_nuclei_has_hundreds_of_things_in_an_image(shared_data: Path) -> None:
    source = opened(shared_data, "nuclei", "nuclei")
    counts = [sum(segment.is_thing for segment in scene.table.values()) for scene in scenes(source, "val")]
    assert sum(counts) == 6049
    assert max(counts) > 255

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.data.catalog import DataRoots, Missing, find
from bench.data.coco_panoptic import CocoPanoptic
from bench.data.panoptic_png import write_ids
from bench.data.scenes import Scenes
from bench.errors import UserError

SIZE = (12, 16)
CATEGORIES = [{"id": 7, "name": "cat", "isthing": 1}, {"id": 3, "name": "grass", "isthing": 0}]
INFOS = [{"id": 300, "category_id": 3, "iscrowd": 0}]


def write_split(panoptic: Path, image_id: str | int, json_name: str, picture: Path) -> None:
    """One image in an official layout: json, PNG folder of its stem, picture."""
    panoptic.with_suffix("").mkdir(parents=True)
    picture.parent.mkdir(parents=True)
    write_ids(panoptic.with_suffix("") / f"{image_id}.png", np.full(SIZE, 300))
    Image.new("RGB", SIZE[::-1]).save(picture)
    images = [{"id": image_id, "file_name": json_name}]
    annotations = [{"image_id": image_id, "file_name": f"{image_id}.png", "segments_info": INFOS}]
    panoptic.write_text(json.dumps({"images": images, "annotations": annotations, "categories": CATEGORIES}))


def coco(root: Path, split: str) -> None:
    folder = root / "coco"
    panoptic = folder / "annotations" / f"panoptic_{split}2017.json"
    write_split(panoptic, 139, "000000000139.jpg", folder / f"{split}2017" / "000000000139.jpg")
    panoptic.with_name(f"instances_{split}2017.json").write_text('{"annotations": []}')


def ade20k(root: Path, split: str, folder: str = "ADEChallengeData2016") -> None:
    pictures = root / folder / "images" / {"train": "training", "val": "validation"}[split]
    panoptic = root / folder / f"ade20k_panoptic_{split}.json"
    write_split(panoptic, f"ADE_{split}_00000001", f"ADE_{split}_1.jpg", pictures / f"ADE_{split}_1.jpg")


def cityscapes(root: Path, split: str) -> None:
    folder, id = root / "cityscapes", "aachen_000000_000019"
    picture = folder / "leftImg8bit" / split / "aachen" / f"{id}_leftImg8bit.png"
    panoptic = folder / "gtFine" / f"cityscapes_panoptic_{split}.json"
    write_split(panoptic, id, f"{id}_gtFine_leftImg8bit.png", picture)


@pytest.mark.parametrize(("name", "make"), [("coco", coco), ("ade20k", ade20k), ("cityscapes", cityscapes)])
def test_finds_the_official_layouts(tmp_path: Path, name: str, make) -> None:
    for split in ("train", "val"):
        make(tmp_path, split)
    source = find(name, DataRoots(root=tmp_path))
    assert isinstance(source, CocoPanoptic)
    for split in ("train", "val"):
        (id,) = source.ids(split)
        assert source.scene(split, id).image.shape == (*SIZE, 3)
        assert source.has_instances(split) is (name == "coco")
    own_folder = next(tmp_path.iterdir())
    named = find(name, DataRoots({name: own_folder}))
    assert isinstance(named, CocoPanoptic)
    assert named.fingerprint("val") == source.fingerprint("val")


@pytest.mark.parametrize("name", ["coco", "ade20k", "cityscapes"])
def test_what_is_missing_is_said_in_one_line_each(tmp_path: Path, name: str) -> None:
    for roots in (DataRoots(), DataRoots(root=tmp_path)):
        missing = find(name, roots)
        assert isinstance(missing, Missing)
        assert missing.name == name
        assert "\n" not in missing.what + missing.how
        assert len(missing.how) > 20


def test_a_missing_split_and_missing_images_are_named(tmp_path: Path) -> None:
    coco(tmp_path, "train")
    missing = find("coco", DataRoots(root=tmp_path))
    assert isinstance(missing, Missing)
    assert "panoptic_val2017.json" in missing.what
    coco(tmp_path, "val")
    (tmp_path / "coco" / "train2017").rename(tmp_path / "elsewhere")
    missing = find("coco", DataRoots(root=tmp_path))
    assert isinstance(missing, Missing)
    assert "images of train are not at" in missing.what


@pytest.mark.parametrize(
    ("name", "native", "tool"),
    [
        ("ade20k", "ADEChallengeData2016/annotations/training/ADE_train_00000001.png", "prepare_ade20k_pan_seg"),
        ("cityscapes", "cityscapes/gtFine/val/ulm/ulm_0_0_gtFine_instanceIds.png", "createPanopticImgs"),
    ],
)
def test_a_native_layout_is_told_how_to_become_panoptic(tmp_path: Path, name: str, native: str, tool: str) -> None:
    (tmp_path / native).parent.mkdir(parents=True)
    (tmp_path / native).touch()
    missing = find(name, DataRoots(root=tmp_path))
    assert isinstance(missing, Missing)
    assert "native layout" in missing.what
    assert "panoptic json is needed" in missing.how
    assert tool in missing.how


def test_any_coco_panoptic_folder_under_any_name(tmp_path: Path, make_folder: Callable[..., Any]) -> None:
    for split in ("train", "val"):
        make_folder(tmp_path, split).write()
    assert find("mine", DataRoots({"mine": tmp_path})).ids("val") == ["aachen_1", "139"]
    for split in ("train", "val"):  # the json beside the images' folder, images under images/
        (tmp_path / "annotations" / f"panoptic_{split}.json").rename(tmp_path / f"panoptic_{split}.json")
        (tmp_path / "annotations" / f"panoptic_{split}").rename(tmp_path / f"panoptic_{split}")
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / split).rename(tmp_path / "images" / split)
    assert find("mine", DataRoots({"mine": tmp_path})).scene("val", "139").table


def test_a_path_that_does_not_work_is_the_users_error(tmp_path: Path, make_folder: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match=r"--dataset mine=.*there is no such folder"):
        find("mine", DataRoots({"mine": tmp_path / "nowhere"}))
    with pytest.raises(UserError, match=r"--dataset mine=.*no panoptic_\*train\*\.json"):
        find("mine", DataRoots({"mine": tmp_path}))
    with pytest.raises(UserError, match=r"--dataset coco=.*panoptic_train2017.json"):
        find("coco", DataRoots({"coco": tmp_path}))
    folder = make_folder(tmp_path, "train")
    folder.write()
    twin = folder.json.with_name("panoptic_train2014.json")
    twin.write_text("{}")
    with pytest.raises(UserError, match="more than one"):
        find("mine", DataRoots({"mine": tmp_path}))
    twin.unlink()
    folder.images.rename(tmp_path / "pictures")
    with pytest.raises(UserError, match="no images of train; expected one of"):
        find("mine", DataRoots({"mine": tmp_path}))
    folder.pngs.rename(tmp_path / "pngs")
    with pytest.raises(UserError, match="no folder of panoptic PNGs at"):
        find("mine", DataRoots({"mine": tmp_path}))


def test_unknown_names_get_a_hint() -> None:
    with pytest.raises(UserError, match="unknown dataset 'citiscapes'; did you mean 'cityscapes'"):
        find("citiscapes", DataRoots())


def test_scenes_needs_no_folder(tmp_path: Path) -> None:
    assert isinstance(find("scenes", DataRoots()), Scenes)
    with pytest.raises(UserError, match="takes no folder"):
        find("scenes", DataRoots({"scenes": tmp_path}))


def test_the_stem_with_a_word_between_is_found(shared_data: Path) -> None:
    source = find("x", DataRoots({"x": shared_data / "coco_instances"}))
    assert source.has_instances("val")
    assert source.scene("val", source.ids("val")[0]).instances

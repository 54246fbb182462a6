from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.data.catalog import DataRoots, Missing, find
from bench.data.native.scenes import Scenes
from bench.data.source import forms
from bench.errors import UserError
from models.categories import TASKS, Task
from tests.data.layouts import WRITERS, write_ade20k, write_coco


@pytest.mark.parametrize("name", WRITERS)
def test_finds_the_official_layouts(tmp_path: Path, name: str) -> None:
    layout = WRITERS[name](tmp_path)
    source = find(name, DataRoots(root=tmp_path))
    assert not isinstance(source, Missing)
    named = find(name, DataRoots({name: layout.folder}))
    assert not isinstance(named, Missing)
    for split in ("train", "val"):
        assert source.ids(split) == layout.ids[split]
        assert source.survey(split).problems == []
        assert [problem for id in source.ids(split) for problem in source.check(split, id)] == []
        assert source.has_instances(split) is (name == "coco")
        assert named.fingerprint(split) == source.fingerprint(split)
        for task in TASKS:
            scene = source.for_task(task).scene(split, layout.ids[split][0])
            assert scene.image.shape[:2] == scene.segments.shape == (48, 64)


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_missing_is_said_in_one_line_each(tmp_path: Path, name: str) -> None:
    for roots in (DataRoots(), DataRoots(root=tmp_path)):
        missing = find(name, roots)
        assert isinstance(missing, Missing)
        assert missing.name == name
        assert "\n" not in missing.what + missing.how
        assert f"`bench data download {name}`" in missing.how


def test_cityscapes_tells_the_steps_to_its_files(tmp_path: Path) -> None:
    missing = find("cityscapes", DataRoots(root=tmp_path))
    assert isinstance(missing, Missing)
    for word in ("account", "gtFine_trainvaltest.zip", "leftImg8bit_trainvaltest.zip", "<data root>/cityscapes"):
        assert word in missing.how


def what_is_missing(name: str, root: Path) -> str:
    missing = find(name, DataRoots(root=root))
    assert isinstance(missing, Missing)
    with pytest.raises(UserError, match=rf"--dataset {name}=") as caught:
        find(name, DataRoots({name: next(root.iterdir())}))
    assert "\n" not in str(caught.value)
    return missing.what


@pytest.mark.parametrize(
    ("name", "removed", "what"),
    [
        ("coco", "annotations/panoptic_val2017.json", "there is no .*panoptic_val2017.json"),
        ("coco", "annotations/panoptic_val2017", "there is no .*panoptic_val2017"),
        ("coco", "train2017", "images of train are not at .*train2017"),
        ("ade20k", "images/training", "there is no .*images/training"),
        ("ade20k", "annotations/validation", "there is no .*annotations/validation"),
        ("cityscapes", "leftImg8bit/val", "images of val are not at .*leftImg8bit/val"),
        ("cityscapes", "gtFine/train", r"there is no \*_gtFine_instanceIds.png in .*gtFine/train"),
    ],
)
def test_what_a_folder_lacks_is_named(tmp_path: Path, name: str, removed: str, what: str) -> None:
    path = WRITERS[name](tmp_path).folder / removed
    path.unlink() if path.is_file() else shutil.rmtree(path)
    assert re.search(what, what_is_missing(name, tmp_path))


def test_panoptic_pngs_may_lie_beside_the_annotations(tmp_path: Path) -> None:
    layout = write_coco(tmp_path)
    for split in layout.ids:
        (layout.folder / f"annotations/panoptic_{split}2017").rename(layout.folder / f"panoptic_{split}2017")
    assert find("coco", DataRoots(root=tmp_path)).scene("val", layout.ids["val"][0]).table


def test_ade20k_may_lie_in_a_folder_of_its_own_name(tmp_path: Path) -> None:
    layout = write_ade20k(tmp_path)
    layout.folder.rename(tmp_path / "ade20k")
    assert find("ade20k", DataRoots(root=tmp_path)).ids("val") == layout.ids["val"]


@pytest.mark.parametrize("task", TASKS)
def test_a_task_without_truth_is_missing_and_with_a_path_the_users_error(tmp_path: Path, task: Task) -> None:
    layout = write_ade20k(tmp_path, instances=False)
    found = find("ade20k", DataRoots(root=tmp_path), task)
    if task == "semantic":
        assert found.ids("val") == layout.ids["val"]
        return
    assert isinstance(found, Missing)
    assert f"the {task} task needs the instance annotation" in found.what
    assert "`bench data download ade20k`" in found.how
    with pytest.raises(UserError, match=f"ade20k: {re.escape(found.what)}; {re.escape(found.how)}"):
        find("ade20k", DataRoots({"ade20k": layout.folder}), task)


@pytest.mark.parametrize(("name", "count"), [("coco", 1), ("ade20k", 2), ("cityscapes", 1), ("scenes", 1)])
def test_a_preparation_of_ade20k_has_two_truths(tmp_path: Path, name: str, count: int) -> None:
    if name in WRITERS:
        WRITERS[name](tmp_path)
    source = find(name, DataRoots(root=tmp_path))
    found = forms(source)
    assert len({one.fingerprint("val") for one in found}) == len(found) == count
    for task in TASKS:
        assert source.for_task(task).fingerprint("val") in {one.fingerprint("val") for one in found}


def test_what_is_not_coco_cannot_take_its_name(tmp_path: Path, make_folder: Callable[..., Any]) -> None:
    layout = write_coco(tmp_path / "whole")
    for split in layout.ids:
        path = layout.folder / f"annotations/panoptic_{split}2017.json"
        content = json.loads(path.read_text())
        content["categories"] = [row for row in content["categories"] if row["id"] not in (199, 200)]
        path.write_text(json.dumps(content))
        make_folder(tmp_path / "toy", split).write()
    for folder, found in ((layout.folder, "80 things and 51 stuff"), (tmp_path / "toy", "2 things and 1 stuff")):
        with pytest.raises(UserError, match=rf"has {found}; coco has 80 things and 53 stuff, so .* another name"):
            find("coco", DataRoots({"coco": folder})).ids("val")
        assert find("mine", DataRoots({"mine": folder})).ids("val")


def test_opening_a_dataset_reads_no_annotation(tmp_path: Path) -> None:
    """`plan` and `data list` stay fast: a json of hundreds of megabytes is not read to say that it is there."""
    for name, write in WRITERS.items():
        layout = write(tmp_path)
        for path in (*layout.folder.rglob("*.json"), *layout.folder.rglob("*.png")):
            path.write_bytes(b"not read")
        source = find(name, DataRoots(root=tmp_path))
        assert not isinstance(source, Missing)
        assert len({source.fingerprint(split) for split in source.splits}) == 2


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

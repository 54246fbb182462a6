"""Faults planted into each official layout, one at a time and together: all are found, and what is found is refused."""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from bench.cli import main
from bench.data import verify_source as module
from bench.data.catalog import DataRoots, Missing, find
from bench.data.native.panoptic_png import read_ids, write_ids
from bench.data.native.scenes import Scenes
from bench.data.prepared import prepare
from bench.data.problem import Problem
from bench.data.source import Source
from bench.data.verify_source import verify_source
from bench.errors import UserError
from tests.data.layouts import SIZE, Layout, write_ade20k, write_cityscapes, write_coco

COUNTS = {"train": 9, "val": 2}


def source_of(layout: Layout) -> Source:
    found = find(layout.name, DataRoots({layout.name: layout.folder}))
    assert not isinstance(found, Missing)
    return found


def found(layout: Layout) -> list[Problem]:
    return list(verify_source(source_of(layout)))


def is_refused(layout: Layout, split: str, id: str) -> bool:
    source = source_of(layout)
    try:
        if id in source.ids(split):
            source.scene(split, id)
    except UserError as error:
        return "\n" not in str(error) and f"bench data verify {layout.name}" in str(error)
    return False


def bomb(path: Path) -> None:
    """A sound PNG of 80 bytes that claims 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def flip(path: Path) -> None:
    """One bit of the pixels, which still decode."""
    data = bytearray(path.read_bytes())
    data[-17] ^= 1  # the last byte of the compressed pixels' checksum
    path.write_bytes(bytes(data))


def shrink(path: Path) -> None:
    with Image.open(path) as picture:
        picture.crop((0, 0, 30, 20)).save(path)


class Coco:
    """A COCO layout whose first training images can be spoilt."""

    def __init__(self, root: Path) -> None:
        self.layout = write_coco(root, COUNTS)
        self.folder = self.layout.folder
        self.json = self.folder / "annotations" / "panoptic_train2017.json"
        self.instances = self.folder / "annotations" / "instances_train2017.json"

    def picture(self, id: str) -> Path:
        return self.folder / "train2017" / f"{int(id):012d}.jpg"

    def png(self, id: str) -> Path:
        return self.json.with_suffix("") / f"{int(id):012d}.png"

    def change(self, how: Callable[[dict[str, Any]], Any], path: Path | None = None) -> None:
        path = path or self.json
        content = json.loads(path.read_text())
        how(content)
        path.write_text(json.dumps(content))

    def annotation(self, id: str, how: Callable[[dict[str, Any]], Any]) -> None:
        self.change(lambda content: how(next(a for a in content["annotations"] if a["image_id"] == int(id))))

    def image(self, id: str, how: Callable[[dict[str, Any]], Any]) -> None:
        self.change(lambda content: how(next(i for i in content["images"] if i["id"] == int(id))))

    def paint(self, id: str, value: int) -> None:
        ids = read_ids(self.png(id)).copy()
        ids[0, 0] = value
        write_ids(self.png(id), ids)

    def lose_segment(self, id: str) -> None:
        """The PNG loses the json's first segment, whose pixels become void."""
        infos = next(a for a in json.loads(self.json.read_text())["annotations"] if a["image_id"] == int(id))
        ids = read_ids(self.png(id)).copy()
        ids[ids == infos["segments_info"][0]["id"]] = 0
        write_ids(self.png(id), ids)

    def repeat(self, key: str, id: str, name: str) -> None:
        self.change(lambda content: content[key].append(next(r for r in content[key] if r[name] == int(id))))


FAULTS: dict[str, tuple[Callable[[Coco, str], Any], set[str], str]] = {  # what is done, kinds found, words in them
    "no picture": (lambda c, i: c.picture(i).unlink(), {"missing"}, "no such file"),
    "no PNG": (lambda c, i: c.png(i).unlink(), {"missing"}, "no such file"),
    "truncated picture": (lambda c, i: truncate(c.picture(i)), {"unreadable"}, "truncated"),
    "truncated PNG": (lambda c, i: truncate(c.png(i)), {"unreadable"}, "cut short"),
    "flipped bit": (lambda c, i: flip(c.png(i)), {"unreadable"}, "checksum"),
    "no picture at all": (lambda c, i: c.picture(i).write_text("<html>"), {"unreadable"}, "not a picture"),
    "small picture": (lambda c, i: shrink(c.picture(i)), {"size"}, "its picture is 20x30"),
    "json's size": (lambda c, i: c.image(i, lambda r: r.update(height=7)), {"size"}, "its json is 7x64"),
    "unlisted id": (lambda c, i: c.paint(i, 4711), {"unlisted id", "area"}, "without an entry in the json: 4711"),
    "unseen id": (lambda c, i: c.lose_segment(i), {"unseen id"}, "that its PNG lacks"),
    "category": (
        lambda c, i: c.annotation(i, lambda r: r["segments_info"][0].update(category_id=99)),
        {"category"},
        "category id 99",
    ),
    "area": (lambda c, i: c.annotation(i, lambda r: r["segments_info"][0].update(area=5)), {"area"}, "the area 5"),
    "void listed": (
        lambda c, i: c.annotation(i, lambda r: r["segments_info"].append({"id": 0, "category_id": 1})),
        {"format"},
        "stands for void",
    ),
    "segment row": (lambda c, i: c.annotation(i, lambda r: r["segments_info"][0].pop("id")), {"format"}, "`id`"),
    "no list": (lambda c, i: c.annotation(i, lambda r: r.update(segments_info=3)), {"format"}, "`id`"),
    "annotation row": (lambda c, i: c.annotation(i, lambda r: r.pop("segments_info")), {"format"}, "'segments_info'"),
    "two images": (lambda c, i: c.repeat("images", i, "id"), {"duplicate"}, "more than one image"),
    "two annotations": (lambda c, i: c.repeat("annotations", i, "image_id"), {"duplicate"}, "more than one annotation"),
    "outside": (lambda c, i: c.image(i, lambda r: r.update(file_name="../val2017/x.jpg")), {"outside"}, "leaves"),
    "absolute": (lambda c, i: c.annotation(i, lambda r: r.update(file_name="/etc/passwd")), {"outside"}, "leaves"),
    "backslash": (lambda c, i: c.image(i, lambda r: r.update(file_name="..\\x.jpg")), {"outside"}, "leaves"),
    "no name": (lambda c, i: c.image(i, lambda r: r.update(file_name=None)), {"format"}, "a file name is text"),
    "bomb picture": (lambda c, i: bomb(c.picture(i)), {"absurd size"}, "million pixels"),
    "bomb PNG": (lambda c, i: bomb(c.png(i)), {"absurd size"}, "million pixels"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_in_coco_is_found_and_refused(tmp_path: Path, fault: str) -> None:
    coco = Coco(tmp_path)
    assert found(coco.layout) == []
    id = coco.layout.ids["train"][1]
    plant, kinds, words = FAULTS[fault]
    plant(coco, id)
    problems = found(coco.layout)
    assert {problem.kind for problem in problems} == kinds
    assert {problem.image for problem in problems} == {id}
    assert any(words in str(problem) for problem in problems)
    assert all(problem.file.is_relative_to(coco.folder) for problem in problems)
    assert is_refused(coco.layout, "train", id)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(planted=st.lists(st.sampled_from(sorted(FAULTS)), min_size=2, max_size=9))
def test_no_fault_hides_another(tmp_path: Path, planted: list[str]) -> None:
    shutil.rmtree(tmp_path, ignore_errors=True)
    coco = Coco(tmp_path)
    expected = set()
    for id, fault in zip(coco.layout.ids["train"], planted, strict=False):
        FAULTS[fault][0](coco, id)
        expected |= {(id, kind) for kind in FAULTS[fault][1]}
    assert {(problem.image, problem.kind) for problem in found(coco.layout)} == expected


def test_several_faults_of_one_image_are_all_told(tmp_path: Path) -> None:
    coco = Coco(tmp_path)
    id = coco.layout.ids["train"][0]
    for fault in ("no picture", "category", "unlisted id", "json's size"):
        FAULTS[fault][0](coco, id)
    assert {problem.kind for problem in found(coco.layout)} == {"missing", "category", "unlisted id", "area", "size"}


def other_split(coco: Coco, how: Callable[[dict[str, Any], dict[str, Any]], Any]) -> None:
    """Changes the validation json by the first image row of the training json."""
    first = json.loads(coco.json.read_text())["images"][0]
    coco.change(lambda content: how(content, first), coco.json.with_name("panoptic_val2017.json"))


def test_an_image_in_both_splits_is_found_by_id_and_by_name(tmp_path: Path) -> None:
    coco = Coco(tmp_path)
    train, val = coco.layout.ids["train"][0], coco.layout.ids["val"][0]
    name = coco.picture(train).name

    def share_name(content: dict[str, Any], first: dict[str, Any]) -> None:
        content["images"][0]["file_name"] = first["file_name"]

    other_split(coco, share_name)
    shutil.copy(coco.picture(train), coco.folder / "val2017")
    (problem,) = found(coco.layout)
    assert (problem.kind, problem.file.name, problem.image) == ("overlap", name, train)
    assert f"image {train} of train and image {val} of val" in problem.reason

    def share_id(content: dict[str, Any], first: dict[str, Any]) -> None:
        content["images"][0]["id"] = content["annotations"][0]["image_id"] = first["id"]

    other_split(coco, share_id)
    (problem,) = found(coco.layout)
    assert (problem.kind, problem.reason) == ("overlap", f"image {train} is in both train and val")


def test_rows_without_their_other_half_are_found(tmp_path: Path) -> None:
    coco = Coco(tmp_path)
    first, second = coco.layout.ids["train"][:2]
    coco.change(lambda content: content["annotations"].pop(0))
    coco.change(lambda content: content["images"].pop(1))
    problems = {problem.image: problem.reason for problem in found(coco.layout)}
    assert problems.keys() == {first, second}
    assert f"no annotation for image {first}" in problems[first]
    assert f"annotates image {second}, which its `images` lack" in problems[second]


@pytest.mark.parametrize(
    ("write", "kind", "words"),
    [
        (lambda coco: coco.json.write_bytes(coco.instances.read_bytes()), "format", "COCO panoptic"),
        (lambda coco: coco.json.write_text("[]"), "format", "is no json object"),
        (lambda coco: coco.json.write_text('{"images": []}'), "format", "lacks annotations, categories"),
        (lambda coco: coco.json.write_text(""), "unreadable", "found 'the end'"),
        (lambda coco: coco.json.write_bytes(coco.json.read_bytes() + b"{"), "unreadable", "follows the object"),
        (lambda coco: truncate(coco.json), "unreadable", "not readable json"),
        (lambda coco: coco.json.write_text('{"images": ' + "[" * 100_000), "unreadable", "not readable json"),
        (lambda coco: coco.change(lambda c: c.update(images={})), "format", "has no list of images"),
        (lambda coco: coco.change(lambda c: c["categories"].pop()), "category", "categor"),
        (lambda coco: coco.change(lambda c: c.update(categories=[{}])), "format", "categories"),
    ],
)
def test_a_json_of_another_format_is_one_problem(tmp_path: Path, write: Callable, kind: str, words: str) -> None:
    coco = Coco(tmp_path)
    write(coco)
    problems = found(coco.layout)
    assert [(problem.kind, problem.file) for problem in problems] == [(kind, coco.json)]
    assert words in problems[0].reason
    with pytest.raises(UserError):
        source_of(coco.layout).ids("train")


def test_bad_instances_are_found(tmp_path: Path) -> None:
    coco = Coco(tmp_path)

    def spoil(content: dict[str, Any]) -> None:
        by_image: dict[int, list[dict[str, Any]]] = {}
        for row in content["annotations"]:
            by_image.setdefault(row["image_id"], []).append(row)
        first, second, third = list(by_image.values())[:3]
        first[0]["category_id"] = 99
        second[0]["segmentation"] = {"size": [4, 4], "counts": [16]}
        del third[0]["segmentation"]

    coco.change(spoil, coco.instances)
    kinds = {problem.image: (problem.kind, problem.file) for problem in found(coco.layout)}
    expected = zip(coco.layout.ids["train"], ("category", "format", "format"), strict=False)
    assert kinds == {id: (kind, coco.instances) for id, kind in expected}


def save(path: Path, array: np.ndarray) -> None:
    Image.fromarray(array).save(path)


def relabel(path: Path, value: Any) -> None:
    with Image.open(path) as picture:
        array = np.array(picture)
    array[0, 0] = value
    save(path, array)


ADE20K: dict[str, tuple[str, Callable[[Path], Any], str]] = {  # file by the image's id, what is done to it, the kind
    "no picture": ("images/training/{}.jpg", Path.unlink, "missing"),
    "no labels": ("annotations/training/{}.png", Path.unlink, "missing"),
    "no instances": ("annotations_instance/training/{}.png", Path.unlink, "missing"),
    "truncated picture": ("images/training/{}.jpg", truncate, "unreadable"),
    "truncated labels": ("annotations/training/{}.png", truncate, "unreadable"),
    "flipped bit": ("annotations_instance/training/{}.png", flip, "unreadable"),
    "small picture": ("images/training/{}.jpg", shrink, "size"),
    "small labels": ("annotations/training/{}.png", shrink, "size"),
    "label": ("annotations/training/{}.png", lambda path: relabel(path, 151), "category"),
    "instance class": ("annotations_instance/training/{}.png", lambda path: relabel(path, (101, 9, 0)), "category"),
    "colours": ("annotations/training/{}.png", lambda path: save(path, np.zeros((*SIZE, 3), np.uint8)), "format"),
    "bomb": ("annotations/training/{}.png", bomb, "absurd size"),
    "both splits": (
        "annotations/training/{}.png",
        lambda path: [
            shutil.copy(one, one.parent.parent / "validation")
            for one in path.parents[2].glob(f"*/training/{path.stem}.*")
        ],
        "overlap",
    ),
}

CITYSCAPES: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "no picture": ("leftImg8bit/train/{0}/{1}_leftImg8bit.png", Path.unlink, "missing"),
    "no labels": ("gtFine/train/{0}/{1}_gtFine_instanceIds.png", Path.unlink, "missing"),
    "truncated picture": ("leftImg8bit/train/{0}/{1}_leftImg8bit.png", truncate, "unreadable"),
    "truncated labels": ("gtFine/train/{0}/{1}_gtFine_instanceIds.png", truncate, "unreadable"),
    "small labels": ("gtFine/train/{0}/{1}_gtFine_instanceIds.png", shrink, "size"),
    "label": ("gtFine/train/{0}/{1}_gtFine_instanceIds.png", lambda path: relabel(path, 77), "category"),
    "colours": (
        "gtFine/train/{0}/{1}_gtFine_instanceIds.png",
        lambda path: save(path, np.zeros((*SIZE, 3), np.uint8)),
        "format",
    ),
    "bomb": ("leftImg8bit/train/{0}/{1}_leftImg8bit.png", bomb, "absurd size"),
    "both splits": (
        "gtFine/train/{0}/{1}_gtFine_instanceIds.png",
        lambda path: [
            shutil.copytree(path.parents[3] / kind / "train" / "aachen", path.parents[3] / kind / "val" / "aachen")
            for kind in ("gtFine", "leftImg8bit")
        ],
        "overlap",
    ),
}


@pytest.mark.parametrize("fault", ADE20K)
def test_each_fault_in_ade20k_is_found_and_refused(tmp_path: Path, fault: str) -> None:
    layout = write_ade20k(tmp_path)
    assert found(layout) == []
    id = layout.ids["train"][1]
    name, plant, kind = ADE20K[fault]
    plant(layout.folder / name.format(id))
    assert {(problem.kind, problem.image) for problem in found(layout)} == {(kind, id)}
    assert kind == "overlap" or is_refused(layout, "train", id)


@pytest.mark.parametrize("fault", CITYSCAPES)
def test_each_fault_in_cityscapes_is_found_and_refused(tmp_path: Path, fault: str) -> None:
    layout = write_cityscapes(tmp_path)
    assert found(layout) == []
    id = layout.ids["train"][0]
    name, plant, kind = CITYSCAPES[fault]
    plant(layout.folder / name.format("aachen", id))
    problems = found(layout)
    assert {problem.kind for problem in problems} == {kind}
    assert problems[0].image == id
    assert kind == "overlap" or len(problems) == 1
    assert kind == "overlap" or is_refused(layout, "train", id)


def test_an_unreadable_picture_does_not_hide_a_bad_label(tmp_path: Path) -> None:
    layout = write_ade20k(tmp_path)
    id = layout.ids["train"][1]
    for fault in ("truncated picture", "label", "instance class"):
        name, plant, _ = ADE20K[fault]
        plant(layout.folder / name.format(id))
    assert sorted(problem.kind for problem in found(layout)) == ["category", "category", "unreadable"]


def test_the_processes_do_not_change_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    coco = Coco(tmp_path)
    for id, fault in zip(coco.layout.ids["train"], ("no picture", "area", "outside", "bomb PNG"), strict=False):
        FAULTS[fault][0](coco, id)
    monkeypatch.setattr(module, "CHUNK", 2)
    seen: list[tuple[int, int]] = []
    alone = list(verify_source(source_of(coco.layout), processes=1, progress=lambda *told: seen.append(told)))
    assert seen[-1] == (11, 11)
    assert list(verify_source(source_of(coco.layout), processes=2)) == alone
    assert len(alone) == 4


def test_a_source_that_only_reads_is_verified_by_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    class Few(Scenes):
        def ids(self, split: str) -> list[str]:
            return super().ids(split)[:3]

    source = Few()
    assert list(verify_source(source, processes=1)) == []
    bad, read = source.ids("val")[1], Few.scene

    def scene(self: Few, split: str, id: str) -> Any:
        if id == bad:
            raise UserError("cannot be drawn")
        return read(self, split, id)

    monkeypatch.setattr(Few, "scene", scene)
    (problem,) = verify_source(source, processes=1)
    assert (problem.image, problem.reason) == (bad, "cannot be drawn")


def test_the_command_names_every_problem_and_exits_by_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def bench(*arguments: str) -> tuple[int, str, str]:
        code = main(["data", "verify", *arguments])
        return code, *capsys.readouterr()

    monkeypatch.chdir(tmp_path)
    coco = Coco(tmp_path / "data")
    prepared = prepare(source_of(coco.layout), "val", (16, 16), None, tmp_path / "prepared")
    code, out, error = bench("coco", "--data-root", "data")
    assert (code, error) == (0, "")
    assert out.splitlines()[-1] == "coco: 0 problems; 1 prepared forms read"

    first, second = coco.layout.ids["train"][:2]
    coco.picture(first).unlink()
    truncate(coco.png(second))
    array = np.load(prepared.folder / "segments.npy", mmap_mode="r+")
    array[0, 0, 0] += 1
    array.flush()
    code, out, error = bench("coco", "--data-root", "data")
    assert (code, error) == (1, "")
    lines = out.splitlines()
    assert lines[0] == f"data/coco/train2017/{coco.picture(first).name}: no such file"
    assert lines[1].startswith(f"data/coco/annotations/panoptic_train2017/{coco.png(second).name}: damaged")
    assert lines[-1].startswith(f"coco: {len(lines) - 1} problems: ")
    assert "1 missing" in lines[-1]

    monkeypatch.setattr("bench.commands.progress.PLAIN_EVERY", -1.0)
    code, out, error = bench("coco", "--data-root", "data", "--json")
    told = json.loads(out)
    assert "reading coco: 11 of 11" in error  # beside the json, not in it
    assert code == 1
    assert (told["kinds"]["missing"], told["kinds"]["unreadable"]) == (1, 1)
    assert told["kinds"]["prepared"] >= 1
    assert told["problems"][0] == {
        "file": f"data/coco/train2017/{coco.picture(first).name}",
        "kind": "missing",
        "reason": "no such file",
        "image": first,
    }

    code, out, _ = bench("coco", "--data-root", "prepared")  # where the dataset itself is not
    assert code == 1
    assert "only its prepared forms were read" in out
    code, _, error = bench("ade20k", "--data-root", "data")
    assert (code, error.count("\n")) == (2, 1)

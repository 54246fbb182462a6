from __future__ import annotations

import json
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from bench.data.native.panoptic_png import write_ids
from bench.data.scene import semantic_of
from bench.errors import UserError
from models.categories import Segment

GRASS, CAT, DOG = 0, 1, 2
SIZE = (40, 60)


def test_reads_ids_of_either_type_in_the_order_of_the_json(folder: Any) -> None:
    assert folder.write().ids("val") == ["aachen_1", "139"]


def test_scene_keeps_crowd_void_and_contiguous_categories(folder: Any) -> None:
    scene = folder.write().scene("val", "139")
    assert scene.image.shape == (*SIZE, 3)
    assert scene.table == {
        1: Segment(CAT, True, False),
        2: Segment(GRASS, False, False),
        3: Segment(DOG, True, False),
        4: Segment(CAT, True, True),
    }
    ids = folder.ids()
    for number, old in enumerate((0, 70000, 300, 9, 5)):
        assert np.array_equal(scene.segments == number, ids == old)
    assert semantic_of(scene.segments, scene.table)[0, 0] == 255
    assert scene.instances is None


def test_instances_become_masks_of_the_native_size(folder: Any) -> None:
    folder.annotate_instances(139)
    source = folder.write()
    cat, crowd, speck = source.scene("val", "139").instances
    mask = coco_mask.decode(cat.rle)
    assert (cat.category, cat.is_crowd, mask.sum()) == (CAT, False, 400)
    assert mask[10:30, 5:25].all()
    assert (crowd.category, crowd.is_crowd) == (DOG, True)
    assert coco_mask.decode(crowd.rle)[:, 50:].all()
    assert coco_mask.area(crowd.rle) == 10 * SIZE[0]
    assert coco_mask.area(speck.rle) == 1
    assert isinstance(cat.rle["counts"], str)
    assert source.scene("val", "aachen_1").instances == []


def test_part_reads_the_same_scene_and_nothing_else(folder: Any) -> None:
    folder.annotate_instances(139)
    source = folder.write()
    part = source.part("val", ["139"])
    assert part.ids("val") == ["139"]
    assert np.array_equal(part.scene("val", "139").segments, source.scene("val", "139").segments)
    assert len(part.scene("val", "139").instances) == 3


def test_fingerprint_follows_the_json_files(folder: Any) -> None:
    before = folder.write().fingerprint("val")
    assert folder.write().splits["val"].instances is None
    folder.content["info"] = {}
    assert folder.write().fingerprint("val") != before


def first(folder: Any) -> dict:
    return folder.content["annotations"][0]


def drop_json(folder: Any) -> None:
    folder.json.unlink()


def garble_json(folder: Any) -> None:
    folder.json.write_text("{")


def drop_key(folder: Any) -> None:
    folder.json.write_text(json.dumps({"images": [], "categories": []}))


def drop_png(folder: Any) -> None:
    (folder.pngs / "aachen_1.png").unlink()


def drop_image(folder: Any) -> None:
    (folder.images / "aachen_1.png").unlink()


def garble_image(folder: Any) -> None:
    (folder.images / "aachen_1.png").write_bytes(b"not a picture")


def garble_png(folder: Any) -> None:
    (folder.pngs / "aachen_1.png").write_bytes(b"not a picture")


def shrink_image(folder: Any) -> None:
    Image.new("RGB", (30, 20)).save(folder.images / "aachen_1.png")


def extra_png_id(folder: Any) -> None:
    ids = folder.ids()
    ids[0, 0] = 4711
    write_ids(folder.pngs / "aachen_1.png", ids)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (drop_json, "no annotation json at"),
        (garble_json, "is not readable json"),
        (drop_key, "lacks annotations"),
        (drop_png, r"toy image aachen_1: .*aachen_1\.png: no such file; run `bench data verify toy`"),
        (drop_image, r"toy image aachen_1: .*val/aachen_1\.png: no such file"),
        (garble_image, r"toy image aachen_1: .*val/aachen_1\.png: not a picture"),
        (garble_png, r"toy image aachen_1: .*panoptic_val/aachen_1\.png: not a picture"),
        (shrink_image, "image aachen_1: its picture is 20x30, its PNG is 40x60, its json is 40x60"),
        (extra_png_id, "aachen_1 has PNG ids without an entry in the json: 4711; run `bench data verify toy`"),
    ],
)
def test_spoilt_files_give_one_line(folder: Any, spoil, message: str) -> None:
    source = folder.write()
    spoil(folder)
    with pytest.raises(UserError, match=message) as caught:
        source.scene("val", source.ids("val")[0])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a["segments_info"].pop(), "has PNG ids without an entry in the json: 5"),
        (lambda a: a["segments_info"].append({"id": 8, "category_id": 3}), "segment ids that its PNG lacks: 8"),
        (lambda a: a["segments_info"].append({"id": 9, "category_id": 3}), "lists a segment id twice: 9"),
        (lambda a: a["segments_info"][0].update(category_id=99), "has category id 99, which"),
        (lambda a: a.pop("segments_info"), "has a row without 'segments_info'"),
        (lambda a: a.update(image_id=500), "annotates image 500, which its `images` lack"),
        (lambda a: a.update(image_id=139), "has more than one annotation for image 139"),
    ],
)
def test_spoilt_annotations_give_one_line(folder: Any, change, message: str) -> None:
    change(first(folder))
    source = folder.write()
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        source.scene("val", source.ids("val")[0])
    assert "\n" not in str(caught.value)


def test_an_image_without_annotation_is_named(folder: Any) -> None:
    del folder.content["annotations"][0]
    with pytest.raises(UserError, match="no annotation for image aachen_1"):
        folder.write().ids("val")


def test_an_instance_of_another_size_is_named(folder: Any) -> None:
    folder.annotate_instances(139)
    folder.instances["annotations"][1]["segmentation"]["size"] = [4, 4]
    with pytest.raises(UserError, match="image 139 has an instance whose mask cannot be read"):
        folder.write().scene("val", "139")


@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/secret.png", "a/../../secret.png", "C:secret.png", "..\\secret.png"]
)
@pytest.mark.parametrize("which", ["picture", "PNG"])
def test_a_name_that_leaves_the_folder_is_refused(folder: Any, name: str, which: str) -> None:
    row = folder.content["images"][0] if which == "picture" else first(folder)
    row["file_name"] = name
    with pytest.raises(UserError, match="leaves the dataset's folder") as caught:
        folder.write().scene("val", "aachen_1")
    assert "\n" not in str(caught.value)


def test_a_link_out_of_the_folder_is_refused_and_a_folder_that_is_a_link_is_not(folder: Any) -> None:
    elsewhere = folder.root.parent / "elsewhere"
    folder.images.rename(elsewhere)
    folder.images.symlink_to(elsewhere)
    source = folder.write()
    assert source.scene("val", "aachen_1").table
    (elsewhere / "aachen_1.png").rename(folder.root.parent / "secret.png")
    (elsewhere / "aachen_1.png").symlink_to(folder.root.parent / "secret.png")
    with pytest.raises(UserError, match="leaves the dataset's folder by a link"):
        source.scene("val", "aachen_1")


def test_a_link_within_the_folder_is_followed_and_a_folder_in_it_that_leads_out_is_refused(folder: Any) -> None:
    (folder.images / "aachen_1.png").rename(folder.images / "real.png")
    (folder.images / "aachen_1.png").symlink_to(folder.images / "real.png")
    assert folder.write().scene("val", "aachen_1").table
    (folder.root.parent / "secret").mkdir()
    (folder.images / "real.png").rename(folder.root.parent / "secret" / "a.png")
    (folder.images / "inner").symlink_to(folder.root.parent / "secret")
    folder.content["images"][0]["file_name"] = "inner/a.png"
    with pytest.raises(UserError, match="leaves the dataset's folder by a link"):
        folder.write().scene("val", "aachen_1")


def claim_size(path: Path, side: int) -> None:
    """Rewrites the size in a PNG's header, its checksum with it: a few bytes that would decode to gigabytes."""
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", side, side)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("side", [8_000, 40_000])  # above our limit, and above the one at which Pillow itself refuses
@pytest.mark.parametrize("which", ["pngs", "images"])
def test_a_decompression_bomb_is_refused_unopened(folder: Any, which: str, side: int) -> None:
    source = folder.write()
    claim_size(getattr(folder, which) / "aachen_1.png", side)
    with pytest.raises(UserError, match="at most 50 million pixels are read") as caught:
        source.scene("val", "aachen_1")
    assert "\n" not in str(caught.value)


def test_an_unknown_split_or_id_is_refused(folder: Any) -> None:
    source = folder.write()
    with pytest.raises(UserError, match="unknown split 'vol' in dataset toy; did you mean 'val'"):
        source.ids("vol")
    with pytest.raises(UserError, match="toy val has no image 5"):
        source.scene("val", "5")

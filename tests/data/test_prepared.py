from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from bench.data.catalog import DataRoots, Missing, find
from bench.data.native.coco_instances import text_rle
from bench.data.native.scenes import Scenes
from bench.data.prepared import existing, load, prepare, prepared_folder
from bench.data.preparing import tables
from bench.data.resize import measure
from bench.data.scene import Instance, semantic_of
from bench.data.verify_prepared import verify
from bench.errors import UserError

CAT = 1


def test_table_is_measured_at_this_size(folder: Any, tmp_path: Path) -> None:
    prepared = prepare(folder.write(), "val", (20, 30), None, tmp_path / "p")
    assert prepared.images.shape == (2, 20, 30, 3)
    assert prepared.segments.dtype == np.uint16
    row = prepared.segment_rows.numbers[0].tolist()
    assert row == [0, 1, CAT, 1, 0, 100, 2, 5, 10, 10]  # the native 20 x 20 cat at (5, 10), halved
    assert row[5] == (prepared.segments[0] == 1).sum()
    assert prepared.table(1) == prepared.table(0)
    assert prepared.table(1)[4].is_crowd


def test_what_vanished_is_counted_by_category(folder: Any, tmp_path: Path) -> None:
    folder.annotate_instances(139)
    small = prepare(folder.write(), "val", (10, 15), None, tmp_path / "p")
    assert 3 not in small.table(0)  # the dog of one pixel
    told = small.manifest
    assert (told["segments_total"], told["segments_vanished"]) == (8, 2)
    assert (told["segments_total_by_category"], told["segments_vanished_by_category"]) == ([2, 4, 2], [0, 0, 2])
    assert (told["instances_total"], told["instances_vanished"]) == (3, 1)
    assert (told["instances_total_by_category"], told["instances_vanished_by_category"]) == ([0, 1, 2], [0, 0, 1])


@pytest.mark.parametrize("size", [(32, 32), (12, 16)])
def test_what_vanished_equals_a_recount(tmp_path: Path, size: tuple[int, int]) -> None:
    source = Scenes()
    prepared = prepare(source, "val", size, 40, tmp_path)
    total, vanished = [0] * len(source.categories), [0] * len(source.categories)
    for id in prepared.ids:
        scene = source.scene("val", id)
        rows = [int((y + 0.5) * 128 / size[0]) for y in range(size[0])]
        columns = [int((x + 0.5) * 128 / size[1]) for x in range(size[1])]
        left = {int(scene.segments[y, x]) for y in rows for x in columns}
        for number, segment in scene.table.items():
            total[segment.category] += 1
            vanished[segment.category] += number not in left
    assert prepared.manifest["segments_total_by_category"] == total
    assert prepared.manifest["segments_vanished_by_category"] == vanished
    assert prepared.manifest["segments_vanished"] == sum(vanished) > 0
    assert prepared.manifest["instances_total"] is None


def test_instances_are_kept_at_this_size(folder: Any, tmp_path: Path) -> None:
    folder.annotate_instances(139)
    prepared = prepare(folder.write(), "val", (20, 30), None, tmp_path / "p")
    assert prepared.instance_truth == "instances"
    assert prepared.instances(0) == []
    cat, crowd = prepared.instances(1)
    assert cat.rle["size"] == [20, 30]
    assert coco_mask.decode(cat.rle)[5:15, 2:12].all()
    assert (coco_mask.area(cat.rle), crowd.is_crowd) == (100, True)
    assert verify(prepared.folder) == []


def test_hundreds_of_instances_are_measured() -> None:
    """pycocotools' `area` takes no more than 255 masks at a time."""
    masks = np.zeros((20, 30, 300), dtype=np.uint8, order="F")
    for n in range(300):
        masks[n % 20, : n // 20 + 1, n] = 1
    rles = [text_rle(rle) for rle in coco_mask.encode(masks)]
    rows = tables.instance_rows([(n // 100, Instance(n % 7, n == 4, rle)) for n, rle in enumerate(rles)])
    expected = [[n // 100, n % 7, n == 4, n // 20 + 1, 0, n % 20, n // 20 + 1, 1, 20, 30] for n in range(300)]
    assert rows.numbers.tolist() == expected
    assert rows.counts == tuple(rle["counts"] for rle in rles)


def test_without_instances_the_things_serve(folder: Any, tmp_path: Path) -> None:
    prepared = prepare(folder.write(), "val", (20, 30), None, tmp_path)
    assert prepared.instance_truth == "panoptic things"
    assert prepared.instances(0) is None
    assert not (prepared.folder / "instances.parquet").exists()


def test_the_same_whatever_the_processes_and_again(tmp_path: Path) -> None:
    hashes = set()
    for root, processes in (("a", 1), ("b", 2), ("c", 2)):
        prepared = prepare(Scenes(), "val", (32, 48), 70, tmp_path / root, processes=processes)
        hashes.add((prepared.split_hash, prepared.manifest["pixel_hash"]))
        assert verify(prepared.folder) == []
    assert len(hashes) == 1


def test_the_same_in_another_interpreter(tmp_path: Path) -> None:
    prepared = prepare(Scenes(), "val", (32, 32), 3, tmp_path / "a")
    code = (
        "import sys; from pathlib import Path; from bench.data.prepared import prepare\n"
        "from bench.data.native.scenes import Scenes\n"
        "print(prepare(Scenes(), 'val', (32, 32), 3, Path(sys.argv[1])).split_hash)\n"
        "assert 'torch' not in sys.modules"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path / "b")]
    answer = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == prepared.split_hash


def test_the_split_hash_is_about_the_truth_not_the_pixels(folder: Any, tmp_path: Path) -> None:
    before = prepare(folder.write(), "val", (20, 30), None, tmp_path / "a")
    (folder.images / "139.png").write_bytes((folder.images / "aachen_1.png").read_bytes())
    pixels = prepare(folder.write(), "val", (20, 30), None, tmp_path / "b")
    folder.content["annotations"][0]["segments_info"][0]["category_id"] = 21
    truth = prepare(folder.write(), "val", (20, 30), None, tmp_path / "c")
    assert pixels.split_hash == before.split_hash
    assert pixels.manifest["pixel_hash"] != before.manifest["pixel_hash"]
    assert truth.split_hash != before.split_hash


def test_a_whole_folder_is_taken_as_it_is(folder: Any, tmp_path: Path) -> None:
    source = folder.write()
    assert existing(source, "val", (20, 30), None, tmp_path) is None
    prepared = prepare(source, "val", (20, 30), None, tmp_path)
    for path in folder.pngs.iterdir():
        path.unlink()
    assert prepare(source, "val", (20, 30), None, tmp_path).split_hash == prepared.split_hash
    assert existing(source, "val", (20, 30), None, tmp_path).split_hash == prepared.split_hash
    assert existing(source, "val", (20, 30), 1, tmp_path) is None


@pytest.mark.parametrize("processes", [1, 2])
def test_a_failed_preparation_says_what_to_do_and_leaves_nothing(folder: Any, tmp_path: Path, processes: int) -> None:
    source = folder.write()
    (folder.pngs / "139.png").unlink()
    with pytest.raises(UserError, match=r"toy image 139: .*bench data verify toy`.*--skip-bad") as caught:
        prepare(source, "val", (20, 30), None, tmp_path / "p", processes=processes)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "p" / "toy").iterdir()) == []


def test_the_folder_names_split_size_and_limit(tmp_path: Path) -> None:
    name = prepared_folder(Scenes(), "val", (48, 64), 5, tmp_path).name
    assert name.startswith("val-48x64-n5-")
    assert prepared_folder(Scenes(), "val", (48, 64), None, tmp_path).name.startswith("val-48x64-")


def test_the_manifest_says_what_it_was_made_of(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    prepared = prepare(Scenes(), "train", (32, 32), 40, tmp_path, lambda done, total: seen.append((done, total)))
    assert seen == [(32, 40), (40, 40)]
    manifest = json.loads((prepared.folder / "manifest.json").read_text())
    assert manifest["size"] == [32, 32]
    assert manifest["fingerprint"] == Scenes().fingerprint("train")
    assert set(manifest["versions"]) == {"numpy", "pillow"}
    assert len(manifest["ids"]) == len(prepared) == 40


@pytest.mark.parametrize(
    ("name", "found"),
    [("segments.npy", "split_hash"), ("images.npy", "pixel_hash"), ("manifest.json", "not as it was written")],
)
def test_verify_finds_what_was_changed(tmp_path: Path, name: str, found: str) -> None:
    folder = prepare(Scenes(), "val", (32, 32), 3, tmp_path).folder
    assert verify(folder) == []
    if name == "manifest.json":
        content = json.loads((folder / name).read_text())
        content["ids"][0] = "val-999999"
        (folder / name).write_text(json.dumps(content))
    else:
        array = np.load(folder / name, mmap_mode="r+")
        array[0, 5, 5] = 1 if array[0, 5, 5].max() != 1 else 2
        array.flush()
    problems = verify(folder)
    assert any(found in problem for problem in problems)


def test_load_refuses_what_is_not_whole(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no prepared data at"):
        load(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": 0}')
    with pytest.raises(UserError, match="has format 0, expected"):
        load(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(UserError, match=r"is not whole .* remove that folder"):
        load(tmp_path)


def test_real_coco(shared_data: Path, tmp_path: Path) -> None:
    source = find("coco", DataRoots({"coco": shared_data / "coco_panoptic"}))
    assert not isinstance(source, Missing)
    crowds = void = 0
    for split in ("train", "val"):
        prepared = prepare(source, split, (64, 64), None, tmp_path)
        assert (len(prepared), len(prepared.categories)) == (100, 133)
        assert sum(prepared.categories.is_thing) == 80
        assert 0 < prepared.manifest["segments_vanished"] < 0.05 * prepared.manifest["segments_total"]
        crowds += int(prepared.segment_rows.numbers[:, 4].sum())
        void += int((np.asarray(prepared.segments) == 0).sum())
        assert verify(prepared.folder) == []
        for image in range(len(prepared)):
            found = measure(prepared.segments[image])
            assert found.numbers.tolist() == list(prepared.table(image))
            assert semantic_of(prepared.segments[image], prepared.table(image)).shape == (64, 64)
    assert crowds == 11  # as in the two json files
    assert 0.08 < void / (200 * 64 * 64) < 0.11  # 9.8 % and 9.4 % at native size


def test_real_coco_instances(shared_data: Path, tmp_path: Path) -> None:
    name = "coco_instances"
    source = find(name, DataRoots({name: shared_data / name}))
    assert not isinstance(source, Missing)
    prepared = prepare(source, "val", (128, 128), 40, tmp_path)
    content = json.loads((shared_data / name / "annotations" / "instances_val2017.json").read_text())
    chosen = set(prepared.ids)
    expected = sum(str(row["image_id"]) in chosen for row in content["annotations"])
    kept = sum(len(prepared.instances(image)) for image in range(len(prepared)))
    assert kept + prepared.manifest["instances_vanished"] == expected
    assert prepared.instance_truth == "instances"
    assert verify(prepared.folder) == []


def test_real_nuclei_has_hundreds_of_segments(shared_data: Path, tmp_path: Path) -> None:
    source = find("nuclei", DataRoots({"nuclei": shared_data / "nuclei"}))
    assert not isinstance(source, Missing)
    prepared = prepare(source, "val", (128, 128), 60, tmp_path)
    assert prepared.segments.max() > 100
    assert verify(prepared.folder) == []


def test_splits_with_other_categories_are_refused(tmp_path: Path, make_folder: Callable[..., Any]) -> None:
    make_folder(tmp_path, "val").write()
    train = make_folder(tmp_path, "train")
    train.content["categories"] = [*train.content["categories"], {"id": 40, "name": "cow", "isthing": 1}]
    train.write()
    source = find("toy", DataRoots({"toy": tmp_path}))
    assert not isinstance(source, Missing)
    assert source.ids("val")
    with pytest.raises(UserError, match="has other categories than the other split of toy"):
        source.ids("train")

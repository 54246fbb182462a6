"""Damaged datasets: each image is read whole or refused in one line, and `verify` says the same."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from bench.data.catalog import DataRoots, find
from bench.data.intact import assure
from bench.data.native.scenes import Scenes
from bench.data.prepared import load, prepare
from bench.errors import UserError
from tests.data.layouts import write_ade20k, write_cityscapes, write_coco
from tests.robustness.mutations import damaged_bytes, damaged_json, text_of

WRITERS = {"coco": write_coco, "ade20k": write_ade20k, "cityscapes": write_cityscapes}


@pytest.fixture(scope="module")
def layouts(tmp_path_factory):
    root = tmp_path_factory.mktemp("layouts")
    return {name: write(root).folder for name, write in WRITERS.items()}


def one_line(error):
    assert str(error).strip()
    assert "\n" not in str(error), str(error)


def read_all(folder, name, task=None):
    """Every scene that can be had; what cannot is refused, by `scene` and by `check` alike."""
    try:
        source = find(name, DataRoots({name: folder}), task)
    except UserError as error:
        return one_line(error)
    for split in source.splits:
        try:
            ids = list(source.survey(split).pictures)
        except UserError as error:
            one_line(error)
            continue
        for id in ids:
            problems = source.check(split, id)
            try:
                scene = source.scene(split, id)
            except UserError as error:
                one_line(error)
                assert problems, f"{error}: not found by check"
                continue
            assert not problems, problems
            numbers = set(np.unique(scene.segments).tolist()) - {0}
            assert numbers == set(scene.table)
            categories = {segment.category for segment in scene.table.values()}
            assert not categories or (min(categories) >= 0 and max(categories) < len(source.categories))
    return None


@pytest.mark.parametrize("name", WRITERS)
def test_damaged_files_of_a_dataset_are_refused_in_one_line(layouts, name, cases):
    folder = layouts[name]
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for chance in cases(100):
        path = chance.choice(files)
        whole = path.read_bytes()
        try:
            path.write_bytes(damaged_bytes(whole, chance))
            read_all(folder, name)
        finally:
            path.write_bytes(whole)


@pytest.mark.parametrize("file", ["panoptic_val2017.json", "instances_val2017.json"])
def test_damaged_rows_of_coco_are_refused_in_one_line(layouts, file, cases):
    path = layouts["coco"] / "annotations" / file
    whole = path.read_bytes()
    document = json.loads(whole)
    document["categories"] = document["categories"]
    try:
        for chance in cases(250):
            path.write_bytes(text_of(damaged_json(document, chance)))
            read_all(layouts["coco"], "coco")
    finally:
        path.write_bytes(whole)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare(Scenes(), "val", (32, 32), 6, tmp_path_factory.mktemp("prepared"), processes=1).folder


@pytest.mark.parametrize("file", ["manifest.json", "images.npy", "segments.npy", "segments.parquet"])
def test_damaged_prepared_data_is_refused_before_a_run(prepared, file, tmp_path, cases):
    whole = load(prepared)
    for chance in cases(50):
        folder = tmp_path / "damaged"
        shutil.copytree(prepared, folder)
        path = folder / file
        content = path.read_bytes()
        if file == "manifest.json" and chance.random() < 0.5:
            path.write_bytes(text_of(damaged_json(json.loads(content), chance)))
        else:
            path.write_bytes(damaged_bytes(content, chance))
        try:
            assure([folder])
        except UserError as error:
            one_line(error)
        else:
            found = load(folder)
            assert found.split_hash == whole.split_hash
            assert np.array_equal(found.images, whole.images)
            assert np.array_equal(found.segments, whole.segments)
            assert [found.table(n) for n in range(len(found))] == [whole.table(n) for n in range(len(whole))]
            assert (found.ids, found.size, found.instance_truth) == (whole.ids, whole.size, whole.instance_truth)
            assert [found.fraction_hash(p) for p in (10, 50)] == [whole.fraction_hash(p) for p in (10, 50)]
        shutil.rmtree(folder)


def test_what_was_found_whole_is_not_hashed_again_until_it_changes(prepared, tmp_path, monkeypatch):
    folder, calls = tmp_path / "copy", []
    shutil.copytree(prepared, folder, ignore=shutil.ignore_patterns(".*"))
    monkeypatch.setattr("bench.data.intact.verify_hashes", lambda folder: calls.append(folder) or [])
    assure([folder])
    assure([folder, folder])
    assert calls == [folder]
    (folder / "images.npy").write_bytes((folder / "images.npy").read_bytes())
    assure([folder])
    assert calls == [folder, folder]

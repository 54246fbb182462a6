"""Damaged files handed to `bench score`: a number or one clear line."""

from __future__ import annotations

import json
import shutil

import pytest

from bench.errors import UserError
from bench.evaluate.score import score_files
from tests.data.layouts import write_coco
from tests.robustness.mutations import damaged_bytes, damaged_json, text_of


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Truth, the same as a prediction, detections of every instance, and the instances' truth."""
    folder = write_coco(tmp_path_factory.mktemp("score")).folder / "annotations"
    truth, instances = folder / "panoptic_val2017.json", folder / "instances_val2017.json"
    shutil.copytree(truth.with_suffix(""), folder / "mine")
    shutil.copy(truth, folder / "mine.json")
    rows = json.loads(instances.read_text())["annotations"]
    sizes = {row["id"]: [row["height"], row["width"]] for row in json.loads(truth.read_text())["images"]}
    results = [
        {
            "image_id": row["image_id"],
            "category_id": row["category_id"],
            "segmentation": row["segmentation"],
            "score": 0.5,
        }
        for row in rows
        if isinstance(row["segmentation"], dict) and row["segmentation"]["size"] == sizes[row["image_id"]]
    ]
    (folder / "results.json").write_text(json.dumps(results))
    found = truth, folder / "mine.json", folder / "results.json", instances
    assert score_files(*found)["pq"] == 1.0
    return found


@pytest.mark.parametrize("place", range(4), ids=["truth", "prediction", "results", "instances"])
def test_a_damaged_json_gives_a_score_or_one_line(files, place, cases):
    path = files[place]
    whole = path.read_bytes()
    document = json.loads(whole)
    if isinstance(document, dict) and "categories" in document:
        document["categories"] = [row for row in document["categories"] if row["id"] < 5 or row["id"] > 140]
    try:
        for number, chance in enumerate(cases(120)):
            path.write_bytes(
                damaged_bytes(whole, chance) if number % 4 == 0 else text_of(damaged_json(document, chance))
            )
            score(files)
    finally:
        path.write_bytes(whole)


def test_a_damaged_picture_gives_a_score_or_one_line(files, cases):
    pictures = sorted(files[1].with_suffix("").glob("*.png"))
    for chance in cases(60):
        path = chance.choice(pictures)
        whole = path.read_bytes()
        path.write_bytes(damaged_bytes(whole, chance))
        score(files)
        path.write_bytes(whole)


def score(files):
    try:
        found = score_files(*files)
    except UserError as error:
        assert str(error).strip()
        assert "\n" not in str(error)
        return
    values = [found[key] for key in ("miou", "pq", "sq", "rq", "ap", "ap50", "ap75", "ar")]
    assert all(value is None or 0 <= value <= 1 for value in values), values

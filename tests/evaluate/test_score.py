"""`score_files` on official formats: real COCO truth against itself and hotcoco, and every mistake a user can make."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hotcoco import COCO, COCOeval
from hotcoco.panoptic import PanopticEval
from pycocotools import mask as rle_codec

from bench.data.native.panoptic_png import read_ids, write_ids
from bench.errors import UserError
from bench.evaluate.score import score_files
from models.categories import PredictedSegment, Segment


@pytest.fixture
def coco(shared_data: Path) -> Path:
    return shared_data / "coco_panoptic" / "annotations" / "panoptic_val2017.json"


def test_real_truth_against_itself_is_perfect(coco: Path):
    scored = score_files(coco, coco)
    assert scored["images"] == 100
    assert [scored[key] for key in ("pq", "sq", "rq", "miou", "pq_thing", "pq_stuff")] == [1.0] * 6
    assert [scored[key] for key in ("ap", "ap_classes", "instance_truth")] == [None] * 3
    assert scored["ap_note"] == "instance results were not given, so there is no AP"
    assert scored["truth_note"] is None
    assert len(scored["classes"]) == 133
    json.dumps(scored, allow_nan=False)


def subset(coco: Path, folder: Path, count: int) -> Path:
    """The first images of the truth, in a folder of their own."""
    content = json.loads(coco.read_text())
    content["annotations"] = content["annotations"][:count]
    kept = {row["image_id"] for row in content["annotations"]}
    content["images"] = [row for row in content["images"] if row["id"] in kept]
    (folder / "truth").mkdir()
    for row in content["annotations"]:
        shutil.copy(coco.with_suffix("") / row["file_name"], folder / "truth")
    path = folder / "truth.json"
    path.write_text(json.dumps(content))
    return path


def perturbed(truth: Path, folder: Path) -> Path:
    """Another network's answer: moved by some pixels, new ids, some categories wrong, some segments gone."""
    rng = np.random.default_rng(0)
    content = json.loads(truth.read_text())
    known = [row["id"] for row in content["categories"]]
    annotations = []
    (folder / "prediction").mkdir()
    for row in content["annotations"]:
        ids = read_ids(truth.with_suffix("") / row["file_name"])
        moved = np.roll(ids, rng.integers(-6, 7, size=2), axis=(0, 1))
        answer, infos = np.zeros_like(moved), []
        for number, info in enumerate(row["segments_info"], start=1):
            if rng.random() < 0.85 and (moved == info["id"]).any():
                answer[moved == info["id"]] = 1000 * number
                category = info["category_id"] if rng.random() < 0.9 else int(rng.choice(known))
                infos.append({"id": 1000 * number, "category_id": category})
        write_ids(folder / "prediction" / row["file_name"], answer)
        annotations.append({"image_id": row["image_id"], "file_name": row["file_name"], "segments_info": infos})
    path = folder / "prediction.json"
    path.write_text(json.dumps({"annotations": annotations[::-1]}))
    return path


def test_a_perturbed_prediction_equals_hotcoco(coco: Path, tmp_path: Path):
    truth = subset(coco, tmp_path, 20)
    prediction = perturbed(truth, tmp_path)
    ours = score_files(truth, prediction)
    referee = PanopticEval(truth, prediction)
    referee.evaluate()
    theirs = referee.results()
    assert 0.05 < ours["pq"] < 0.95
    for part, suffix in (("All", ""), ("Things", "_thing"), ("Stuff", "_stuff")):
        for name in ("pq", "sq", "rq"):
            assert ours[name + suffix] == pytest.approx(theirs[part][name], abs=1e-12)
    assert ours["miou"] == pytest.approx(referee.report()["metrics"]["mIoU"], abs=1e-12)


def test_instance_results_equal_hotcoco(shared_data: Path, tmp_path: Path):
    """Real instances with polygons and crowds; the panoptic truth only names images and sizes here."""
    folder = shared_data / "coco_instances" / "annotations"
    truth = subset(folder / "panoptic_things_val2017.json", tmp_path, 25)
    instances = folder / "instances_val2017.json"
    results = tmp_path / "results.json"
    content = json.loads(instances.read_text())
    kept = {row["image_id"] for row in json.loads(truth.read_text())["annotations"]}
    content["images"] = [row for row in content["images"] if row["id"] in kept]
    content["annotations"] = [row for row in content["annotations"] if row["image_id"] in kept]
    results.write_text(json.dumps(answers(content)))

    ours = score_files(truth, truth, results, instances)
    own = COCO(content)
    evaluation = COCOeval(own, own.loadRes(str(results)), "segm")
    evaluation.run()
    theirs = evaluation.stats
    assert 0.05 < ours["ap"] < 0.95
    assert [ours[key] for key in ("ap", "ap50", "ap75", "ar")] == pytest.approx(list(theirs[[0, 1, 2, 8]]), abs=1e-12)
    assert ours["instance_truth"] == "instances"
    assert ours["ap_note"] is None
    assert ours["ap_classes"] == len({row["category_id"] for row in content["annotations"] if not row["iscrowd"]})


def answers(content: dict[str, Any]) -> list[dict[str, Any]]:
    """The annotations moved a little, with scores; some scores are equal."""
    rng = np.random.default_rng(1)
    sizes = {row["id"]: (row["height"], row["width"]) for row in content["images"]}
    rows = []
    for row in content["annotations"]:
        size = sizes[row["image_id"]]
        coded = rle_codec.frPyObjects(row["segmentation"], *size)
        mask = rle_codec.decode(rle_codec.merge(coded) if isinstance(coded, list) else coded)
        rle = rle_codec.encode(np.asfortranarray(np.roll(mask, rng.integers(-3, 4, size=2), axis=(0, 1))))
        score = round(float(rng.random()), 1)
        segmentation = {"size": list(size), "counts": rle["counts"].decode()}
        found = {"image_id": row["image_id"], "category_id": row["category_id"], "score": score}
        rows.append({**found, "segmentation": segmentation})
    return rows


# A small split in official form, for the mistakes.
IDS = np.array([[5, 5, 5, 9], [5, 5, 5, 9], [0, 0, 7, 7]])
TABLE = {5: Segment(0, True, False), 9: Segment(1, False, False), 7: Segment(0, True, True)}
SAID = {5: PredictedSegment(0, 1.0), 9: PredictedSegment(1, 1.0), 7: PredictedSegment(0, 1.0)}
CAT = {"image_id": 1, "category_id": 1, "score": 0.5, "segmentation": {"size": [3, 4], "counts": [0, 2, 1, 2, 1, 2, 4]}}


class Files:
    def __init__(self, folder: Path, write: Callable[..., Path]) -> None:
        self.folder = folder
        self.truth = write(folder, "truth", [(IDS, TABLE), (IDS, TABLE)])
        self.prediction = write(folder, "prediction", [(IDS, SAID), (IDS, SAID)])

    def edit(self, path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    def results(self, *rows: Any) -> Path:
        path = self.folder / "results.json"
        path.write_text(json.dumps(list(rows)))
        return path

    def instances(self, *rows: Any, images: tuple[int, ...] = (1, 2)) -> Path:
        path = self.folder / "instances.json"
        path.write_text(json.dumps({"images": [{"id": i} for i in images], "annotations": list(rows)}))
        return path

    def error(self, *more: Path) -> str:
        with pytest.raises(UserError) as caught:
            score_files(self.truth, self.prediction, *more)
        message = str(caught.value)
        assert "\n" not in message
        return message


@pytest.fixture
def files(tmp_path: Path, write_official: Callable[..., Path]) -> Files:
    return Files(tmp_path, write_official)


def test_without_an_instance_truth_the_things_serve_crowd_as_crowd(files: Files):
    scored = score_files(files.truth, files.prediction, files.results(CAT, {**CAT, "image_id": 2}))
    assert (scored["ap"], scored["instance_truth"], scored["ap_classes"]) == (
        pytest.approx(1.0),
        "panoptic things",
        1,
    )
    assert score_files(files.truth, files.prediction, files.results(CAT))["ar"] == pytest.approx(0.5)
    assert score_files(files.truth, files.prediction, files.results())["ap"] == 0.0


def test_polygons_and_crowds_of_an_instances_json(files: Files):
    square = {"image_id": 1, "category_id": 1, "iscrowd": 0, "segmentation": [[0, 0, 3, 0, 3, 2, 0, 2]]}
    crowd = {"image_id": 2, "category_id": 1, "iscrowd": 1, "segmentation": CAT["segmentation"]}
    other = {"image_id": 99, "category_id": 1, "segmentation": "of an image that is not scored"}
    instances = files.instances(square, crowd, other, images=(1, 2, 99))
    scored = score_files(files.truth, files.prediction, files.results(CAT, {**CAT, "image_id": 2}), instances)
    assert (scored["ap"], scored["instance_truth"]) == (pytest.approx(1.0), "instances")


def test_stale_areas_are_said_and_pixels_counted(files: Files):
    files.edit(files.truth, lambda c: c["annotations"][0]["segments_info"][0].update(area=600))
    scored = score_files(files.truth, files.prediction)
    assert scored["pq"] == 1.0
    assert scored["truth_note"].startswith("the truth's json gives 1 segments another area")


def test_an_empty_prediction_is_a_miss(files: Files):
    write_ids(files.folder / "prediction" / "1.png", IDS * 0)
    write_ids(files.folder / "prediction" / "2.png", IDS * 0)
    files.edit(files.prediction, lambda c: [row.update(segments_info=[]) for row in c["annotations"]])
    scored = score_files(files.truth, files.prediction)
    assert (scored["pq"], scored["miou"]) == (0.0, 0.0)


def test_text_image_ids_serve_too(files: Files):
    for path in (files.truth, files.prediction):
        files.edit(path, lambda c: [row.update(image_id=f"city_{row['image_id']}") for row in c["annotations"]])
    assert score_files(files.truth, files.prediction)["pq"] == 1.0


def first(content: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = content["annotations"][0]
    return row


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda c: c["annotations"].pop(), ["prediction.json: no prediction for image 2", "2 images"]),
        (lambda c: first(c).update(image_id=77), ["no prediction for image 1"]),
        (lambda c: c["annotations"].append({**first(c), "image_id": 77}), ["image 77 is not in the truth"]),
        (lambda c: c["annotations"].append(first(c)), ["more than one annotation for image 1"]),
        (lambda c: first(c)["segments_info"].pop(1), ["image 1", "1.png has segments 9 that are not in segments_info"]),
        (
            lambda c: first(c)["segments_info"].append({"id": 4, "category_id": 1}),
            ["image 1: segments 4 are in segments_info of", "no pixel"],
        ),
        (
            lambda c: first(c)["segments_info"][0].update(category_id=2),
            ["prediction.json: category_id 2 (image 1) is not a category of the truth"],
        ),
        (lambda c: first(c)["segments_info"][0].update(id=9), ["has an id twice"]),
        (lambda c: first(c)["segments_info"][0].update(id=0), ["0 is void"]),
        (lambda c: first(c)["segments_info"][0].pop("category_id"), ["a segment of image 1 lacks category_id"]),
        (lambda c: first(c).pop("segments_info"), ["entry 0 of 'annotations' lacks segments_info"]),
        (lambda c: first(c).update(segments_info={}), ["segments_info of image 1 is no list"]),
        (lambda c: first(c).update(image_id=[1]), ["the image_id of entry 0 of 'annotations' is a list"]),
        (lambda c: first(c).update(file_name="gone.png"), ["no panoptic PNG at", "gone.png"]),
        (lambda c: c.pop("annotations"), ["prediction.json: the json lacks annotations"]),
        (lambda c: c.update(annotations=3), ["'annotations' is a number; expected a list"]),
    ],
)
def test_a_prediction_that_does_not_fit_is_one_clear_line(
    files: Files, change: Callable[[dict[str, Any]], Any], expected: list[str]
):
    files.edit(files.prediction, change)
    message = files.error()
    assert all(part in message for part in expected), message


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda c: c.pop("categories"), "truth.json: the json lacks categories"),
        (lambda c: c["categories"][0].pop("isthing"), "entry 0 of 'categories' lacks isthing"),
        (lambda c: c["categories"].append(c["categories"][0]), "category ids must be unique"),
        (lambda c: first(c)["segments_info"].pop(), "1.png has segments 7"),
        (lambda c: first(c)["segments_info"][0].update(category_id=2), "truth.json: category_id 2 (image 1)"),
    ],
)
def test_a_truth_that_is_not_sound_is_one_clear_line(
    files: Files, change: Callable[[dict[str, Any]], Any], expected: str
):
    files.edit(files.truth, change)
    assert expected in files.error()


def test_sizes_must_agree(files: Files):
    write_ids(files.folder / "prediction" / "2.png", np.repeat(IDS, 2, axis=0))
    assert "image 2: the prediction's PNG is 6x4, the truth's 3x4 (height x width)" in files.error()


def test_files_must_be_there_and_be_json(files: Files):
    files.prediction.write_text("{")
    assert "prediction.json is not json" in files.error()
    files.prediction.write_bytes(b"\xff\xfe\x00")
    assert "prediction.json is not json" in files.error()
    files.prediction.write_text("[]")
    assert "the json is a list; expected an object with annotations" in files.error()
    files.prediction.unlink()
    assert "no file" in files.error()
    files.prediction.mkdir()
    assert "cannot be read" in files.error()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"image_id": 5}, "results.json: image 5 is not in the truth"),
        ({"category_id": 2}, "results.json: category_id 2 (image 1) is not a category of the truth"),
        ({"score": None}, "the score of result 0 (image 1) is None"),
        ({"score": float("nan")}, "the score of result 0 (image 1) is nan"),
        ({"segmentation": None}, "a result of image 1: segmentation is null"),
        ({"segmentation": {"size": [4, 3], "counts": [12]}}, "its mask has size [4, 3]; the image is [3, 4]"),
        ({"segmentation": {"size": [3, 4], "counts": [3]}}, "do not fill the 3x4 pixels"),
        ({"segmentation": {"size": [3, 4], "counts": [13, -1]}}, "do not fill the 3x4 pixels"),
        ({"segmentation": {"size": [3, 4], "counts": "zzz"}}, "do not fill the 3x4 pixels"),
        ({"segmentation": {"size": [3, 4], "counts": ""}}, "do not fill the 3x4 pixels"),
        ({"segmentation": {"size": [3, 4], "counts": 12}}, "do not fill the 3x4 pixels"),
        ({"segmentation": [[1, 2, 3]]}, "a polygon needs the numbers of at least 3 points"),
    ],
)
def test_instance_results_that_do_not_fit_are_one_clear_line(files: Files, change: dict[str, Any], expected: str):
    assert expected in files.error(files.results({**CAT, **change}))


def test_other_mistakes_with_instances(files: Files):
    assert "result 0 lacks score" in files.error(files.results({k: v for k, v in CAT.items() if k != "score"}))
    path = files.results(CAT)
    assert "image 2 of the panoptic truth is not among its images" in files.error(path, files.instances(images=(1,)))
    path.write_text("{}")
    assert "expected a list of results, found an object" in files.error(path)
    with pytest.raises(UserError, match="no instance results to score against it"):
        score_files(files.truth, files.prediction, instances_truth_json=files.instances())

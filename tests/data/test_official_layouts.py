"""The whole way in real processes, from each official layout: prepare, train, evaluate, report."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from bench.record import Record
from bench.store import Store
from tests.data.layouts import WRITERS, write_ade20k

PROFILE = """
name: tiny
summary: for tests
label: tiny
reproduction: false
epochs: 1
max_side: 32
max_batch: 4
max_seeds: 1
keep_weights: false
"""
SUITE = """
name: official-{task}
title: Official layouts
task: {task}
sizes: [32x32]
datasets: [coco, ade20k, cityscapes]
models: [unet-small]
floors: false
"""
CATEGORIES = {"coco": 133, "ade20k": 150, "cityscapes": 19}


def bench(cwd: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "bench", *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def write_settings(folder: Path) -> None:
    (folder / "tiny.yaml").write_text(PROFILE)
    for task in ("semantic", "panoptic"):
        (folder / f"{task}.yaml").write_text(SUITE.format(task=task))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the datasets were prepared, the suite was run and the report was written."""
    place = tmp_path_factory.mktemp("official")
    write_settings(place)
    for name, write in WRITERS.items():
        write(place / "data")
        bench(place, "data", "prepare", name, "--sizes", "32x32", "--data-root", "data")
    said = bench(place, "run", "--suite", "./panoptic.yaml", "--profile", "./tiny.yaml", "--data-root", "data")
    assert "preparing" not in said
    bench(place, "report", "--suite", "./panoptic.yaml", "--data-root", "data")
    return place


@pytest.fixture(scope="module")
def records(place: Path) -> dict[str, Record]:
    return {record.spec.dataset: record for record in Store(place / "results").records()}


def test_each_truth_is_prepared_once_for_a_split(place: Path) -> None:
    """ADE20K has two: the semantic annotation, and the instances over it."""
    found = {name: len(list((place / "prepared" / name).glob("*/manifest.json"))) for name in WRITERS}
    assert found == {"coco": 2, "ade20k": 4, "cityscapes": 2}


@pytest.mark.parametrize("name", WRITERS)
def test_a_network_is_trained_and_evaluated_on_every_layout(records: dict[str, Record], name: str) -> None:
    record = records[name]
    assert record.status.state == "done"
    assert record.metrics is not None
    assert len(record.metrics.classes) == CATEGORIES[name]
    final = record.metrics.final
    assert final.images == 2
    assert all(value is not None and math.isfinite(value) for value in (final.miou, final.pq, final.ap))


def test_instance_truth_is_cocos_own_and_elsewhere_the_things(records: dict[str, Record]) -> None:
    found = {name: record.metrics.final.instance_truth for name, record in records.items() if record.metrics}
    assert found == {"coco": "instances", "ade20k": "panoptic things", "cityscapes": "panoptic things"}


def test_the_report_names_every_dataset(place: Path) -> None:
    table = (place / "reports" / "official-panoptic.md").read_text()
    for name in WRITERS:
        assert name in table.lower().replace(" ", "")


def test_without_instances_ade20k_runs_the_semantic_task_and_says_why_not_the_panoptic(tmp_path: Path) -> None:
    write_settings(tmp_path)
    write_ade20k(tmp_path / "data", instances=False)
    common = ("--profile", "./tiny.yaml", "--data-root", "data", "--datasets", "ade20k")
    said = " ".join(bench(tmp_path, "plan", "--suite", "./panoptic.yaml", *common).split())
    assert "the panoptic task needs the instance annotation" in said
    bench(tmp_path, "run", "--suite", "./semantic.yaml", *common)
    (record,) = Store(tmp_path / "results").records()
    assert record.metrics is not None
    assert record.metrics.final.images == 2
    assert record.metrics.final.miou is not None

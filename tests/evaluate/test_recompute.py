"""The metrics from images.parquet against those of the evaluator, which were counted on the images themselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.evaluate.recompute import recompute, same
from models.categories import Categories
from tests.evaluate.conftest import CATEGORIES, draw
from tests.evaluate.evaluated import evaluated


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seeds=st.lists(st.integers(0, 10_000), max_size=6, unique=True),
    task=st.sampled_from(["panoptic", "semantic", "instance"]),
)
def test_every_number_follows_from_the_file(tmp_path: Path, seeds: list[int], task: Any) -> None:
    evaluator = evaluated([draw(seed) for seed in seeds], CATEGORIES, task)
    path = tmp_path / "images.parquet"
    evaluator.write_images(path)
    found = recompute(path, CATEGORIES.is_thing)
    metrics = evaluator.metrics()
    assert set(found.totals) == set(metrics) - {"instance_truth"}
    assert [name for name, value in found.totals.items() if not same(value, metrics[name])] == []
    for numbers, row in zip(found.classes, evaluator.classes(), strict=True):
        assert set(numbers) == {"iou", "pq", "sq", "rq", "ap"}
        assert [name for name, value in numbers.items() if not same(value, row[name])] == []


@pytest.fixture(scope="module")
def path(random_scenes: list[Any], categories: Categories, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "images.parquet"
    evaluated(random_scenes[:30], categories).write_images(path)
    return path


@pytest.mark.parametrize("column", ["intersection", "truth", "predicted", "iou_sum", "tp", "fp", "fn", "instances"])
def test_every_column_counts(path: Path, tmp_path: Path, column: str) -> None:
    table = pq.read_table(path)
    values = table[column].to_pylist()
    place = next(i for i, value in enumerate(values) if value and value > 0)
    values[place] += 1
    number = table.schema.get_field_index(column)
    pq.write_table(table.set_column(number, table.schema.field(number), [values]), tmp_path / "changed.parquet")
    before, after = (recompute(one, CATEGORIES.is_thing).totals for one in (path, tmp_path / "changed.parquet"))
    assert not all(same(before[name], after[name]) for name in before)


def test_a_number_that_does_not_exist_is_only_the_same_as_none() -> None:
    assert same(None, None)
    assert same(0.1 + 0.2, 0.3)
    assert not same(None, 0.0)
    assert not same(0.0, None)
    assert not same(0.3, 0.3001)


def test_categories_beyond_those_of_the_record_are_refused(path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected 0 \.\. 1"):
        recompute(path, [True, False])


def test_recomputing_imports_no_torch() -> None:
    script = "import sys, bench.evaluate.recompute, bench.intact; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize("metadata", [None, {"iou_thresholds": "null"}, {"iou_thresholds": "0.5"}])
def test_a_table_that_does_not_say_its_thresholds_is_refused(
    path: Path, tmp_path: Path, metadata: dict[str, str] | None
) -> None:
    pq.write_table(pq.read_table(path).replace_schema_metadata(metadata), tmp_path / "bare.parquet")
    with pytest.raises(ValueError, match="does not say its IoU thresholds"):
        recompute(tmp_path / "bare.parquet", CATEGORIES.is_thing)

"""The main job on real COCO: six networks and two floors, 133 categories, crowd and void."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from bench.store import Store

PROFILE = """
name: tiny
summary: for tests
label: tiny
reproduction: false
epochs: 1
max_side: 32
max_batch: 4
max_seeds: 1
train_images: 8
val_images: 100
keep_weights: false
"""


@pytest.mark.slow
def test_table4_runs_on_real_coco_with_every_metric_finite(tmp_path: Path, shared_data: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(PROFILE)
    command = [sys.executable, "-m", "bench", "run", "--suite", "table4", "--profile", "./tiny.yaml"]
    coco = f"coco={shared_data / 'coco_panoptic'}"
    done = subprocess.run([*command, "--dataset", coco], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    records = Store(tmp_path / "results").records()
    assert len(records) == 8
    for record in records:
        assert record.spec.dataset == "coco"
        assert record.metrics is not None
        assert len(record.metrics.classes) == 133
        evaluations = [record.metrics.final, *([record.metrics.untrained] if record.metrics.untrained else [])]
        assert len(evaluations) == (1 if record.network and record.network.flops is None else 2)
        for scores in evaluations:
            numbers = {name: value for name, value in scores.model_dump().items() if name != "instance_truth"}
            assert all(value is not None and math.isfinite(value) for value in numbers.values()), numbers
            assert scores.images == 100
    assert "ade20k: no data root is given" in done.stdout

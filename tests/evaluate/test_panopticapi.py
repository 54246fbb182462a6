"""Our matcher against the official scorer itself. It needs numpy < 2, so it has an environment of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.evaluate.panoptic import PanopticCounts, match, quality
from models.categories import Categories

evaluation = pytest.importorskip("panopticapi.evaluation", reason="the official scorer is not installed here")


def test_counts_and_quality_equal_panopticapi(
    random_scenes: list[Any], written_scenes: tuple[Path, Path], categories: Categories
) -> None:
    truth_json, prediction_json = written_scenes
    truth, prediction = (json.loads(path.read_text()) for path in written_scenes)
    pairs = list(zip(truth["annotations"], prediction["annotations"], strict=True))
    by_id = {row["id"]: row for row in truth["categories"]}
    official = evaluation.pq_compute_single_core(
        0, pairs, str(truth_json.with_suffix("")), str(prediction_json.with_suffix("")), by_id
    )

    ours = PanopticCounts.zeros(len(categories))
    for scene in random_scenes:
        ours += match(scene.truth, scene.table, scene.prediction, scene.segments, len(categories))
    theirs = [official[entry.id] for entry in categories.entries]
    assert [row.tp for row in theirs] == ours.tp.tolist()
    assert [row.fp for row in theirs] == ours.fp.tolist()
    assert [row.fn for row in theirs] == ours.fn.tolist()
    np.testing.assert_allclose(ours.iou_sum, [row.iou for row in theirs], rtol=0, atol=1e-10)
    for isthing, classes in ((None, range(7)), (True, range(0, 7, 2)), (False, range(1, 7, 2))):
        means, _ = official.pq_average(by_id, isthing=isthing)
        result = quality(ours, list(classes))
        assert result.n == means["n"]
        assert (result.pq, result.sq, result.rq) == pytest.approx((means["pq"], means["sq"], means["rq"]), abs=1e-12)

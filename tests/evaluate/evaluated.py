"""An evaluator that has seen some of the random scenes of conftest.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bench.data.scene import semantic_of
from bench.evaluate.evaluator import EvaluatedPrediction, Evaluator
from models.categories import Categories, Segment, Task


def evaluated(scenes: Sequence[Any], categories: Categories, task: Task = "panoptic", ties: bool = True) -> Evaluator:
    """The last image is void and predicted as void. `ties`: scores to one digit, so that many are equal."""
    evaluator = Evaluator(categories, "panoptic things", task=task)
    for number, drawn in enumerate(scenes):
        as_truth = {i: Segment(s.category, False, False) for i, s in drawn.segments.items()}
        ids = [i for i, segment in drawn.segments.items() if categories.is_thing[segment.category]]
        prediction = EvaluatedPrediction(
            semantic_of(drawn.prediction, as_truth),
            drawn.prediction,
            drawn.segments,
            drawn.prediction[None] == np.array(ids, dtype=int).reshape(-1, 1, 1),
            np.array([drawn.segments[i].category for i in ids], dtype=int),
            np.array([round(drawn.segments[i].score, 1) if ties else drawn.segments[i].score for i in ids]),
        )
        evaluator.add(f"image {number}", drawn.truth, drawn.table, None, prediction)
    void, none = np.zeros((5, 5), dtype=int), np.empty(0, dtype=int)
    nothing = EvaluatedPrediction(void + 255, void, {}, np.zeros((0, 5, 5), dtype=bool), none, none.astype(float))
    evaluator.add("void", void, {}, None, nothing)
    return evaluator

"""PQ: the rules of the official scorer one by one, and hotcoco on random scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hotcoco.panoptic import PanopticEval, pq_compute

from bench.evaluate.panoptic import PanopticCounts, match, quality, quality_per_class
from models.categories import Categories, PredictedSegment, Segment

THING, STUFF = 0, 1
K = 3


def row(*runs: tuple[int, int]) -> np.ndarray:
    """(1, W) ids from (id, length) runs."""
    return np.concatenate([np.full(length, number) for number, length in runs])[None]


def thing(crowd: bool = False, category: int = THING) -> Segment:
    return Segment(category, True, crowd)


def stuff() -> Segment:
    return Segment(STUFF, False, False)


def said(category: int) -> PredictedSegment:
    return PredictedSegment(category, 1.0)


def numbers(counts: PanopticCounts, category: int = THING) -> tuple[float, int, int, int]:
    k = category
    return float(counts.iou_sum[k]), int(counts.tp[k]), int(counts.fp[k]), int(counts.fn[k])


def test_perfect_is_one_whatever_the_ids():
    truth, table = row((5, 4), (70000, 6)), {5: thing(), 70000: stuff()}
    counts = match(truth, table, row((1, 4), (2, 6)), {1: said(THING), 2: said(STUFF)}, K)
    assert quality(counts) == (1.0, 1.0, 1.0, 2)


def test_empty_prediction_misses_every_segment_but_crowds():
    truth, table = row((1, 4), (2, 4), (3, 2)), {1: thing(), 2: thing(crowd=True), 3: stuff()}
    counts = match(truth, table, np.zeros_like(truth), {}, K)
    assert counts.fn.tolist() == [1, 1, 0]
    assert quality(counts) == (0.0, 0.0, 0.0, 2)


def test_all_void_truth_gives_nothing_to_average():
    truth = np.zeros((1, 8), dtype=np.int64)
    counts = match(truth, {}, row((1, 8)), {1: said(THING)}, K)
    assert quality(counts) == (None, None, None, 0)


def test_half_a_segment_is_no_match():
    counts = match(row((1, 4), (0, 4)), {1: thing()}, row((1, 2), (0, 6)), {1: said(THING)}, K)
    assert numbers(counts) == (0.0, 0, 1, 1)  # IoU is exactly 0.5, which is not above 0.5


def test_iou_just_above_a_half_matches():
    counts = match(row((1, 5)), {1: thing()}, row((1, 3), (0, 2)), {1: said(THING)}, K)
    assert numbers(counts) == (3 / 5, 1, 0, 0)


def test_void_under_the_prediction_leaves_the_union():
    truth, prediction = row((0, 6), (1, 6)), row((1, 10), (0, 2))
    counts = match(truth, {1: thing()}, prediction, {1: said(THING)}, K)
    assert numbers(counts) == (4 / 6, 1, 0, 0)


def test_prediction_mostly_on_void_is_excused_and_half_is_not():
    mostly = match(row((0, 3), (1, 20)), {1: stuff()}, row((1, 5), (0, 18)), {1: said(THING)}, K)
    assert numbers(mostly) == (0.0, 0, 0, 0)
    half = match(row((0, 2), (1, 20)), {1: stuff()}, row((1, 4), (0, 18)), {1: said(THING)}, K)
    assert numbers(half) == (0.0, 0, 1, 0)


def test_crowd_excuses_only_its_own_category_and_never_matches():
    truth, table = row((1, 8)), {1: thing(crowd=True)}
    assert numbers(match(truth, table, row((1, 8)), {1: said(THING)}, K)) == (0.0, 0, 0, 0)
    other = match(truth, table, row((1, 8)), {1: said(2)}, K)
    assert numbers(other, 2) == (0.0, 0, 1, 0)


def test_only_the_last_crowd_of_a_category_excuses():
    truth, prediction = row((1, 6), (2, 6)), row((9, 6), (0, 6))
    first, last = (1, thing(crowd=True)), (2, thing(crowd=True))
    assert numbers(match(truth, dict([first, last]), prediction, {9: said(THING)}, K)) == (0.0, 0, 1, 0)
    assert numbers(match(truth, dict([last, first]), prediction, {9: said(THING)}, K)) == (0.0, 0, 0, 0)


def test_a_match_needs_the_same_category():
    counts = match(row((1, 8)), {1: thing()}, row((1, 8)), {1: said(STUFF)}, K)
    assert numbers(counts, THING) == (0.0, 0, 0, 1)
    assert numbers(counts, STUFF) == (0.0, 0, 1, 0)


def test_stuff_predicted_in_two_pieces_matches_once_at_most():
    truth, table = row((1, 10)), {1: stuff()}
    counts = match(truth, table, row((1, 7), (2, 3)), {1: said(STUFF), 2: said(STUFF)}, K)
    assert numbers(counts, STUFF) == (0.7, 1, 1, 0)


def test_a_vanished_true_segment_is_not_missed():
    counts = match(row((1, 4)), {1: thing(), 2: thing()}, row((1, 4)), {1: said(THING)}, K)
    assert numbers(counts) == (1.0, 1, 0, 0)


def test_a_vanished_crowd_does_not_hide_the_one_that_is_left():
    crowds = {1: thing(crowd=True), 2: thing(crowd=True)}
    assert numbers(match(row((1, 8)), crowds, row((1, 8)), {1: said(THING)}, K)) == (0.0, 0, 0, 0)


def test_absent_classes_do_not_count_and_no_stuff_is_none():
    counts = match(row((1, 4)), {1: thing()}, row((1, 4)), {1: said(THING)}, K)
    assert quality(counts).n == 1
    assert quality(counts, [STUFF]) == (None, None, None, 0)
    assert quality(counts, []) == (None, None, None, 0)
    pq, sq, rq = quality_per_class(counts)
    np.testing.assert_array_equal([pq, sq, rq], [[1, np.nan, np.nan]] * 3)


def test_counts_add_up_before_the_quality_is_taken():
    hit = match(row((1, 4)), {1: thing()}, row((1, 4)), {1: said(THING)}, K)
    miss = match(row((1, 4)), {1: thing()}, row((0, 4)), {}, K)
    assert quality(hit + miss + PanopticCounts.zeros(K)).pq == pytest.approx(1 / 1.5)


@pytest.mark.parametrize(
    ("prediction", "table", "message"),
    [
        (row((1, 4)), {}, "without a table entry: .1."),
        (row((1, 4)), {1: said(THING), 2: said(THING)}, ".2. are in the table but have no pixel"),
        (row((1, 4)), {1: said(K)}, r"categories .3.; expected 0 \.\. 2"),
        (row((0, 4)), {0: said(THING)}, "ids start at 1"),
        (row((1, 5)), {1: said(THING)}, "shape|is .1, 4. but"),
    ],
)
def test_ids_tables_and_shapes_must_agree(prediction: np.ndarray, table: dict[int, Any], message: str):
    with pytest.raises(ValueError, match=message):
        match(row((1, 4)), {1: thing()}, prediction, table, K)


def test_equals_hotcoco_scene_by_scene(
    random_scenes: list[Any], written_scenes: tuple[Path, Path], categories: Categories
):
    total = PanopticCounts.zeros(len(categories))
    for scene in random_scenes:
        total += match(scene.truth, scene.table, scene.prediction, scene.segments, len(categories))
    referee = PanopticEval(*written_scenes)
    referee.evaluate()
    per_class = referee.results()["per_class"]
    for k, entry in enumerate(categories.entries):
        theirs = per_class[entry.id]
        assert numbers(total, k)[1:] == (theirs["tp"], theirs["fp"], theirs["fn"])
        assert total.iou_sum[k] == pytest.approx(theirs["iou"], abs=1e-10)


def test_means_equal_hotcoco(random_scenes: list[Any], written_scenes: tuple[Path, Path], categories: Categories):
    referee = pq_compute(*(str(path) for path in written_scenes))
    total = PanopticCounts.zeros(len(categories))
    for scene in random_scenes:
        total += match(scene.truth, scene.table, scene.prediction, scene.segments, len(categories))
    things = [k for k, isthing in enumerate(categories.is_thing) if isthing]
    stuff = [k for k, isthing in enumerate(categories.is_thing) if not isthing]
    for name, classes in (("All", None), ("Things", things), ("Stuff", stuff)):
        theirs = referee[name]
        ours = quality(total, classes)
        assert ours.n == theirs["n"]
        assert ours[:3] == pytest.approx((theirs["pq"], theirs["sq"], theirs["rq"]), abs=1e-12)

"""Toy cases worked by hand: three categories, 0 and 1 things, 2 stuff; maps of a few pixels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.categories import Task
from models.interface import PredictedSegment, Prediction
from models.postprocess import (
    detr_panoptic,
    instances_from_queries,
    mask2former_panoptic,
    panoptic_from_queries,
    predict_from_queries,
    votes_from_queries,
)

IS_THING = (True, True, False)
THING, OTHER_THING, STUFF = 0, 1, 2


def classes(*rows: tuple[int, float]) -> Tensor:
    """(category, probability) of each query -> (Q, 3); the rest of the probability is no-object's."""
    probs = torch.zeros(len(rows), 3)
    for query, (category, probability) in enumerate(rows):
        probs[query, category] = probability
    return probs


def masks(*rows: list[list[float]]) -> Tensor:
    return torch.tensor(rows)


def test_ids_stay_unique_when_stuff_is_fused_after_a_thing() -> None:
    probs = classes((STUFF, 0.9), (THING, 0.95), (STUFF, 0.97), (THING, 0.92))
    strips = masks([[1.0, 0, 0, 0]], [[0, 1.0, 0, 0]], [[0, 0, 1.0, 0]], [[0, 0, 0, 1.0]])
    panoptic, table = mask2former_panoptic(probs, strips, IS_THING)
    assert panoptic.tolist() == [[1, 2, 1, 3]]
    assert {number: segment.category for number, segment in table.items()} == {1: STUFF, 2: THING, 3: THING}
    assert abs(table[1].score - 0.97) < 1e-6


def test_two_things_of_one_category_stay_apart() -> None:
    panoptic, table = mask2former_panoptic(classes((THING, 0.9), (THING, 0.9)), masks([[1.0, 0]], [[0, 1.0]]), IS_THING)
    assert panoptic.tolist() == [[1, 2]]
    assert len(table) == 2


def test_no_confident_query_leaves_everything_void() -> None:
    for rule in (detr_panoptic, mask2former_panoptic):
        panoptic, table = rule(classes((THING, 0.7), (STUFF, 0.3)), torch.ones(2, 2, 3), IS_THING)
        assert panoptic.dtype == torch.int64
        assert panoptic.tolist() == [[0, 0, 0], [0, 0, 0]]
        assert table == {}


def test_a_query_below_no_object_does_not_count() -> None:
    probs = classes((THING, 0.4))  # no-object has 0.6
    panoptic, table = panoptic_from_queries(probs, torch.ones(1, 1, 2), IS_THING, score_threshold=0.3)
    assert panoptic.tolist() == [[0, 0]]
    assert table == {}


def test_pixels_below_the_mask_threshold_are_void() -> None:
    panoptic, table = mask2former_panoptic(classes((THING, 0.9)), masks([[0.9, 0.6, 0.4, 0.1]]), IS_THING)
    assert panoptic.tolist() == [[1, 1, 0, 0]]
    assert list(table) == [1]


def test_a_mostly_hidden_mask_is_dropped_and_its_pixels_are_void() -> None:
    # The second query owns three of its four pixels: 0.75 < 0.8.
    strips = masks([[0.9, 0.9, 0, 0, 0]], [[0, 0.8, 0.8, 0.8, 0.8]])
    panoptic, table = mask2former_panoptic(classes((THING, 0.9), (OTHER_THING, 0.9)), strips, IS_THING)
    assert panoptic.tolist() == [[1, 1, 0, 0, 0]]
    assert [segment.category for segment in table.values()] == [THING]


def test_a_mask_exactly_at_the_overlap_threshold_stays() -> None:
    strips = masks([[0.9, 0.9, 0, 0, 0, 0]], [[0, 0.8, 0.8, 0.8, 0.8, 0.8]])  # owns four of five
    _, table = mask2former_panoptic(classes((THING, 0.9), (OTHER_THING, 0.9)), strips, IS_THING)
    assert len(table) == 2


def test_scores_weigh_masks_in_mask2former_but_not_in_detr() -> None:
    probs, strips = classes((THING, 0.99), (OTHER_THING, 0.86)), masks([[0.6] * 10], [[0.65] * 10])
    _, weighted = mask2former_panoptic(probs, strips, IS_THING)
    _, plain = detr_panoptic(probs, strips, IS_THING)
    assert [segment.category for segment in weighted.values()] == [THING]
    assert [segment.category for segment in plain.values()] == [OTHER_THING]


def test_detr_gives_the_pixels_of_a_small_segment_to_the_next_query() -> None:
    small = [0.9] * 4 + [0.0] * 8  # four pixels: one too few
    large = [0.5] * 12
    panoptic, table = detr_panoptic(classes((THING, 0.9), (STUFF, 0.9)), masks([small], [large]), IS_THING)
    assert panoptic.tolist() == [[1] * 12]
    assert [segment.category for segment in table.values()] == [STUFF]


def test_detr_adds_up_stuff_before_it_drops_small_segments() -> None:
    left, right = [[1.0] * 3 + [0.0] * 3], [[0.0] * 3 + [1.0] * 3]
    panoptic, table = detr_panoptic(classes((STUFF, 0.9), (STUFF, 0.95)), masks(left, right), IS_THING)
    assert panoptic.tolist() == [[1] * 6]
    assert len(table) == 1


def test_detr_drops_the_only_segment_when_it_is_small() -> None:
    panoptic, table = detr_panoptic(classes((THING, 0.9)), torch.ones(1, 2, 2), IS_THING)
    assert panoptic.tolist() == [[0, 0], [0, 0]]
    assert table == {}


def test_segments_that_the_mask_threshold_leaves_too_small_are_dropped_without_a_gap_in_the_ids() -> None:
    strips = masks([[0.9, 0.1, 0.1, 0, 0, 0]], [[0, 0, 0, 0.9, 0.9, 0.9]])
    panoptic, table = panoptic_from_queries(
        classes((THING, 0.9), (OTHER_THING, 0.8)),
        strips,
        IS_THING,
        score_threshold=0.5,
        mask_threshold=0.5,
        min_pixels=2,
    )
    assert panoptic.tolist() == [[0, 0, 0, 1, 1, 1]]
    assert table.keys() == {1}
    assert table[1].category == OTHER_THING


def test_semantic_sums_the_votes_of_all_queries() -> None:
    # Pixel 0: thing 0.6 * 0.9 = 0.54 against stuff 0.5 * 0.6 + 0.5 * 0.5 = 0.55.
    probs = classes((THING, 0.6), (STUFF, 0.5), (STUFF, 0.5))
    votes = votes_from_queries(probs, masks([[0.9, 0.9]], [[0.6, 0.1]], [[0.5, 0.1]]))
    torch.testing.assert_close(votes[:, 0, 0], torch.tensor([0.54, 0.0, 0.55]))
    assert votes.argmax(0).tolist() == [[STUFF, THING]]


def test_instances_are_scored_by_class_and_mask_and_sorted() -> None:
    probs = torch.tensor([[0.5, 0.25, 0.2], [0.1, 0.75, 0.1]])
    found, categories, scores = instances_from_queries(probs, masks([[1.0, 0.6, 0.2]], [[0.0, 0.4, 0.8]]), IS_THING)
    # Query 0: mask of two pixels, mean 0.8; query 1: of one pixel, mean 0.8. Stuff gives no instance.
    assert categories.tolist() == [OTHER_THING, THING, OTHER_THING, THING]
    torch.testing.assert_close(scores, torch.tensor([0.6, 0.4, 0.2, 0.08]))
    assert found.dtype == torch.bool
    assert found[:2].tolist() == [[[False, False, True]], [[True, True, False]]]


def test_instances_are_limited_and_empty_masks_dropped() -> None:
    probs = torch.rand(80, 3)
    assert len(instances_from_queries(probs, torch.ones(80, 2, 2), IS_THING)[2]) == 100
    assert len(instances_from_queries(probs, torch.zeros(80, 2, 2), IS_THING)[2]) == 0


def test_without_thing_categories_there_are_no_instances() -> None:
    found, categories, scores = instances_from_queries(torch.rand(5, 2), torch.rand(5, 4, 6), (False, False))
    assert found.shape == (0, 4, 6)
    assert len(categories) == len(scores) == 0


def test_masks_are_upsampled_before_any_decision() -> None:
    logits = torch.tensor([[20.0, -20.0, -20.0, -20.0]])  # one query, no-object last
    mask = torch.full((1, 2, 2), -8.0)
    mask[0, :, 0] = 8.0
    (prediction,) = predict_from_queries(logits[None], mask[None], (8, 8), IS_THING, "panoptic", mask2former_panoptic)
    assert prediction.panoptic[0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert prediction.semantic.shape == (8, 8)
    assert prediction.masks.shape == (2, 8, 8)
    assert prediction.segments == {1: PredictedSegment(THING, 1.0)}


def decoded(task: Task, *rows: tuple[list[float], list[float]]) -> Prediction:
    """Queries as (class probabilities with no-object last, mask probabilities of a strip)."""
    class_logits = torch.tensor([row for row, _ in rows]).log()
    mask_logits = torch.tensor([[strip] for _, strip in rows]).logit()
    size = (1, mask_logits.shape[-1])
    return predict_from_queries(class_logits[None], mask_logits[None], size, IS_THING, task, mask2former_panoptic)[0]


def test_the_semantic_task_decodes_to_one_segment_a_class_scored_by_its_share_of_the_votes() -> None:
    thing, stuff = ([0.9, 0.0, 0.0, 0.1], [0.9, 0.9, 0.1]), ([0.0, 0.0, 0.8, 0.2], [0.1, 0.1, 0.9])
    prediction = decoded("semantic", thing, stuff, thing)
    assert prediction.semantic.tolist() == [[THING, THING, STUFF]]
    assert prediction.panoptic.tolist() == [[1, 1, 2]]
    shares = [2 * 0.81 / (2 * 0.81 + 0.08), 0.72 / (0.72 + 2 * 0.09)]
    assert prediction.segments == {
        1: (THING, pytest.approx(shares[0])),
        2: (STUFF, pytest.approx(shares[1])),
    }
    assert len(prediction.masks) == len(prediction.categories) == len(prediction.scores) == 0


def test_in_the_instance_task_what_no_query_claims_is_background() -> None:
    """Also what a query claims for stuff, which none was trained to do."""
    thing, stuff = ([0.9, 0.0, 0.05, 0.05], [0.9, 0.9, 0.4, 0.1]), ([0.0, 0.0, 0.95, 0.05], [0.1, 0.9, 0.9, 0.1])
    prediction = decoded("instance", thing, stuff)
    assert prediction.semantic.tolist() == [[THING, THING, STUFF, STUFF]]
    assert prediction.panoptic.tolist() == [[1, 1, 2, 2]]
    assert {n: segment.category for n, segment in prediction.segments.items()} == {1: THING, 2: STUFF}
    assert set(prediction.categories.tolist()) == {THING, OTHER_THING}


def test_a_pixel_is_background_in_the_instance_task_where_the_strongest_claim_is_below_a_half() -> None:
    query = ([0.9, 0.0, 0.0, 0.1], [0.5, 0.6, 0.7])
    assert decoded("instance", query).semantic.tolist() == [[STUFF, THING, THING]]


def test_without_a_stuff_category_there_is_no_background() -> None:
    class_logits, mask_logits = torch.tensor([[[9.0, 0.0, 0.0]]]), torch.tensor([[[[9.0, -9.0]]]])
    (prediction,) = predict_from_queries(
        class_logits, mask_logits, (1, 2), (True, True), "instance", mask2former_panoptic
    )
    assert prediction.panoptic.tolist() == [[1, 0]]

"""The floors against counts made by hand."""

from __future__ import annotations

import pytest
import torch

from bench.evaluate.evaluator import Evaluator
from bench.predict import to_numpy
from models.categories import VOID, Categories, Segment
from models.floors import Floor, majority, position_prior
from models.interface import Batch, Prediction


def batch_of(semantic: list[list[list[int]]]) -> Batch:
    labels = torch.tensor(semantic)
    return Batch(torch.rand(len(labels), 3, *labels.shape[1:]), labels, torch.zeros_like(labels), [{}] * len(labels))


def fitted(model: Floor, *batches: Batch) -> Prediction:
    for batch in batches:
        model.fit(batch)
    return model.decode(model(torch.rand(1, 3, *model.counts.shape[1:])))[0]


def test_majority_is_the_commonest_class_everywhere(toy_categories: Categories) -> None:
    prediction = fitted(
        majority(toy_categories, (1, 3), "panoptic"), batch_of([[[0, 2, 2]]]), batch_of([[[2, 0, 3]], [[2, 1, 1]]])
    )
    assert prediction.semantic.tolist() == [[2, 2, 2]]
    assert prediction.segments == {1: (2, pytest.approx(4 / 9))}
    assert prediction.masks.shape == (0, 1, 3)


def test_position_prior_is_the_commonest_class_at_each_place(toy_categories: Categories) -> None:
    batch = batch_of([[[0, 2, 3]], [[0, 2, 2]], [[1, 2, 3]]])
    prediction = fitted(position_prior(toy_categories, (1, 3), "panoptic"), batch)
    assert prediction.semantic.tolist() == [[0, 2, 3]]
    assert prediction.panoptic.tolist() == [[1, 2, 3]]
    assert [s.category for s in prediction.segments.values()] == [0, 2, 3]
    assert [s.score for s in prediction.segments.values()] == pytest.approx([2 / 3, 1, 2 / 3])
    assert prediction.masks.tolist() == [[[True, False, False]]]
    assert prediction.categories.tolist() == [0]
    assert prediction.scores.tolist() == pytest.approx([2 / 3])


def test_the_semantic_task_has_no_instances(toy_categories: Categories) -> None:
    batch = batch_of([[[0, 2, 3]], [[0, 2, 2]], [[1, 2, 3]]])
    panoptic, semantic = (
        fitted(position_prior(toy_categories, (1, 3), task), batch) for task in ("panoptic", "semantic")
    )
    assert semantic.semantic.equal(panoptic.semantic)
    assert semantic.segments == panoptic.segments
    assert semantic.masks.shape == (0, 1, 3)
    assert len(semantic.categories) == len(semantic.scores) == 0


def test_void_is_not_counted(toy_categories: Categories) -> None:
    batch = batch_of([[[VOID, VOID]], [[VOID, VOID]], [[3, VOID]]])
    assert fitted(majority(toy_categories, (1, 2), "panoptic"), batch).segments == {1: (3, 1.0)}
    prior = position_prior(toy_categories, (1, 2), "panoptic")
    assert fitted(prior, batch).semantic[0, 0] == 3
    assert prior.counts.sum() == 1


def test_ties_go_to_the_first_class(toy_categories: Categories) -> None:
    batch = batch_of([[[3, 2]], [[2, 3]]])
    assert fitted(majority(toy_categories, (1, 2), "panoptic"), batch).semantic.tolist() == [[2, 2]]
    assert fitted(position_prior(toy_categories, (1, 2), "panoptic"), batch).semantic.tolist() == [[2, 2]]


def test_an_unfitted_floor_and_a_place_never_labelled_have_score_zero(toy_categories: Categories) -> None:
    assert fitted(majority(toy_categories, (2, 2), "panoptic")).segments == {1: (0, 0.0)}
    prediction = fitted(position_prior(toy_categories, (1, 2), "panoptic"), batch_of([[[3, VOID]]]))
    assert prediction.segments == {1: (0, 0.0), 2: (3, 1.0)}


def test_floors_have_no_parameters_and_no_loss(toy_categories: Categories) -> None:
    model = majority(toy_categories, (2, 2), "panoptic")
    assert model.fits_statistics
    assert not list(model.parameters())
    batch = batch_of([[[0, 0], [0, 0]]])
    assert model.loss(model(batch.images), batch) == {}


def test_the_counts_are_part_of_the_state(toy_categories: Categories) -> None:
    trained, loaded = (position_prior(toy_categories, (1, 3), "panoptic") for _ in range(2))
    fitted(trained, batch_of([[[0, 2, 3]]]))
    loaded.load_state_dict(trained.state_dict())
    assert fitted(loaded).semantic.tolist() == [[0, 2, 3]]


def test_majority_on_a_scene_worked_by_hand(toy_categories: Categories) -> None:
    """Of 16 pixels 11 are stuff 2, 4 thing 0, one void: the stuff's IoU is 11/15, over the limit of a match."""
    segments = torch.ones(4, 4, dtype=torch.int64)
    segments[3] = 2
    segments[0, 0] = 0
    table = {1: Segment(2, False, False), 2: Segment(0, True, False)}
    semantic = torch.tensor([VOID, 2, 0])[segments]
    prediction = fitted(majority(toy_categories, (4, 4), "panoptic"), batch_of([semantic.tolist()]))
    evaluator = Evaluator(toy_categories, "panoptic things")
    evaluator.add("a", segments.numpy(), table, None, to_numpy(prediction))
    metrics = evaluator.metrics()
    assert metrics["miou"] == pytest.approx((11 / 15 + 0) / 2)
    assert metrics["pq"] == pytest.approx((11 / 15 + 0) / 2)
    assert metrics["pq_stuff"] == pytest.approx(11 / 15)
    assert metrics["pq_thing"] == 0
    assert metrics["ap"] == 0

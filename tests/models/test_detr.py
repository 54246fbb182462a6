"""DETR: its loss against the one of `transformers`, its decoder against the class's own forward, its size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers.loss.loss_for_object_detection import ForSegmentationLoss

from models.categories import Categories, Category
from models.detr import Detr, detr_r50, detr_r101, detr_small
from models.interface import Batch, Segment

CATEGORIES = Categories(tuple(Category(n + 1, f"c{n}", n < 1, (0, 0, 0)) for n in range(2)))
COCO = Categories(tuple(Category(n + 1, f"c{n}", n < 80, (0, 0, 0)) for n in range(133)))


@pytest.fixture(scope="module")
def model() -> Detr:
    torch.manual_seed(0)
    return detr_small(CATEGORIES, (32, 32), "panoptic")


def halves() -> Batch:
    """One image: the left half stuff, the right half a thing."""
    segments = torch.ones(1, 32, 32, dtype=torch.int64)
    segments[..., 16:] = 2
    table = {1: Segment(1, False, False), 2: Segment(0, True, False)}
    return Batch(torch.rand(1, 3, 32, 32), 2 - segments, segments, [table])


def outputs_of(*categories: int) -> dict[str, Tensor]:
    """Two layers and three queries of these categories (2 is no object): on the right half, the left half, nothing."""
    classes = torch.full((1, 2, 3, 3), -20.0)
    for query, category in enumerate(categories):
        classes[..., query, category] = 20.0
    boxes = torch.tensor([[0.75, 0.5, 0.5, 1.0], [0.25, 0.5, 0.5, 1.0], [0.5, 0.5, 0.1, 0.1]])
    right = torch.full((8, 8), -20.0)
    right[:, 4:] = 20.0
    masks = torch.stack([right, -right, torch.full((8, 8), -20.0)])
    return {"class_logits": classes, "boxes": boxes.expand(1, 2, 3, 4), "mask_logits": masks[None]}


def assert_costs_nothing(terms: dict[str, Tensor]) -> None:
    assert terms.keys() == {"ce", "bbox", "giou", "mask", "dice", "auxiliary"}
    assert {name: float(term) for name, term in terms.items()} == pytest.approx(dict.fromkeys(terms, 0.0), abs=2e-2)


def test_perfect_outputs_cost_nothing_and_decode_to_the_truth(model: Detr) -> None:
    batch = halves()
    outputs = outputs_of(0, 1, 2)
    assert_costs_nothing(model.loss(outputs, batch))
    (prediction,) = model.decode(outputs)
    assert torch.equal(prediction.semantic, batch.semantic[0])
    assert [segment.category for segment in prediction.segments.values()] == [0, 1]
    assert (prediction.panoptic == 1).equal(batch.segments[0] == 2)
    assert prediction.masks[0].equal(batch.segments[0] == 2)


def test_in_the_instance_task_no_query_is_to_find_stuff() -> None:
    model, batch = detr_small(CATEGORIES, (32, 32), "instance"), halves()
    outputs = outputs_of(0, 2, 2)
    assert_costs_nothing(model.loss(outputs, batch))
    (prediction,) = model.decode(outputs)
    assert torch.equal(prediction.semantic, batch.semantic[0])
    assert (prediction.panoptic == 1).equal(batch.segments[0] == 2)
    assert [segment.category for segment in prediction.segments.values()] == [0, 1]
    assert prediction.masks[0].equal(batch.segments[0] == 2)


def test_in_the_semantic_task_a_query_is_to_find_a_category() -> None:
    model, batch = detr_small(CATEGORIES, (32, 32), "semantic"), halves()
    batch.segments[0, 16:, 16:] = 3  # the thing's half is two instances
    batch.tables[0][3] = Segment(0, True, False)
    outputs = outputs_of(0, 1, 2)
    assert_costs_nothing(model.loss(outputs, batch))
    (prediction,) = model.decode(outputs)
    assert torch.equal(prediction.semantic, batch.semantic[0])
    assert [segment.category for segment in prediction.segments.values()] == [0, 1]
    assert len(prediction.masks) == 0


def test_terms_add_up_to_the_loss_of_transformers(model: Detr) -> None:
    torch.manual_seed(1)
    batch = halves()
    outputs = model.train()(batch.images)
    targets = [
        {
            "class_labels": torch.tensor([0, 1]),
            "masks": torch.stack([batch.segments[0] == 2, batch.segments[0] == 1]).float(),
            "boxes": torch.tensor([[0.75, 0.5, 0.5, 1.0], [0.25, 0.5, 0.5, 1.0]]),
        }
    ]
    classes, boxes = outputs["class_logits"].transpose(0, 1), outputs["boxes"].transpose(0, 1)
    expected, _, _ = ForSegmentationLoss(
        classes[-1], targets, "cpu", boxes[-1], outputs["mask_logits"], model.config, classes, boxes
    )
    terms = model.loss(outputs, batch)
    torch.testing.assert_close(torch.stack(list(terms.values())).sum(), expected)


def test_forward_equals_the_class_of_transformers(model: Detr) -> None:
    """Without the auxiliary loss, whose extra norm between the layers its class has and the paper's code has not."""
    images = torch.rand(2, 3, 48, 64)
    model.eval()
    model.config.auxiliary_loss = False
    try:
        with torch.no_grad():
            found = model(images)
            expected = model.network(model.normalize(images))
    finally:
        model.config.auxiliary_loss = True
    torch.testing.assert_close(found["class_logits"][:, -1], expected.logits)
    torch.testing.assert_close(found["boxes"][:, -1], expected.pred_boxes)
    torch.testing.assert_close(found["mask_logits"], expected.pred_masks)


def test_auxiliary_predictions_are_for_training_only(model: Detr) -> None:
    images = torch.rand(1, 3, 32, 32)
    assert model.train()(images)["class_logits"].shape == (1, 2, 20, 3)
    assert model.eval()(images)["class_logits"].shape == (1, 1, 20, 3)


def test_more_targets_than_queries_still_train(model: Detr) -> None:
    segments = torch.arange(1, 33).repeat_interleave(32).view(1, 32, 32)
    table = {number: Segment(0, True, False) for number in range(1, 33)}
    batch = Batch(torch.rand(1, 3, 32, 32), torch.zeros_like(segments), segments, [table])
    assert all(term.isfinite() for term in model.loss(model.train()(batch.images), batch).values())


@pytest.mark.parametrize(("build", "millions"), [(detr_r50, 42.87), (detr_r101, 61.81)])
def test_parameters_are_those_of_the_published_network(build: type[Detr], millions: float) -> None:
    parameters = list(build(COCO, (128, 128), "panoptic").parameters())
    assert sum(p.numel() for p in parameters) / 1e6 == pytest.approx(millions, rel=0.02)
    assert all(p.requires_grad for p in parameters)

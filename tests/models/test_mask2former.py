"""Mask2Former: its loss and forward against the class of `transformers`, its points, its size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.categories import Categories, Category
from models.interface import Batch, Segment
from models.mask2former import Mask2Former, mask2former_r50, mask2former_r101, mask2former_small

CATEGORIES = Categories(tuple(Category(n + 1, f"c{n}", n < 1, (0, 0, 0)) for n in range(2)))
COCO = Categories(tuple(Category(n + 1, f"c{n}", n < 80, (0, 0, 0)) for n in range(133)))


@pytest.fixture(scope="module")
def model() -> Mask2Former:
    torch.manual_seed(0)
    return mask2former_small(CATEGORIES, (32, 32), "panoptic")


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
    right = torch.full((8, 8), -60.0)
    right[:, 4:] = 60.0
    masks = torch.stack([right, -right, torch.full((8, 8), -60.0)]).expand(1, 2, 3, 8, 8)
    return {"class_logits": classes, "mask_logits": masks}


def assert_costs_nothing(terms: dict[str, Tensor]) -> None:
    assert terms.keys() == {"ce", "mask", "dice", "auxiliary"}
    # Points between the last cell of one half and the first of the other are not sharp: a mask cell is four pixels.
    assert float(terms["ce"]) == pytest.approx(0, abs=1e-6)
    assert float(terms["dice"]) < 1


def test_perfect_outputs_cost_nothing_and_decode_to_the_truth(model: Mask2Former) -> None:
    batch, outputs = halves(), outputs_of(0, 1, 2)
    assert_costs_nothing(model.loss(outputs, batch))
    (prediction,) = model.decode(outputs)
    assert torch.equal(prediction.semantic, batch.semantic[0])
    assert [segment.category for segment in prediction.segments.values()] == [0, 1]
    assert (prediction.panoptic == 1).equal(batch.segments[0] == 2)
    assert prediction.masks[0].equal(batch.segments[0] == 2)


def test_in_the_instance_task_no_query_is_to_find_stuff() -> None:
    model, batch = mask2former_small(CATEGORIES, (32, 32), "instance"), halves()
    outputs = outputs_of(0, 2, 2)
    assert_costs_nothing(model.loss(outputs, batch))
    (prediction,) = model.decode(outputs)
    assert torch.equal(prediction.semantic, batch.semantic[0])
    assert (prediction.panoptic == 1).equal(batch.segments[0] == 2)
    assert [segment.category for segment in prediction.segments.values()] == [0, 1]
    assert prediction.masks[0].equal(batch.segments[0] == 2)


def test_in_the_semantic_task_a_query_is_to_find_a_category() -> None:
    model, batch = mask2former_small(CATEGORIES, (32, 32), "semantic"), halves()
    batch.segments[0, 16:, 16:] = 3  # the thing's half is two instances
    batch.tables[0][3] = Segment(0, True, False)
    outputs = outputs_of(0, 1, 2)
    assert_costs_nothing(model.loss(outputs, batch))
    (prediction,) = model.decode(outputs)
    assert torch.equal(prediction.semantic, batch.semantic[0])
    assert [segment.category for segment in prediction.segments.values()] == [0, 1]
    assert len(prediction.masks) == 0


def test_forward_and_terms_equal_the_class_of_transformers(model: Mask2Former) -> None:
    batch = halves()
    masks = torch.stack([batch.segments[0] == 2, batch.segments[0] == 1]).float()
    outputs = model.train()(batch.images)
    torch.manual_seed(2)  # the loss draws its points
    terms = model.loss(outputs, batch)
    torch.manual_seed(2)
    expected = model.network(
        model.normalize(batch.images),
        mask_labels=[masks],
        class_labels=[torch.tensor([0, 1])],
        output_auxiliary_logits=True,
    )
    torch.testing.assert_close(outputs["class_logits"][:, -1], expected.class_queries_logits)
    torch.testing.assert_close(outputs["mask_logits"][:, -1], expected.masks_queries_logits)
    torch.testing.assert_close(outputs["mask_logits"][:, 0], expected.auxiliary_logits[0]["masks_queries_logits"])
    torch.testing.assert_close(torch.stack(list(terms.values())).sum(), expected.loss)


def test_auxiliary_predictions_are_for_training_only(model: Mask2Former) -> None:
    images = torch.rand(1, 3, 32, 32)
    assert model.train()(images)["mask_logits"].shape == (1, 4, 20, 8, 8)
    assert model.eval()(images)["mask_logits"].shape == (1, 1, 20, 8, 8)


@pytest.mark.parametrize(("size", "points"), [((32, 32), 256), ((128, 128), 4096), ((512, 512), 12544)])
def test_the_points_of_the_mask_loss_follow_the_size(size: tuple[int, int], points: int) -> None:
    assert mask2former_small(CATEGORIES, size, "panoptic").network.criterion.num_points == points


def test_more_targets_than_queries_still_train(model: Mask2Former) -> None:
    segments = torch.arange(1, 33).repeat_interleave(32).view(1, 32, 32)
    table = {number: Segment(0, True, False) for number in range(1, 33)}
    batch = Batch(torch.rand(1, 3, 32, 32), torch.zeros_like(segments), segments, [table])
    assert all(term.isfinite() for term in model.loss(model.train()(batch.images), batch).values())


@pytest.mark.parametrize(("build", "millions"), [(mask2former_r50, 44.04), (mask2former_r101, 63.03)])
def test_parameters_are_those_of_the_published_network(build: type[Mask2Former], millions: float) -> None:
    parameters = list(build(COCO, (128, 128), "panoptic").parameters())
    assert sum(p.numel() for p in parameters) / 1e6 == pytest.approx(millions, rel=0.02)
    assert all(p.requires_grad for p in parameters)

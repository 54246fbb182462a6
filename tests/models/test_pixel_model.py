"""The tasks of the U-Net family, on a trunk of one convolution."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from models.categories import TASKS, VOID, Categories, Category, Segment, Task
from models.heads import EMBEDDING
from models.interface import Batch
from models.losses import cross_entropy, instance_classification, instance_contrastive
from models.pixel_model import LAMBDA, PixelModel

ToyBatch = Callable[..., Batch]


class Trunk(nn.Sequential):
    stride, out_channels = 2, 8

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())


def model_of(categories: Categories, task: Task, **options: object) -> PixelModel:
    torch.manual_seed(0)
    return PixelModel(Trunk(), categories, (16, 16), "trunk", task, **options)  # type: ignore[arg-type]


def test_the_semantic_task_is_classes_alone(toy_categories: Categories, toy_batch: ToyBatch) -> None:
    model, batch = model_of(toy_categories, "semantic"), toy_batch((16, 16))
    outputs = model(batch.images)
    assert outputs.keys() == {"logits"}
    assert sum(p.numel() for p in model.heads.parameters()) == 8 * 4 + 4
    terms = model.loss(outputs, batch)
    assert terms.keys() == {"cross_entropy"}
    assert torch.equal(terms["cross_entropy"], cross_entropy(outputs["logits"], batch.semantic))
    for prediction in model.decode(outputs):
        assert sorted(s.category for s in prediction.segments.values()) == prediction.semantic.unique().tolist()
        assert len(prediction.masks) == 0


@pytest.mark.parametrize("task", ["instance", "panoptic"])
def test_the_other_tasks_have_every_term_by_name(task: Task, toy_categories: Categories, toy_batch: ToyBatch) -> None:
    model, batch = model_of(toy_categories, task, contrastive_weight=0.3), toy_batch((16, 16))
    outputs = model(batch.images)
    assert outputs["embedding"].shape == (2, EMBEDDING, 16, 16)
    torch.manual_seed(1)
    terms = model.loss(outputs, batch)
    torch.manual_seed(1)
    expected = {
        "cross_entropy": cross_entropy(outputs["logits"], batch.semantic),
        "instance_contrastive": 0.3 * instance_contrastive(outputs["embedding"], batch),
        "instance_classification": instance_classification(outputs["logits"], batch),
    }
    assert terms == expected
    assert all(term > 0 for term in terms.values())


def test_lambda_is_the_papers() -> None:
    categories = Categories((Category(1, "thing", True, (0, 0, 0)),))
    assert model_of(categories, "panoptic").contrastive_weight == LAMBDA == 0.5


def test_the_instance_task_takes_things_and_one_background() -> None:
    """Two touching things of one class and the background, learnt by a trunk that sees the images' colours."""
    categories = Categories((Category(1, "thing", True, (0, 0, 0)), Category(2, "background", False, (0, 0, 0))))
    segments = torch.full((1, 16, 16), 3)
    segments[:, 4:12, 2:8], segments[:, 4:12, 8:14] = 1, 2
    thing, background = Segment(0, True, False), Segment(1, False, False)
    batch = Batch(torch.rand(1, 3, 16, 16), (segments == 3).long(), segments, [{1: thing, 2: thing, 3: background}])
    for channel in range(3):
        batch.images[:, channel] = (segments == channel + 1).float()
    model = model_of(categories, "instance")
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.03)
    for _ in range(50):
        optimizer.zero_grad()
        torch.stack(list(model.loss(model(batch.images), batch).values())).sum().backward()
        optimizer.step()
    (prediction,) = model.decode(model(batch.images))
    assert prediction.semantic.equal(batch.semantic[0])
    assert prediction.categories.tolist() == [0, 0]
    assert {tuple(mask.flatten().tolist()) for mask in prediction.masks} == {
        tuple((segments[0] == n).flatten().tolist()) for n in (1, 2)
    }


def test_the_grouping_is_the_one_named(toy_categories: Categories) -> None:
    """Two regions of a thing with one embedding: one instance, or two components."""
    logits = torch.zeros(1, 4, 16, 16)
    logits[:, 0, :, :6] = logits[:, 0, :, 10:] = 9.0
    logits[:, 2, :, 6:10] = 9.0
    outputs = {"logits": logits, "embedding": torch.ones(1, EMBEDDING, 16, 16)}
    found = {
        name: len(model_of(toy_categories, "panoptic", grouping=name).decode(outputs)[0].masks)
        for name in ("greedy", "components")
    }
    assert found == {"greedy": 1, "components": 2}


def test_an_unknown_grouping_is_refused_before_anything_is_trained(toy_categories: Categories) -> None:
    with pytest.raises(ValueError, match="unknown grouping 'watershed'"):
        model_of(toy_categories, "panoptic", grouping="watershed")


@pytest.mark.parametrize("task", TASKS)
def test_void_costs_nothing_and_mixed_precision_stays_finite(
    task: Task, toy_categories: Categories, toy_batch: ToyBatch
) -> None:
    model = model_of(toy_categories, task)
    for void in (True, False):
        batch = toy_batch((16, 16), void=void)
        assert (batch.semantic == VOID).all() == void
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            outputs = model(batch.images)
            loss = torch.stack(list(model.loss(outputs, batch).values())).sum()
        loss.backward()
        assert outputs["logits"].dtype == torch.bfloat16
        assert (float(loss.detach()) == 0) == void
        assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())

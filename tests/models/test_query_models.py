"""What DETR and Mask2Former have in common, on their small variants."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from models.backbones import WeightsError
from models.categories import TASKS, Categories, Category, Task
from models.detr import detr_small
from models.interface import VOID, Batch, Segment, SegmentationModel
from models.mask2former import mask2former_small

SIZES = [(128, 128), (64, 64), (48, 64), (32, 32)]
CATEGORIES = Categories(tuple(Category(n + 1, f"c{n}", n < 2, (0, 0, 0)) for n in range(3)))
TASK: Task = "panoptic"
CASES = [*((size, TASK) for size in SIZES), ((32, 32), "semantic"), ((32, 32), "instance")]
Builder = Callable[..., SegmentationModel]


@pytest.fixture(params=[detr_small, mask2former_small])
def build(request: pytest.FixtureRequest) -> Builder:
    return request.param


def batch_of(size: tuple[int, int], void: bool = False) -> Batch:
    """Two images: stuff over a thing, one of them with a second thing; or all void."""
    height, width = size
    semantic = torch.full((2, height, width), VOID)
    segments = torch.zeros(2, height, width, dtype=torch.int64)
    if void:
        return Batch(torch.rand(2, 3, height, width), semantic, segments, [{}, {}])
    segments[:, : height // 2] = 1
    segments[:, height // 2 :] = 2
    segments[1, height // 2 :, : width // 4] = 3
    table = {1: Segment(2, False, False), 2: Segment(0, True, False), 3: Segment(1, True, False)}
    for number, segment in table.items():
        semantic[segments == number] = segment.category
    return Batch(torch.rand(2, 3, height, width), semantic, segments, [table, table])


def total(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values())).sum()


@pytest.mark.parametrize(("size", "task"), CASES)
def test_every_parameter_gets_a_finite_gradient(build: Builder, size: tuple[int, int], task: Task) -> None:
    torch.manual_seed(0)
    model = build(CATEGORIES, size, task).train()
    batch = batch_of(size)
    terms = model.loss(model(batch.images), batch)
    assert all(term.ndim == 0 and term.isfinite() for term in terms.values())
    total(terms).backward()
    assert all(parameter.requires_grad for parameter in model.parameters())
    bad = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert bad == []


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_all_void_images_give_a_finite_loss(build: Builder, mode: str, task: Task) -> None:
    model = build(CATEGORIES, (32, 32), task).train(mode == "train")
    batch = batch_of((32, 32), void=True)
    terms = model.loss(model(batch.images), batch)
    assert total(terms).isfinite()
    total(terms).backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters())


@pytest.mark.parametrize(("size", "task"), CASES)
def test_predictions_keep_the_contract(build: Builder, size: tuple[int, int], task: Task) -> None:
    torch.manual_seed(0)
    model = build(CATEGORIES, size, task).eval()
    with torch.no_grad():
        outputs = model(torch.rand(2, 3, *size))
        outputs["class_logits"] *= 30  # an untrained network is sure of nothing
        predictions = model.decode(outputs)
    assert len(predictions) == 2
    for prediction in predictions:
        assert prediction.semantic.shape == prediction.panoptic.shape == size
        assert prediction.semantic.dtype == prediction.panoptic.dtype == torch.int64
        assert int(prediction.semantic.min()) >= 0
        assert int(prediction.semantic.max()) < len(CATEGORIES)
        assert set(prediction.panoptic.unique().tolist()) - {0} == set(prediction.segments)
        assert sorted(prediction.segments) == list(range(1, len(prediction.segments) + 1))
        assert prediction.masks.shape == (len(prediction.scores), *size)
        assert prediction.masks.dtype == torch.bool
        assert prediction.categories.dtype == torch.int64
        assert len(prediction.categories) == len(prediction.scores) <= 100
        assert set(prediction.categories.tolist()) <= {0, 1}
        assert all(0 <= score <= 1 for score in prediction.scores.tolist())
        assert all(0 <= segment.score <= 1 for segment in prediction.segments.values())
        if task == "semantic":
            assert len(prediction.masks) == 0
            found = {segment.category for segment in prediction.segments.values()}
            assert found == set(prediction.semantic.unique().tolist())


def test_images_come_first_in_every_output(build: Builder) -> None:
    model = build(CATEGORIES, (32, 32), TASK)
    for mode in (True, False):
        outputs = model.train(mode)(torch.rand(3, 3, 32, 32))
        assert all(value.shape[0] == 3 for value in outputs.values())


def test_an_image_is_predicted_alike_alone_and_in_a_batch(build: Builder) -> None:
    torch.manual_seed(0)
    model = build(CATEGORIES, (48, 64), TASK).eval()
    images = torch.rand(3, 3, 48, 64)
    with torch.no_grad():
        together, alone = model(images), model(images[1:2])
    for name, value in alone.items():
        torch.testing.assert_close(together[name][1:2], value, atol=1e-4, rtol=1e-3)


def test_the_memory_format_of_the_images_does_not_matter(build: Builder) -> None:
    model = build(CATEGORIES, (48, 64), TASK).eval()
    images = torch.rand(2, 3, 48, 64)
    with torch.no_grad():
        rows, channels_last = model(images), model(images.to(memory_format=torch.channels_last))
    for name, value in rows.items():
        torch.testing.assert_close(channels_last[name], value, atol=1e-4, rtol=1e-3)


def test_one_seed_gives_one_network(build: Builder) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(5)
        states.append(build(CATEGORIES, (32, 32), TASK).state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_no_norm_has_statistics_that_nobody_measured(build: Builder) -> None:
    model = build(CATEGORIES, (32, 32), TASK)
    assert not [name for name, module in model.named_modules() if hasattr(module, "running_mean")]


def test_every_module_is_registered(build: Builder) -> None:
    """A plain list of modules is not copied to the other devices of data parallel."""
    for name, module in build(CATEGORIES, (32, 32), TASK).named_modules():
        for attribute, value in vars(module).items():
            if isinstance(value, (list, tuple)):
                assert not any(isinstance(item, nn.Module) for item in value), f"{name}.{attribute}"


def test_backbones_are_a_group_of_their_own(build: Builder) -> None:
    rest, backbone = build(CATEGORIES, (32, 32), TASK).parameter_groups(1e-3, 0.1)
    assert backbone["lr"] == pytest.approx(1e-4)
    assert sum(p.numel() for p in backbone["params"]) == 11_176_512  # ResNet-18 without its classifier
    assert rest["params"]


def test_weights_that_cannot_be_had_are_refused(build: Builder) -> None:
    with pytest.raises(WeightsError):
        build(CATEGORIES, (32, 32), TASK, backbone_weights="imagenet")


@pytest.mark.parametrize("size", [(30, 32), (32, 2)])
def test_sizes_that_are_no_multiple_of_the_mask_stride_are_refused(build: Builder, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="multiples of 4"):
        build(CATEGORIES, size, TASK)
    with pytest.raises(ValueError, match="multiples of 4"):
        build(CATEGORIES, (32, 32), TASK)(torch.rand(1, 3, *size))


def test_the_loss_runs_under_mixed_precision(build: Builder) -> None:
    model, batch = build(CATEGORIES, (32, 32), TASK), batch_of((32, 32))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = model.loss(model(batch.images), batch)
        predictions = model.decode(model.eval()(batch.images))
    assert total(terms).isfinite()
    assert len(predictions) == 2

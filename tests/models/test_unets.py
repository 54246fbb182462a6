"""The U-Net family: size, cost, shapes, gradients, refusals."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench.measure.cost import measure, numbered_categories
from models.categories import Categories
from models.heads import EMBEDDING
from models.interface import Batch, SegmentationModel
from models.losses import instance_contrastive
from models.pixel_model import PixelModel
from models.registry import ENTRIES, build

FAMILY = [entry.name for entry in ENTRIES if entry.family == "unet"]
SMALL = [name for name in FAMILY if name.endswith("-small")]
SIZES = [(128, 128), (64, 64), (48, 64), (32, 32)]
ToyBatch = Callable[..., Batch]


def total(model: SegmentationModel, batch: Batch) -> Tensor:
    return torch.stack(list(model.loss(model(batch.images), batch).values())).sum()


def without_finite_gradient(model: SegmentationModel) -> list[str]:
    return [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]


def test_the_textbook_unet_has_its_parameters_and_cost() -> None:
    network = measure(build("unet", numbered_categories(133), (128, 128)), "unet", (128, 128))
    assert network.parameters_total == pytest.approx(31.0e6, abs=0.1e6)
    assert network.flops == pytest.approx(12.2e9, rel=0.02)


def test_the_family_has_a_small_variant_of_each_network() -> None:
    assert {f"{name}-small" for name in FAMILY if name not in SMALL} == set(SMALL)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", SMALL)
def test_outputs_have_the_size_of_the_images_and_every_parameter_a_gradient(
    name: str, size: tuple[int, int], toy_categories: Categories, toy_batch: ToyBatch
) -> None:
    torch.manual_seed(0)
    model, batch = build(name, toy_categories, size).train(), toy_batch(size)
    outputs = model(batch.images)
    assert outputs["logits"].shape == (2, 4, *size)
    assert outputs["embedding"].shape == (2, EMBEDDING, *size)
    terms = model.loss(outputs, batch)
    assert all(term.ndim == 0 and term.isfinite() and term > 0 for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()
    assert without_finite_gradient(model) == []


@pytest.mark.parametrize("name", sorted(set(FAMILY) - set(SMALL)))
def test_the_full_networks_train_at_the_smallest_size(
    name: str, toy_categories: Categories, toy_batch: ToyBatch
) -> None:
    torch.manual_seed(0)
    model = build(name, toy_categories, (32, 32)).train()
    total(model, toy_batch((32, 32))).backward()
    assert without_finite_gradient(model) == []


@pytest.mark.parametrize("name", SMALL)
def test_each_part_of_the_network_learns(name: str, toy_categories: Categories, toy_batch: ToyBatch) -> None:
    """A weight whose gradient is exactly zero is dead; only the bias of keys has none, which softmax takes out."""
    torch.manual_seed(0)
    model = build(name, toy_categories, (32, 32)).train()
    total(model, toy_batch((32, 32))).backward()
    dead = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert [n for n in dead if not n.endswith("attention.key.bias")] == []


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", SMALL)
def test_all_void_images_give_a_finite_loss_and_gradients(
    name: str, mode: str, toy_categories: Categories, toy_batch: ToyBatch
) -> None:
    model = build(name, toy_categories, (32, 32)).train(mode == "train")
    loss = total(model, toy_batch((32, 32), void=True))
    assert float(loss.detach()) == 0
    loss.backward()
    assert without_finite_gradient(model) == []


@pytest.mark.parametrize("size", [(40, 36), (8, 4), (33, 32)])
@pytest.mark.parametrize("name", SMALL)
def test_a_size_that_does_not_divide_is_refused_when_building_and_when_running(
    name: str, size: tuple[int, int], toy_categories: Categories
) -> None:
    message = (
        rf"^{name.removesuffix('-small')} takes .* multiples of (8|16); got {size[0]}x{size[1]} \(height x width\)$"
    )
    with pytest.raises(ValueError, match=message):
        build(name, toy_categories, size)
    with pytest.raises(ValueError, match=message):
        build(name, toy_categories, (32, 32))(torch.rand(1, 3, *size))


@pytest.mark.parametrize("name", SMALL)
def test_normalisation_is_the_models_own(name: str, toy_categories: Categories) -> None:
    model = build(name, toy_categories, (32, 32))
    assert isinstance(model, PixelModel)
    seen: list[Tensor] = []
    model.trunk.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = torch.rand(1, 3, 32, 32)
    model(images)
    by_hand = [(images[:, 0] - 0.485) / 0.229, (images[:, 1] - 0.456) / 0.224, (images[:, 2] - 0.406) / 0.225]
    torch.testing.assert_close(seen[0], torch.stack(by_hand, dim=1))
    assert not {"mean", "std", "is_thing"} & set(model.state_dict())


@pytest.mark.parametrize("name", SMALL)
def test_an_image_is_predicted_alike_alone_in_a_batch_and_in_channels_last(
    name: str, toy_categories: Categories
) -> None:
    torch.manual_seed(0)
    model = build(name, toy_categories, (48, 64)).eval()
    images = torch.rand(3, 3, 48, 64)
    with torch.no_grad():
        together, alone = model(images), model(images[1:2])
        channels_last = model(images.to(memory_format=torch.channels_last))
    for key, value in together.items():
        torch.testing.assert_close(value[1:2], alone[key], atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(value, channels_last[key], atol=1e-4, rtol=1e-3)


def test_the_loss_weighs_the_contrastive_term_by_lambda(toy_categories: Categories, toy_batch: ToyBatch) -> None:
    model, batch = build("unet-small", toy_categories, (32, 32)), toy_batch((32, 32))
    outputs = model(batch.images)
    torch.manual_seed(1)
    term = model.loss(outputs, batch)["instance_contrastive"]
    torch.manual_seed(1)
    torch.testing.assert_close(term, 0.5 * instance_contrastive(outputs["embedding"], batch))

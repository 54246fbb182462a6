"""Counted costs against numbers worked by hand, torch's own counter, and the libraries' known costs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bench.measure.cost import attention_flops, measure, numbered_categories
from bench.record import Network
from models.categories import Categories
from models.interface import Batch, Outputs, Prediction, SegmentationModel
from models.registry import build

SIZE = (16, 24)


class Toy(SegmentationModel):
    """Any module as a network with one output."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.categories: Categories = numbered_categories(2)
        self.body = body

    def forward(self, images: Tensor) -> Outputs:
        return {"out": self.body(images)}

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        return {}

    def decode(self, outputs: Outputs) -> list[Prediction]:
        return []


class Attention(nn.Module):
    """Attention between the pixels of an image and its first three columns, fused or by two products."""

    def __init__(self, fused: bool, masked: bool) -> None:
        super().__init__()
        self.project = nn.Conv2d(3, 20, 1)
        self.fused, self.masked = fused, masked

    def forward(self, x: Tensor) -> Tensor:
        features = self.project(x)
        q = features[:, :8].flatten(2).transpose(1, 2)[:, None]
        k = features[:, :8, :, :3].flatten(2).transpose(1, 2)[:, None]
        v = features[:, 8:, :, :3].flatten(2).transpose(1, 2)[:, None]
        mask = k[..., 0][:, :, None] if self.masked else None
        if self.fused:
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        scores = q @ k.transpose(-2, -1) * 8**-0.5
        return (scores if mask is None else scores + mask).softmax(-1) @ v


def modules_of(network: Network) -> dict[str, Any]:
    return {module.name: module for module in network.modules}


def test_convolutions_count_as_by_hand_and_as_half_of_torchs_counter() -> None:
    body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 2, stride=2), nn.ConvTranspose2d(4, 5, 2, 2))
    model, pixels = Toy(body), 16 * 24
    found = measure(model, "toy", SIZE)
    by_hand = pixels * 8 * 3 * 9 + pixels // 4 * 4 * 8 * 4 + pixels // 4 * 5 * 4 * 4
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, *SIZE))
    assert found.flops == by_hand == counter.get_total_flops() / 2
    assert found.parameters_total == (3 * 9 * 8 + 8) + (8 * 4 * 4 + 4) + (4 * 4 * 5 + 5)
    assert found.uncounted == {}


@pytest.mark.parametrize("masked", [False, True])
def test_fused_attention_counts_as_the_two_products_it_stands_for(masked: bool) -> None:
    fused, eager = (measure(Toy(Attention(f, masked)), "toy", SIZE).flops for f in (True, False))
    queries, keys = 16 * 24, 16 * 3
    assert fused == eager == queries * 3 * 20 + queries * keys * 8 + queries * keys * 12
    assert "aten::scaled_dot_product_attention" not in measure(Toy(Attention(True, masked)), "toy", SIZE).uncounted


def test_baddbmm_counts_as_one_product() -> None:
    class Body(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.baddbmm(torch.ones(1), x[0], x[0].transpose(1, 2))

    assert measure_without_parameters(Body()) == 3 * 16 * 24 * 16


def measure_without_parameters(body: nn.Module) -> float | None:
    """One unused parameter, since a network has some."""
    body.register_parameter("unused", nn.Parameter(torch.zeros(1)))
    return measure(Toy(body), "toy", SIZE).flops


@pytest.mark.filterwarnings("ignore")
def test_the_attention_handle_reads_batch_and_heads() -> None:
    def value(*sizes: int) -> Any:
        return torch.jit.trace(lambda x: x + 1, torch.zeros(sizes)).graph.outputs().__next__()

    inputs = [value(2, 3, 5, 4), value(2, 3, 7, 4), value(2, 3, 7, 6)]
    assert attention_flops(inputs, []) == 2 * 3 * 5 * 7 * (4 + 6)


def test_a_branch_that_only_a_second_output_needs_is_counted() -> None:
    class Two(Toy):
        def forward(self, images: Tensor) -> Outputs:
            return {"first": self.body(images), "second": self.body(images + 1)}

    assert measure(Two(nn.Conv2d(3, 4, 1)), "two", SIZE).flops == 2 * 16 * 24 * 3 * 4


@pytest.mark.parametrize("name", ["maskattn-unet-small", "maskattn-unet"])
def test_mask_attention_modules_count_as_by_hand(name: str) -> None:
    width, side = (16, 64) if name.endswith("small") else (64, 64)
    network = measure(build(name, numbered_categories(5), (side, side)), name, (side, side))
    found = modules_of(network)
    places = {"att1": (2, 2), "att2": (4, 4), "att3": (8, 4), "att4": (4, 2), "att5": (2, 1), "att6": (1, 1)}
    for module, (stride, factor) in places.items():
        tokens, channels = (side // stride) ** 2, width * factor
        attention = 2 * tokens**2 * channels + 4 * tokens * channels**2  # both products; four projections
        norms = 2 * 5 * tokens * channels  # fvcore: five for each element of a layer norm with weights
        mask, ffn = tokens * channels, 2 * 4 * tokens * channels**2
        assert found[f"trunk.{module}.attention"].flops == attention
        assert found[f"trunk.{module}"].flops == attention + norms + mask + ffn
    assert network.flops is not None
    assert network.flops > sum(found[f"trunk.{module}"].flops for module in places)


@pytest.mark.parametrize(
    "name", ["maskattn-unet-small", "self-attention-unet-small", "detr-small", "mask2former-small"]
)
def test_nothing_of_an_attention_stays_uncounted(name: str) -> None:
    network = measure(build(name, numbered_categories(5), (64, 64)), name, (64, 64))
    products = ("attention", "mm", "einsum", "matmul", "linear", "conv", "grid_sampler")
    assert [op for op in network.uncounted if any(product in op for product in products)] == []


def test_modules_list_shapes_and_parameters_that_add_up() -> None:
    model = build("unet-small", numbered_categories(5), (32, 48))
    network = measure(model, "unet-small", (32, 48))
    found = modules_of(network)
    assert found["trunk"].parameters + found["heads"].parameters == network.parameters_total
    assert found["trunk"].flops + found["heads"].flops == network.flops
    assert found["trunk"].output == (1, 16, 32, 48)
    assert network.input == "32x48"


@pytest.mark.parametrize("training", [True, False])
def test_the_network_stays_in_the_mode_it_was_in(training: bool) -> None:
    model = build("unet-small", numbered_categories(3), (32, 32)).train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    measure(model, "unet-small", (32, 32))
    assert all(module.training is training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_network_that_cannot_run_is_left_without_hooks() -> None:
    model = Toy(nn.Conv2d(4, 4, 1))
    with pytest.raises(RuntimeError):
        measure(model, "toy", SIZE)
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


def test_frozen_parameters_count_in_the_total_only() -> None:
    model = Toy(nn.Conv2d(3, 4, 1))
    model.body.weight.requires_grad_(False)
    network = measure(model, "toy", SIZE)
    assert (network.parameters_total, network.parameters_trainable) == (16, 4)


def test_a_floor_has_neither_parameters_nor_flops() -> None:
    network = measure(build("majority", numbered_categories(3), SIZE), "majority", SIZE)
    assert (network.parameters_total, network.flops, network.modules) == (0, None, ())


FAST = {(64, 64), (32, 32)}
SIZES = [(128, 128), (64, 64), (48, 64), (32, 32)]
KNOWN = {  # parameters in M, GMACs at SIZES: transformers' classes with ResNet backbones and 133 classes
    "detr-r50": (42.87, (7.87, 2.66, 2.34, 1.36)),
    "detr-r101": (61.81, (9.08, 2.96, 2.57, 1.43)),
    "mask2former-r50": (44.04, (5.64, 2.57, 2.34, 1.80)),
    "mask2former-r101": (63.03, (6.85, 2.87, 2.56, 1.88)),
}


def known_costs() -> list[Any]:
    return [
        pytest.param(
            *(name, size, parameters, gmacs),
            id=f"{name}-{size[0]}x{size[1]}",
            marks=() if "r50" in name and size in FAST else pytest.mark.slow,
        )
        for name, (parameters, costs) in KNOWN.items()
        for size, gmacs in zip(SIZES, costs, strict=True)
    ]


@pytest.mark.parametrize(("name", "size", "parameters", "gmacs"), known_costs())
def test_the_query_networks_have_their_known_cost(
    name: str, size: tuple[int, int], parameters: float, gmacs: float
) -> None:
    network = measure(build(name, numbered_categories(133), size), name, size)
    assert network.parameters_total / 1e6 == pytest.approx(parameters, rel=0.02)
    assert network.flops is not None
    assert network.flops / 1e9 == pytest.approx(gmacs, rel=0.02)

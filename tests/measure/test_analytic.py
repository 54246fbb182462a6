"""The closed forms against networks that fvcore counts: our own where the registry has the reading, else reference.py;
and against costs known from elsewhere."""

from __future__ import annotations

import logging
import random
import warnings
from dataclasses import replace
from typing import Any

import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bench.measure.analytic import (
    RESNETS,
    Attention,
    Cost,
    Head,
    ResNetUNet,
    Trunk,
    attention,
    mask_parameters,
    pixels,
)
from bench.measure.cost import HANDLES, numbered_categories
from bench.measure.readings import (
    Family,
    Value,
    head_of,
    module_of,
    places_of,
    readings,
    settings_of,
    trunk_of,
)
from models.categories import Task
from models.registry import build, find
from tests.measure.reference import Network, Outputs, ResNetNetwork

Size = tuple[int, int]
HD = (128, 128)
SEED = 2503  # of the readings drawn
OUR_HEAD = {"embedding": 16, "hidden": 64}
OUR_MASKS = {"learned-binary": "predicted", "learned-soft": "predicted", "static": "static"}  # others: none
TEXTBOOK = Trunk(
    encoder=((0, 64), (1, 128), (2, 256), (3, 512)),
    bottleneck=(1024,),
    bottleneck_level=4,
    decoder=((3, 512), (2, 256), (1, 128), (0, 64)),
)


def counted(network: nn.Module, size: Size) -> tuple[int, int, int]:
    """Parameters, and by fvcore all multiply-adds and those of attention's products, of a network without values."""
    network = network.to_empty(device="cpu").eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for tensor in (*network.parameters(), *network.buffers()):
            tensor.zero_()
        analysis = FlopCountAnalysis(network, torch.zeros(1, 3, *size)).set_op_handle(**HANDLES)
        logging.getLogger("fvcore.nn.jit_analysis").setLevel(logging.ERROR)
        products = analysis.by_operator()["scaled_dot_product_attention"]
    return sum(p.numel() for p in network.parameters()), int(analysis.total()), int(products)


def ours(name: str, classes: int, size: Size, task: Task = "panoptic", **options: Any) -> nn.Module:
    with torch.device("meta"):
        return Outputs(build(name, numbered_categories(classes), size, task, **options))


def as_counted(cost: Cost) -> tuple[int, int, int]:
    return cost.parameters, cost.total, cost.products


def drawn(family: Family, chance: random.Random) -> dict[str, dict[str, Any]]:
    """The settings of one reading, those of trunk, modules and head apart; values that are held take part too."""

    def one(choices: dict[str, tuple[Value, ...]]) -> dict[str, Any]:
        return settings_of(tuple(chance.choice(values) for values in choices.values()))

    return {"trunk": one(family.trunk), "modules": one(family.modules), "head": one(family.head)}


# Random readings


def check_reading(seed: str, width: int) -> None:
    """`width`: of the first stage where the reading has 64."""
    chance = random.Random(seed)
    found = drawn(readings().families["maskattn-unet"], chance)
    size = (chance.choice((16, 32, 48)), chance.choice((16, 32)))
    trunk, kind, head = trunk_of(found["trunk"]), module_of(found["modules"]), head_of(found["head"])
    assert isinstance(trunk, Trunk)
    trunk = scaled(trunk, width)
    places = places_of(trunk, found["modules"])
    cost = trunk.cost(size) + head.cost(trunk.out_channels, size)
    for _, level, channels in places:
        cost += attention(kind, channels, pixels(size, level))
    with torch.device("meta"):
        network = Network(trunk, places, kind, head, size)
    assert counted(network, size) == as_counted(cost), found


@pytest.mark.parametrize("number", range(28))
def test_a_random_reading_with_a_quarter_of_the_channels_counts_as_fvcore_counts_it(number: int) -> None:
    check_reading(f"{SEED} narrow {number}", 16)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(50))
def test_a_random_reading_counts_as_fvcore_counts_it(number: int) -> None:
    check_reading(f"{SEED} {number}", 64)


@pytest.mark.parametrize("number", range(6))
def test_a_random_plain_unet_counts_as_fvcore_counts_it(number: int) -> None:
    chance = random.Random(f"{SEED} plain {number}")
    found = drawn(readings().families["plain U-Net"], chance)
    trunk, head, size = trunk_of({**found["trunk"], "first": 8, "widest": 64}), head_of(found["head"]), (64, 64)
    assert isinstance(trunk, Trunk)
    with torch.device("meta"):
        network = Network(trunk, (), Attention(), head, size)
    assert counted(network, size) == as_counted(trunk.cost(size) + head.cost(trunk.out_channels, size)), found


@pytest.mark.parametrize("number", range(10))
def test_random_options_of_our_network_count_as_fvcore_counts_them(number: int) -> None:
    chance = random.Random(f"{SEED} ours {number}")
    choices = find("maskattn-unet").choices
    options: dict[str, Any] = {key: chance.choice(choices[key]) for key in ("layout", "placement", "mask")}
    options |= {"width": chance.choice((8, 16, 64)), "heads": chance.choice((1, 2, 4, 8))}
    size, task = (16 * chance.randint(1, 3), 16 * chance.randint(1, 2)), chance.choice(("semantic", "panoptic"))
    classes = chance.choice((19, 133))
    cost = our_cost(options, classes, size, task)
    assert counted(ours("maskattn-unet", classes, size, task, **options), size) == as_counted(cost), options


def our_cost(options: dict[str, Any], classes: int, size: Size, task: Task = "panoptic") -> Cost:
    """Of `maskattn-unet` under its options."""
    layouts = {value.settings.get("stem", False): value.settings for value in readings().choices["layout"][:2]}
    three = options["layout"] == "three-stage"
    shared = {"convolutions": 2, "kernel": 3, "upsampling": "transposed", "merge": "concatenated", "norm": "group"}
    widths = {"widths": [64, 128, 256, 256], "bottleneck": [512, 256]}
    trunk = trunk_of({**layouts[three], **widths, **shared, "decoder": "narrower" if three else "mirrored"})
    assert isinstance(trunk, Trunk)
    trunk = scaled(trunk, options["width"])
    both = options["placement"] == "both"
    encoder = both or options["placement"] == "encoder"
    where = {"encoder": encoder, "bottom": encoder and options["layout"] == "nine-module"}
    where["decoder"] = "after" if both or options["placement"] == "decoder" else None
    kind = Attention(heads=options["heads"], mask=OUR_MASKS.get(options["mask"], "none"))
    head = Head(classes, **(OUR_HEAD if task != "semantic" else {}))
    cost = trunk.cost(size) + head.cost(trunk.out_channels, size)
    for _, level, channels in places_of(trunk, where):
        cost += attention(kind, channels, pixels(size, level))
    return cost


def scaled(trunk: Trunk, width: int) -> Trunk:
    def stages(given: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        return tuple((level, channels * width // 64) for level, channels in given)

    bottleneck = tuple(channels * width // 64 for channels in trunk.bottleneck)
    down, up, stem = stages(trunk.encoder), stages(trunk.decoder), trunk.stem * width // 64
    return replace(trunk, encoder=down, decoder=up, bottleneck=bottleneck, stem=stem)


@pytest.mark.parametrize("number", range(6))
def test_a_random_residual_unet_counts_as_timms_encoder_counted_by_fvcore(number: int) -> None:
    chance = random.Random(f"{SEED} residual {number}")
    found = drawn(readings().families["U-Net over a ResNet"], chance)["trunk"]
    if found["norm"] == "none":
        found["norm"] = "batch"  # timm's networks have one
    plan, size = trunk_of({**found, "resnet": chance.choice((18, 34, 50))}), (32, 64)
    assert isinstance(plan, ResNetUNet)
    with torch.device("meta"):
        network = ResNetNetwork(plan)
    assert counted(network, size) == as_counted(plan.cost(size)), plan


@pytest.mark.slow
@pytest.mark.parametrize("depth", RESNETS)
def test_each_residual_encoder_counts_as_timms_counted_by_fvcore(depth: int) -> None:
    plan = ResNetUNet(depth=depth)
    with torch.device("meta"):
        network = ResNetNetwork(plan)
    assert counted(network, (32, 64)) == as_counted(plan.cost((32, 64)))


# Known costs at 128x128


def test_the_textbook_unet_has_its_known_cost() -> None:
    """31,051,541 with our heads: test_the_registered_unets_count_as_fvcore_counts_them; the rest: AUDIT A23."""
    cost = TEXTBOOK.cost(HD) + Head(2).cost(64, HD)
    assert cost.parameters == pytest.approx(31.05e6, rel=0.002)
    assert cost.total == pytest.approx(12.2e9, rel=0.01)


def test_the_residual_unet_has_the_parameters_of_the_published_layout() -> None:
    """segmentation_models_pytorch: 32,521,105 with one class, of which 16 x 9 + 1 are its last convolution."""
    assert ResNetUNet().cost(HD).parameters == 32_521_105 - 145


def test_one_module_at_full_resolution_costs_more_than_the_printed_network() -> None:
    cost = attention(Attention(), 64, 128 * 128)
    assert cost.products == 2 * 16384**2 * 64 == 34_359_738_368
    assert cost.products == attention(Attention(heads=1), 64, 128 * 128).products
    assert mask_parameters(Attention(mask="free"), 64, 128 * 128) == 268_435_456
    assert mask_parameters(Attention(mask="free"), 64, 64 * 64) == 16_777_216


def test_our_three_stage_network_has_the_cost_counted_by_hand() -> None:
    options = {"layout": "three-stage", "placement": "both", "mask": "learned-binary", "width": 64, "heads": 4}
    cost = our_cost(options, 133, HD)
    assert our_cost({**options, "placement": "none"}, 133, HD).parameters == 8_655_157
    assert cost.parameters == 10_732_091
    tokens = ((4096, 128), (1024, 256), (256, 256), (1024, 128), (4096, 64), (16384, 64))
    assert cost.products == sum(2 * n * n * channels for n, channels in tokens) == 41_641_050_112


def test_the_released_network_has_the_cost_of_the_released_code() -> None:
    """24,919,823 parameters with 230,272 in branches that nothing calls, 68.15 G: RELEASED_CODE.md."""
    released = Trunk(
        encoder=((1, 128), (2, 256), (3, 256)),
        stem=64,
        bottleneck=(512, 512, 256),
        bottleneck_level=3,
        decoder=((2, 128), (1, 64), (0, 64)),
        convolutions=0,
        upsampling="bilinear",
        norm="batch",
    )
    kind = Attention(heads=1, projection=False, feed_forward=0, norms=1, mask="none")
    cost = released.cost(HD) + Head(133, fixed_norm=True, norm="batch").cost(64, HD)
    for level, channels in ((1, 128), (2, 256), (3, 256), (2, 128), (1, 64), (0, 64)):
        cost += attention(kind, channels, pixels(HD, level))
    assert cost.parameters + 230_272 == 24_919_823
    assert cost.total == pytest.approx(68.15e9, rel=5e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["unet", "unet-resnet50", "maskattn-unet", "maskattn-unet-none"])
def test_the_registered_unets_count_as_fvcore_counts_them(name: str) -> None:
    three = {"layout": "three-stage", "placement": "both", "mask": "learned-binary", "width": 64, "heads": 4}
    head = Head(133, **OUR_HEAD)
    cost = {
        "unet": lambda: TEXTBOOK.cost(HD) + head.cost(64, HD),
        "unet-resnet50": lambda: ResNetUNet().cost(HD) + head.cost(16, HD),
        "maskattn-unet": lambda: our_cost(three, 133, HD),
        "maskattn-unet-none": lambda: our_cost({**three, "placement": "none"}, 133, HD),
    }[name]()
    assert counted(ours(name, 133, HD), HD) == as_counted(cost)


# What moves a count, and what does not

WIDTHS = st.sampled_from((16, 32, 64, 128))
KINDS = st.builds(
    Attention,
    heads=st.sampled_from((1, 2, 4, 8)),
    wide_heads=st.booleans(),
    feed_forward=st.sampled_from((0, 1, 2, 4)),
    norms=st.integers(0, 2),
    mask=st.sampled_from(("none", "predicted", "static", "free", "free-per-head")),
)


@given(KINDS, WIDTHS, st.sampled_from((16, 64, 256)))
@settings(deadline=None)
def test_a_module_of_more_channels_or_positions_costs_more(kind: Attention, channels: int, positions: int) -> None:
    cost, wider = attention(kind, channels, positions), attention(kind, 2 * channels, positions)
    longer = attention(kind, channels, 2 * positions)
    assert wider.parameters > cost.parameters
    assert wider.products == 2 * cost.products
    assert longer.products == 4 * cost.products
    assert longer.flops == 2 * cost.flops
    tied = kind.mask in ("static", "free", "free-per-head")
    assert (longer.parameters > cost.parameters) == tied


@given(KINDS, WIDTHS)
@settings(deadline=None)
def test_the_number_of_heads_moves_a_count_only_where_it_is_said_to(kind: Attention, channels: int) -> None:
    one = attention(replace(kind, heads=1), channels, 64)
    matters = kind.heads > 1 and (kind.wide_heads or kind.mask == "free-per-head")
    assert (attention(kind, channels, 64) != one) == matters


@given(st.integers(0, 10**6))
@settings(deadline=None, max_examples=50)
def test_four_times_the_pixels_are_four_times_the_layers(seed: int) -> None:
    trunk = trunk_of(drawn(readings().families["maskattn-unet"], random.Random(seed))["trunk"])
    small, large = trunk.cost((64, 64)), trunk.cost((128, 128))
    assert large.flops == 4 * small.flops
    assert large.parameters == small.parameters


def test_costs_add_up() -> None:
    assert Cost(1, 2, 3) + Cost(10, 20, 30) == Cost(11, 22, 33)
    assert Cost(1, 2, 3).total == 5

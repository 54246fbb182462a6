"""The released network: its known size and cost, its oddities one by one, and that each switch moves that one alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.measure.cost import measure, numbered_categories
from bench.record import Network
from models.blocks import ImageNetNormalization
from models.categories import TASKS, Categories, Task
from models.interface import Batch, SegmentationModel
from models.registry import build
from models.released import AttentionSwitches, ReleasedAttention

NAME = "maskattn-unet-released"
SMALL = (32, 32)
UNUSED = {
    "trunk.down1.unused": 256 * 128 + 128,
    "trunk.down2.unused": 256 * 256 + 256,
    "trunk.down3.unused": 256 * 256 + 256,
    "trunk.up1.unused": 256 * 128 + 128,
    "trunk.up2.unused": 256 * 64 + 64,
    "trunk.up3.unused": 256 * 64 + 64,
}
# What the released network is known to have: parameters and GMACs of each block at 128x128.
TABLE = {
    "trunk.initial": (38_848, 0.64),
    "trunk.down1": (328_832, 1.21),
    "trunk.att1": (49_792, 4.50),
    "trunk.down2": (1_247_488, 1.21),
    "trunk.att2": (197_888, 0.74),
    "trunk.down3": (2_427_648, 0.61),
    "trunk.att3": (197_888, 0.08),
    "trunk.bottom": (10_032_128, 2.57),
    "trunk.up1": (6_229_120, 6.35),
    "trunk.att4": (49_792, 0.32),
    "trunk.up2": (1_566_272, 6.35),
    "trunk.att5": (12_608, 2.20),
    "trunk.up3": (422_848, 6.66),
    "trunk.att6": (12_608, 34.57),
    "trunk.norm": (2_097_152, 0.01),
    "heads.semantic": (8_911, 0.14),
}
ToyBatch = Callable[..., Batch]


def switches(**changed: Any) -> AttentionSwitches:
    released = {"mask": "random-fixed", "heads": 1, "feed_forward": False, "missing_permutation": True}
    return AttentionSwitches(**{**released, **changed})


def small(categories: Categories, task: Task = "semantic", size: tuple[int, int] = SMALL, **options: Any) -> Any:
    """With a channel norm it takes small images. In evaluation mode, seeded."""
    torch.manual_seed(0)
    return build(NAME, categories, size, task, **{"fixed_layernorm": False, **options}).eval()


def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def total(model: SegmentationModel, batch: Batch) -> Tensor:
    return torch.stack(list(model.loss(model(batch.images), batch).values())).sum()


@pytest.fixture(scope="module")
def network() -> Network:
    return measure(build(NAME, numbered_categories(133), (128, 128), "semantic"), NAME, (128, 128))


@pytest.mark.parametrize(
    ("classes", "parameters"), [(19, 24_912_185), (81, 24_916_339), (133, 24_919_823), (151, 24_921_029)]
)
def test_it_has_the_parameters_of_the_released_network(classes: int, parameters: int) -> None:
    model = build(NAME, numbered_categories(classes), (128, 128), "semantic")
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_it_has_the_cost_of_the_released_network_row_by_row(network: Network) -> None:
    rows = {module.name: module for module in network.modules}
    assert {name: rows[name].parameters for name in TABLE} == {name: count for name, (count, _) in TABLE.items()}
    assert sum(count for count, _ in TABLE.values()) == network.parameters_total == 24_919_823
    for name, (_, gmacs) in TABLE.items():
        # Half a digit, and what rounding in two steps adds: down3 is 0.6046.
        assert rows[name].flops == pytest.approx(gmacs * 1e9, abs=0.0055e9), name
    assert network.flops == pytest.approx(68.15e9, abs=0.005e9)


def test_the_attention_products_make_up_most_of_the_cost(network: Network) -> None:
    rows = {module.name: module for module in network.modules}
    products = 0
    for name, side, channels in [
        ("att1", 64, 128),
        ("att2", 32, 256),
        ("att3", 16, 256),
        ("att4", 32, 128),
        ("att5", 64, 64),
        ("att6", 128, 64),
    ]:
        positions = side**2
        product, linear, norm = 2 * positions**2 * channels, 3 * positions * channels**2, 5 * positions * channels
        assert rows[f"trunk.{name}"].flops == product + linear + norm
        assert rows[f"trunk.{name}"].output == (1, channels, side, side)
        products += product
    assert products == pytest.approx(41.64e9, abs=0.005e9)
    assert rows["trunk.att6"].flops == pytest.approx(34.57e9, abs=0.005e9)
    assert [op for op in network.uncounted if "attention" in op or "mm" in op] == []


def test_the_record_names_the_branches_that_are_never_called(network: Network) -> None:
    assert network.unused == UNUSED
    assert sum(UNUSED.values()) == 230_272


@pytest.mark.parametrize("task", TASKS)
def test_every_live_parameter_gets_a_gradient_and_the_unused_none(
    task: Task, toy_categories: Categories, toy_batch: ToyBatch
) -> None:
    torch.manual_seed(0)
    model = build(NAME, toy_categories, (128, 128), task).train()
    total(model, toy_batch((128, 128))).backward()
    live = {n: p for n, p in model.named_parameters() if not n.startswith(tuple(UNUSED))}
    assert all(p.grad is not None and p.grad.isfinite().all() for p in live.values())
    assert all(p.grad.any() for n, p in live.items() if p.grad is not None and not n.endswith("key.bias"))
    assert all(p.grad is None for n, p in model.named_parameters() if n not in live)


def test_it_trains_on_images_of_void(toy_categories: Categories, toy_batch: ToyBatch) -> None:
    loss = total(small(toy_categories, "panoptic").train(), toy_batch(SMALL, void=True))
    assert float(loss.detach()) == 0


@pytest.mark.parametrize("task", TASKS)
def test_one_seed_gives_one_network_and_weights_carry_the_masks(task: Task, toy_categories: Categories) -> None:
    model, again = small(toy_categories, task), small(toy_categories, task)
    torch.manual_seed(99)
    other = build(NAME, toy_categories, SMALL, task, fixed_layernorm=False).eval()
    images = torch.rand(2, 3, *SMALL)
    assert not torch.equal(other.trunk.att6.mask.places, model.trunk.att6.mask.places)
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        for key, value in model(images).items():
            assert torch.equal(value, again(images)[key])
            assert torch.equal(value, other(images)[key])


def test_an_image_is_predicted_alike_alone_in_any_place_of_a_batch_and_in_channels_last(
    toy_categories: Categories,
) -> None:
    model = small(toy_categories)
    images = torch.rand(3, 3, *SMALL)
    with torch.no_grad():
        together, alone = model(images)["logits"], model(images[2:])["logits"]
        channels_last = model(images.to(memory_format=torch.channels_last))["logits"]
    torch.testing.assert_close(together[2:], alone, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together, channels_last, atol=1e-5, rtol=1e-4)
    places = model.trunk.att6.mask.places
    assert (places.shape, len(places.unique())) == ((1, 32 * 32 // 2), 32 * 32 // 2)


def test_logits_and_embeddings_are_never_negative(toy_categories: Categories) -> None:
    outputs = small(toy_categories, "panoptic")(torch.rand(2, 3, *SMALL))
    assert set(outputs) == {"logits", "embedding"}
    assert outputs["logits"].shape == (2, 4, *SMALL)
    assert outputs["embedding"].shape == (2, 16, *SMALL)
    assert all(value.min() == 0 and value.max() > 0 for value in outputs.values())


# The attention module


@pytest.mark.parametrize(("channels", "height", "width"), [(6, 2, 5), (4, 4, 4), (64, 128, 128), (128, 64, 64)])
def test_without_the_permutation_an_entry_holds_the_token_and_channel_of_its_flat_index(
    channels: int, height: int, width: int
) -> None:
    positions = height * width
    module = ReleasedAttention(channels, positions, switches(mask="none"))
    module.norm = nn.Identity()
    nn.init.zeros_(module.value.weight)
    nn.init.zeros_(module.value.bias)  # nothing is attended to: the tokens come through
    number = torch.arange(positions)[None] * channels + torch.arange(channels)[:, None]  # (C, N): token C + channel
    with torch.no_grad():
        found = module(number.float().view(1, channels, height, width))[0].long()
    c, h, w = torch.meshgrid(torch.arange(channels), torch.arange(height), torch.arange(width), indexing="ij")
    flat = c * positions + h * width + w
    assert torch.equal(found // channels, flat // channels)
    assert torch.equal(found % channels, flat % channels)
    row, column, channel = found // channels // width, found // channels % width, found % channels
    if (channels, width) == (64, 128):  # att6: one channel, one column, 64 rows
        assert torch.equal(channel, w % 64)
        assert torch.equal(column, (2 * h + (w >= 64)) % 128)
        assert torch.equal(row, 2 * c + (h >= 64))
    if (channels, width) == (128, 64):  # att1
        assert torch.equal(channel, w + 64 * (h % 2))
        assert torch.equal(row, c // 2)
        assert torch.equal(column, 32 * (c % 2) + h // 2)


@pytest.mark.parametrize("changed", [{}, {"heads": 2}, {"mask": "none"}, {"missing_permutation": False}], ids=str)
def test_the_module_is_the_plain_formula(changed: dict[str, Any]) -> None:
    torch.manual_seed(0)
    channels, height, width = 8, 3, 5
    positions, chosen = height * width, switches(**changed)
    module = ReleasedAttention(channels, positions, chosen).double()
    x = torch.randn(2, channels, height, width, dtype=torch.float64)

    tokens = x.reshape(2, channels, positions).permute(0, 2, 1)
    kept = torch.ones(positions, dtype=torch.bool)
    if chosen.mask == "random-fixed":
        kept = torch.isin(torch.arange(positions), module.mask.places)
    part = channels // chosen.heads
    heads = []
    for head in range(chosen.heads):
        columns = slice(head * part, (head + 1) * part)
        q, k, v = (layer(tokens)[..., columns] for layer in (module.query, module.key, module.value))
        scores = torch.einsum("bnd,bmd->bnm", q, k) / math.sqrt(part) + torch.where(kept, 0.0, -torch.inf)
        heads.append(scores.softmax(-1) @ v)
    summed = tokens + torch.cat(heads, dim=-1)
    normed = (summed - summed.mean(-1, keepdim=True)) / (summed.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    if not chosen.missing_permutation:
        normed = normed.permute(0, 2, 1)
    torch.testing.assert_close(module(x), normed.reshape(x.shape), atol=1e-10, rtol=0)


def test_a_hidden_key_is_seen_by_no_other_position() -> None:
    torch.manual_seed(0)
    module = ReleasedAttention(4, 12, switches(missing_permutation=False))
    x = torch.randn(1, 4, 3, 4)
    for position in range(12):
        kept = position in module.mask.places
        changed = x.clone()
        changed[0, :, position // 4, position % 4] += 1
        moved = (module(changed) - module(x)).abs().amax(1).flatten() > 0
        assert moved.sum() == (12 if kept else 1)


def test_the_feed_forward_part_is_equation_2() -> None:
    torch.manual_seed(0)
    with_it = ReleasedAttention(8, 12, switches(feed_forward=True, missing_permutation=False))
    without = ReleasedAttention(8, 12, switches(missing_permutation=False))
    without.load_state_dict({n: v for n, v in with_it.state_dict().items() if not n.startswith("ffn")})
    x = torch.randn(1, 8, 3, 4)
    attended = without(x).flatten(2).transpose(1, 2)
    inner = with_it.ffn[0](attended)
    refined = attended + with_it.ffn[2](inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2))))
    torch.testing.assert_close(with_it(x), refined.transpose(1, 2).reshape(x.shape))


# The switches: what changes in the state, and that nothing else does.


@pytest.mark.parametrize(
    ("option", "value", "part"),
    [
        ("mask", "none", ".mask."),
        ("mask", "random-resampled", ".mask."),
        ("feed_forward", True, ".ffn."),
        ("norm_logits", False, "heads.semantic.1."),
        ("unused_branches", False, ".unused."),
        ("heads", 4, None),
        ("missing_permutation", False, None),
        ("relu_logits", False, None),
        ("normalize", True, None),
    ],
)
def test_a_switch_changes_the_state_of_its_own_part_alone(
    option: str, value: Any, part: str | None, toy_categories: Categories
) -> None:
    released, changed = (shapes(small(toy_categories, **given)) for given in ({}, {option: value}))
    different = {name for name, _ in released.items() ^ changed.items()}
    assert bool(different) == (part is not None)
    assert all(part is not None and part in name for name in different)


def test_the_fixed_layer_norm_has_a_weight_a_pixel_and_its_stand_in_one_a_channel() -> None:
    categories = numbered_categories(2)
    fixed = shapes(build(NAME, categories, (128, 128)))
    channel = shapes(build(NAME, categories, (128, 128), fixed_layernorm=False))
    names = ("trunk.norm.weight", "trunk.norm.bias")
    assert dict(fixed.items() - channel.items()) == dict.fromkeys(names, (64, 128, 128))
    assert dict(channel.items() - fixed.items()) == dict.fromkeys(names, (64,))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"unused_branches": False}, lambda released, images: released(images)["logits"]),
        ({"normalize": True}, lambda released, images: released(ImageNetNormalization()(images))["logits"]),
        ({"relu_logits": False}, None),
    ],
    ids=["unused_branches", "normalize", "relu_logits"],
)
def test_with_the_same_weights_a_switch_does_what_it_says(
    options: dict[str, Any], expected: Callable[..., Tensor] | None, toy_categories: Categories
) -> None:
    released, changed = small(toy_categories), small(toy_categories, **options)
    changed.load_state_dict({n: v for n, v in released.state_dict().items() if n in changed.state_dict()})
    images = torch.rand(2, 3, *SMALL)
    with torch.no_grad():
        logits = changed(images)["logits"]
        if expected is not None:
            assert torch.equal(logits, expected(released, images))
        else:
            assert logits.min() < 0
            assert torch.equal(logits.clamp(min=0), released(images)["logits"])


def test_without_norm_and_relu_the_logits_are_the_convolution(toy_categories: Categories) -> None:
    model = small(toy_categories, norm_logits=False, relu_logits=False)
    seen: list[Tensor] = []
    model.trunk.register_forward_hook(lambda *call: seen.append(call[-1]))
    with torch.no_grad():
        logits = model(torch.rand(1, 3, *SMALL))["logits"]
        weight, bias = model.heads.semantic[0].weight[:, :, 0, 0], model.heads.semantic[0].bias
        by_hand = torch.einsum("kc,bchw->bkhw", weight, seen[0]) + bias[:, None, None]
    torch.testing.assert_close(logits, by_hand)


# Sizes


def test_the_fixed_layer_norm_takes_128x128_alone(toy_categories: Categories) -> None:
    with pytest.raises(
        ValueError, match=r"^maskattn-unet-released takes 128x128 images.*got 64x96 .*fixed_layernorm=false$"
    ):
        build(NAME, toy_categories, (64, 96))


def test_a_network_with_a_fixed_mask_takes_the_size_it_was_built_for_alone(toy_categories: Categories) -> None:
    with pytest.raises(ValueError, match=r"of 32x32 images; got 64x32 \(height x width\); build it for that size$"):
        small(toy_categories)(torch.rand(1, 3, 64, 32))


@pytest.mark.parametrize("size", [(32, 32), (48, 64)])
@pytest.mark.parametrize("mask", ["random-resampled", "none"])
def test_without_what_is_fixed_it_takes_any_size_its_stride_divides(
    mask: str, size: tuple[int, int], toy_categories: Categories
) -> None:
    model = small(toy_categories, mask=mask)
    assert model(torch.rand(1, 3, *size))["logits"].shape == (1, 4, *size)
    with pytest.raises(ValueError, match="multiples of 8; got 36x32"):
        model(torch.rand(1, 3, 36, 32))


def test_heads_that_do_not_divide_the_channels_are_refused(toy_categories: Categories) -> None:
    with pytest.raises(ValueError, match="channels do not divide into 3 heads"):
        small(toy_categories, heads=3)


@pytest.mark.parametrize("task", TASKS)
def test_predictions_can_be_read_out_for_every_task(task: Task, toy_categories: Categories) -> None:
    model = small(toy_categories, task)
    with torch.no_grad():
        predictions = model.decode(model(torch.rand(2, 3, *SMALL)))
    assert [p.semantic.shape for p in predictions] == [SMALL, SMALL]

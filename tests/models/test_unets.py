"""The U-Net family: parameters and cost, layouts, placements and masks, refusals. What they share with every other
network is in test_contract.py."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bench.measure.cost import measure, numbered_categories
from models.attention import MaskAttention
from models.blocks import channel_norm
from models.categories import Categories
from models.interface import Batch, SegmentationModel
from models.maskattn_unet import LAYOUTS, PLACEMENTS, MaskAttnUNet
from models.masks import KINDS, TIED_TO_SIZE
from models.pixel_model import PixelModel
from models.registry import CHOICES, ENTRIES, build
from models.resnet_unet import ResNetUNet
from models.u_transformer import sine_positions

FAMILY = [entry.name for entry in ENTRIES if entry.family == "unet" and not entry.sizes]
STRIDES = {"unet": 16, "unet-small": 16, "unet-resnet50": 16, "u-transformer": 16}  # the others: 8
PAPER_UNET = (32e6, 4e9)  # parameters and FLOPs of Table 4's U-Net
ToyBatch = Callable[..., Batch]
Size = tuple[int, int]


def total(model: SegmentationModel, batch: Batch) -> Tensor:
    return torch.stack(list(model.loss(model(batch.images), batch).values())).sum()


def small(name: str, categories: Categories, size: Size, **options: str) -> SegmentationModel:
    width = {} if name == "unet-resnet50" else {"width": 16}
    return build(name, categories, size, **width, **options)


def trunk(size: Size = (32, 32), **options: str) -> MaskAttnUNet:
    return MaskAttnUNet(size, width=8, heads=2, **options)


def modules(network: MaskAttnUNet) -> dict[str, nn.Module]:
    return {name: module for name, module in network.named_children() if name.startswith("att")}


def test_candidates_for_the_papers_unet(capsys: pytest.CaptureFixture[str]) -> None:
    """Paper, Table 4: 32 M and 4 G. Expected: AUDIT A23; without modules, counted by hand below."""
    expected = {"unet": (31.05e6, 12.2e9), "unet-resnet50": (32.5e6, 2.98e9), "maskattn-unet-none": (8.66e6, 7.18e9)}
    for name, (parameters, flops) in expected.items():
        network = measure(build(name, numbered_categories(133), (128, 128)), name, (128, 128))
        assert network.flops is not None
        counted = network.flops
        if name == "unet-resnet50":  # there the logits come from a 3x3 convolution over 16 channels, with a bias
            counted += 133 * 16 * 8 * 128**2
        assert network.parameters_total == pytest.approx(parameters, rel=0.002)
        assert counted == pytest.approx(flops, rel=0.02)  # fvcore counts more for a group norm than for a batch norm
        far = [
            found / printed
            for found, printed in zip((network.parameters_total, network.flops), PAPER_UNET, strict=True)
        ]
        with capsys.disabled():
            sys.stdout.write(f"\n{name}: {far[0]:.2f} of the paper's parameters, {far[1]:.2f} of its FLOPs")


def test_the_resnet_unet_has_the_parameters_of_the_published_layout() -> None:
    """segmentation_models_pytorch: 32,521,105 with one class, of which 16 x 9 + 1 are its last convolution."""
    network = ResNetUNet()
    assert sum(p.numel() for p in network.parameters()) == 32_521_105 - 145
    assert not [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert network(torch.rand(1, 3, 48, 80)).shape == (1, 16, 48, 80)  # neither divides by the 32 of its last map


def test_the_network_without_modules_has_the_parameters_counted_by_hand() -> None:
    def block(i: int, o: int) -> int:
        return 9 * i * o + 9 * o * o + 4 * o

    def up(i: int, skip: int, o: int) -> int:
        return 4 * i * (i // 2) + i // 2 + block(i // 2 + skip, o)

    down = block(3, 64) + block(64, 128) + block(128, 256) + block(256, 256)
    bottleneck = block(256, 512) + block(512, 256)
    found = sum(p.numel() for p in MaskAttnUNet((128, 128), placement="none").parameters())
    assert found == down + bottleneck + up(256, 256, 128) + up(128, 128, 64) + up(64, 64, 64)


def test_the_twin_without_a_mask_lacks_the_saliency_and_nothing_else() -> None:
    masked, twin = (dict(trunk(mask=mask).named_parameters()) for mask in ("learned-binary", "none"))
    assert {name for name in masked if ".mask." not in name} == set(twin)
    assert all(masked[name].shape == value.shape for name, value in twin.items())


def test_the_registry_offers_the_layouts_and_placements_there_are() -> None:
    assert CHOICES["layout"] == tuple(LAYOUTS)
    assert CHOICES["placement"] == tuple(PLACEMENTS)


@pytest.mark.parametrize(
    ("layout", "stride", "places"),
    [  # channels over the width, and the module's share of the image's side
        ("three-stage", 8, [(2, 2), (4, 4), (4, 8), (2, 4), (1, 2), (1, 1)]),
        ("four-stage", 16, [(1, 1), (2, 2), (4, 4), (4, 8), (4, 8), (4, 4), (2, 2), (1, 1)]),
        ("nine-module", 16, [(1, 1), (2, 2), (4, 4), (4, 8), (4, 16), (4, 8), (4, 4), (2, 2), (1, 1)]),
    ],
)
def test_each_layout_has_its_modules_where_the_paper_says(layout: str, stride: int, places: list[Size]) -> None:
    network = trunk((32, 64), layout=layout)
    seen: list[tuple[str, torch.Size]] = []
    for name, module in modules(network).items():
        module.register_forward_hook(lambda _, __, output, name=name: seen.append((name, output.shape)))
    features = network(torch.rand(1, 3, 32, 64))
    assert features.shape == (1, 8, 32, 64)
    assert network.stride == stride
    assert seen == [
        (f"att{number}", (1, 8 * factor, 32 // share, 64 // share))
        for number, (factor, share) in enumerate(places, start=1)
    ]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_placement_leaves_out_modules_and_keeps_the_names(layout: str, placement: str) -> None:
    network = trunk(layout=layout, placement=placement)
    halves = {"three-stage": (3, 3), "four-stage": (4, 4), "nine-module": (5, 4)}[layout]
    present = [isinstance(module, MaskAttention) for module in modules(network).values()]
    encoder, decoder = placement in ("both", "encoder"), placement in ("both", "decoder")
    assert present == [encoder] * halves[0] + [decoder] * halves[1]
    assert list(modules(network)) == [f"att{number}" for number in range(1, sum(halves) + 1)]
    network(torch.rand(1, 3, 32, 32)).sum().backward()
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize("mask", KINDS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [(32, 32), (48, 64)])
def test_every_mask_learns_in_every_layout(
    mask: str, layout: str, size: Size, toy_categories: Categories, toy_batch: ToyBatch
) -> None:
    torch.manual_seed(0)
    model, batch = (
        build("maskattn-unet", toy_categories, size, width=8, heads=1, layout=layout, mask=mask),
        toy_batch(size),
    )
    total(model.train(), batch).backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert [name for name in dead if not name.endswith("key.bias")] == []
    assert any(".mask." in name for name, _ in model.named_parameters()) == (
        mask in (*TIED_TO_SIZE[:1], *list(KINDS)[:2])
    )


@pytest.mark.parametrize("mask", TIED_TO_SIZE)
def test_a_mask_with_a_value_a_position_ties_the_network_to_its_size(mask: str, toy_categories: Categories) -> None:
    model = build("maskattn-unet-small", toy_categories, (32, 64), mask=mask)
    model(torch.rand(1, 3, 32, 64))
    for other in [(64, 32), (64, 64)]:  # the first has as many positions
        with pytest.raises(
            ValueError, match=rf"positions of 32x64 images; got {other[0]}x{other[1]} \(height x width\)"
        ):
            model(torch.rand(1, 3, *other))
    free = build("maskattn-unet-small", toy_categories, (32, 64), mask=mask, placement="none")
    free(torch.rand(1, 3, 64, 64))


@pytest.mark.parametrize(("option", "value"), [("layout", "three"), ("placement", "up"), ("mask", "binary")])
def test_an_unknown_choice_is_refused_with_what_there_is(option: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"^unknown {option} '{value}'; known: "):
        trunk(**{option: value})


@pytest.mark.parametrize("size", [(40, 36), (8, 4), (33, 32)])
@pytest.mark.parametrize("name", FAMILY)
def test_a_size_that_does_not_divide_is_refused_when_building_and_when_running(
    name: str, size: Size, toy_categories: Categories
) -> None:
    message = rf" takes .* multiples of {STRIDES.get(name, 8)}; got {size[0]}x{size[1]} \(height x width\)$"
    with pytest.raises(ValueError, match=message):
        small(name, toy_categories, size)
    with pytest.raises(ValueError, match=message):
        small(name, toy_categories, (32, 32))(torch.rand(1, 3, *size))


@pytest.mark.parametrize("name", FAMILY)
def test_normalisation_is_the_models_own(name: str, toy_categories: Categories) -> None:
    model = small(name, toy_categories, (32, 32))
    assert isinstance(model, PixelModel)
    seen: list[Tensor] = []
    model.trunk.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = torch.rand(1, 3, 32, 32)
    model(images)
    by_hand = [(images[:, 0] - 0.485) / 0.229, (images[:, 1] - 0.456) / 0.224, (images[:, 2] - 0.406) / 0.225]
    torch.testing.assert_close(seen[0], torch.stack(by_hand, dim=1))
    assert not {"mean", "std", "is_thing"} & set(model.state_dict())


def alike(model: SegmentationModel) -> None:
    """An image alone, in a batch and in channels-last memory gives the same outputs."""
    images = torch.rand(3, 3, 48, 64)
    with torch.no_grad():
        together, alone = model.eval()(images), model(images[1:2])
        channels_last = model(images.to(memory_format=torch.channels_last))
    for key, value in together.items():
        torch.testing.assert_close(value[1:2], alone[key], atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(value, channels_last[key], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", FAMILY)
def test_an_image_is_predicted_alike_alone_in_a_batch_and_in_channels_last(
    name: str, toy_categories: Categories
) -> None:
    torch.manual_seed(0)
    alike(small(name, toy_categories, (48, 64)))


@pytest.mark.parametrize("mask", KINDS)
def test_no_mask_lets_the_batch_into_a_prediction(mask: str, toy_categories: Categories) -> None:
    torch.manual_seed(0)
    alike(small("maskattn-unet", toy_categories, (48, 64), mask=mask))


def test_channel_norms_have_at_least_two_channels_a_group() -> None:
    """On a 1x1 map a group of one channel is normalised to nothing."""
    for channels in (1, 2, 3, 8, 30, 64, 1024):
        norm = channel_norm(channels)
        assert channels // norm.num_groups >= min(channels, 2)
        assert norm.num_groups <= 32
        assert channels % norm.num_groups == 0


def test_sine_positions_tell_every_pixel_from_every_other() -> None:
    positions = sine_positions(16, 12, 64)
    distances = torch.cdist(positions, positions) + 9 * torch.eye(16 * 12)
    assert float(distances.min()) > 0.1

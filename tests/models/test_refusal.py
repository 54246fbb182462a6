"""What the registry says of sizes without torch is what the networks themselves take."""

from __future__ import annotations

import pytest

from models.categories import Categories
from models.registry import ENTRIES, build, full_options

SIZES = ((128, 128), (48, 64), (40, 40), (24, 40), (30, 32))
SETTINGS = [
    ("unet-small", {}),
    ("u-transformer", {"width": 16}),
    ("maskattn-unet-small", {}),
    ("maskattn-unet-small", {"layout": "four-stage"}),
    ("maskattn-unet-small", {"layout": "nine-module"}),
    ("maskattn-unet-released", {"mask": "none"}),
    ("maskattn-unet-released", {"mask": "none", "fixed_layernorm": False}),
    ("detr-small", {}),
    ("mask2former-small", {}),
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("name", "options"), SETTINGS)
def test_a_size_is_refused_exactly_where_the_network_cannot_be_built(
    toy_categories: Categories, name: str, options: dict[str, object], size: tuple[int, int]
) -> None:
    entry = next(entry for entry in ENTRIES if entry.name == name)
    refused = entry.refusal(size, full_options(name, options))
    if refused is None:
        build(name, toy_categories, size, **options)
    else:
        with pytest.raises(ValueError, match="height x width"):
            build(name, toy_categories, size, **options)


def test_every_network_of_a_stride_declares_it(toy_categories: Categories) -> None:
    for entry in ENTRIES:
        if entry.family == "unet":
            size = entry.sizes[0] if entry.sizes else (64, 64)
            assert build(entry.name, toy_categories, size).stride == entry.stride

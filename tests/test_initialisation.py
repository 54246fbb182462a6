"""The network that a run begins with is that of its seed, and what is set beside the trained one is its maps."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from bench.initialisation import initialised, longrange
from bench.measure.level_statistics import rows_read, statistics_of
from bench.train.seeds import axis_seed
from models.categories import Categories, Category
from models.registry import build
from tests.specs import spec_of_size

CATEGORIES = Categories(tuple(Category(n + 1, f"class {n}", n < 2, (0, 0, 0)) for n in range(3)))
SPEC = spec_of_size("32x32").model_copy(update={"options": {"width": 16}, "seed": 3})


def by_hand() -> Any:
    torch.manual_seed(axis_seed(3, "initialisation"))
    return build("unet", CATEGORIES, (32, 32), "panoptic", width=16).eval()


def test_equal_seeds_begin_with_equal_weights() -> None:
    torch.manual_seed(0)  # nothing that happened before matters
    mine, theirs = initialised(SPEC, CATEGORIES, "cpu").state_dict(), by_hand().state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in mine.items())
    other = initialised(SPEC.model_copy(update={"seed": 4}), CATEGORIES, "cpu").state_dict()
    assert not torch.equal(mine["trunk.down.0.0.weight"], other["trunk.down.0.0.weight"])


def test_the_untrained_maps_are_of_the_first_four_images() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    data: Any = SimpleNamespace(categories=CATEGORIES, images=pixels)
    with torch.no_grad():
        trunk = by_hand()
        images = torch.from_numpy(pixels[:4]).permute(0, 3, 1, 2) / 255
        output = trunk.trunk(trunk.normalize(images))[:, ::2].numpy()
    names = list(trunk.levels())
    sides = (16, 8, 4, 8, 16, 32)
    trained = {name: np.ones((4, 8, side, side), np.float32) for name, side in zip(names, sides, strict=True)}
    found = longrange(SPEC, data, trained, "cpu")
    last, expected = found.levels[-1], statistics_of(rows_read(output))
    assert last.untrained is not None
    assert last.untrained.hurst.mean == pytest.approx(expected.hurst.mean, abs=1e-4)
    assert last.untrained.power == pytest.approx(expected.power, rel=1e-3)
    assert last.trained is not None
    assert last.trained.hurst.n == 0  # constant, as given

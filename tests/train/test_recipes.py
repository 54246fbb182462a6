"""Which recipe a family gets under a profile."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from bench.spec import Profile
from bench.train.recipes import OF_FAMILY, recipe_for
from models.registry import ENTRIES, find


def profile(**values: Any) -> Profile:
    return Profile(name="p", summary="", label="", reproduction=False, **{"epochs": 7, **values})


def test_every_family_has_a_recipe_with_a_source() -> None:
    assert {entry.family for entry in ENTRIES} == set(OF_FAMILY)
    assert all(recipe.source for pair in OF_FAMILY.values() for recipe in pair)


def test_the_unets_are_trained_by_the_papers_values() -> None:
    recipe = recipe_for(find("maskattn-unet"), {}, profile())
    assert (recipe.optimizer, recipe.lr, recipe.weight_decay, recipe.batch_size) == ("adamw", 5e-4, 1e-3, 14)
    assert (recipe.schedule, recipe.epochs) == ("constant", 7)
    assert recipe_for(find("unet"), {}, profile()) == recipe_for(find("self-attention-unet"), {}, profile()) == recipe


@pytest.mark.parametrize("family", ["detr", "mask2former"])
def test_a_trained_backbone_brings_the_recipe_of_its_paper(family: str) -> None:
    entry = find(f"{family}-r50")
    scratch = recipe_for(entry, {"backbone_weights": "none"}, profile())
    trained = recipe_for(entry, {"backbone_weights": "imagenet"}, profile())
    assert recipe_for(entry, {}, profile()) == scratch
    assert (scratch.name, trained.name) == (f"{family}-scratch", family)
    assert (scratch.backbone_lr_factor, trained.backbone_lr_factor) == (1.0, 0.1)


@pytest.mark.parametrize(("most", "expected"), [(None, 14), (4, 4), (64, 14)])
def test_the_profile_caps_the_batch_and_never_raises_it(most: int | None, expected: int) -> None:
    assert recipe_for(find("unet"), {}, profile(max_batch=most)).batch_size == expected


def test_a_floor_takes_one_pass_whatever_the_profile() -> None:
    recipe = recipe_for(find("majority"), {}, profile(epochs=1000, max_batch=2))
    assert (recipe.epochs, recipe.augment) == (1, False)
    assert recipe == recipe_for(find("position-prior"), {}, profile(epochs=0))


def test_recipes_need_no_torch() -> None:
    code = "import sys, bench.train.recipes, bench.train.seeds; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0

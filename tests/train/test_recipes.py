"""Which recipe a family gets under a profile."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UserError
from bench.spec import Profile
from bench.train.recipes import NAMED, OF_FAMILY, RELEASED, recipe_for
from models.categories import TASKS
from models.registry import ENTRIES, find


def profile(**values: Any) -> Profile:
    return Profile(name="p", summary="", label="", reproduction=False, **{"epochs": 7, **values})


def test_every_family_has_a_recipe_with_a_source() -> None:
    assert {entry.family for entry in ENTRIES} == set(OF_FAMILY)
    assert all(recipe.source for pair in OF_FAMILY.values() for recipe in pair)


@pytest.mark.parametrize(("task", "batch"), [("semantic", 8), ("instance", 14), ("panoptic", 14)])
def test_the_unets_are_trained_by_the_papers_values(task: Any, batch: int) -> None:
    recipe = recipe_for(find("maskattn-unet"), {}, profile(), task)
    assert (recipe.optimizer, recipe.lr, recipe.weight_decay, recipe.batch_size) == ("adamw", 5e-4, 1e-3, batch)
    assert (recipe.schedule, recipe.epochs) == ("constant", 7)
    assert recipe.augmentation is not None
    others = (entry for entry in ENTRIES if entry.family == "unet")
    assert all(recipe_for(entry, {}, profile(), task) == recipe for entry in others)


@pytest.mark.parametrize("family", ["detr", "mask2former"])
def test_a_trained_backbone_brings_the_recipe_of_its_paper(family: str) -> None:
    entry = find(f"{family}-r50")
    scratch = recipe_for(entry, {"backbone_weights": "none"}, profile(), "panoptic")
    trained = recipe_for(entry, {"backbone_weights": "imagenet"}, profile(), "panoptic")
    assert recipe_for(entry, {}, profile(), "semantic") == scratch
    assert (scratch.name, trained.name) == (f"{family}-scratch", family)
    assert (scratch.backbone_lr_factor, trained.backbone_lr_factor) == (1.0, 0.1)


@pytest.mark.parametrize(("most", "expected"), [(None, 14), (4, 4), (64, 14)])
def test_the_profile_caps_the_batch_and_never_raises_it(most: int | None, expected: int) -> None:
    for name in (None, "released-coco-panoptic"):
        assert recipe_for(find("unet"), {}, profile(max_batch=most), "panoptic", name).batch_size == expected


def test_a_floor_takes_one_pass_whatever_the_profile() -> None:
    recipe = recipe_for(find("majority"), {}, profile(epochs=1000, max_batch=2), "panoptic")
    assert (recipe.epochs, recipe.augmentation) == (1, None)
    assert recipe == recipe_for(find("position-prior"), {}, profile(epochs=0), "semantic")


def test_a_recipe_can_be_asked_for_by_name() -> None:
    recipe = recipe_for(find("maskattn-unet-released"), {}, profile(epochs=3), "instance", "released-ade20k-instance")
    assert (recipe.lr, recipe.weight_decay, recipe.batch_size, recipe.epochs) == (1e-2, 1e-1, 8, 3)
    assert (recipe.schedule, recipe.augmentation) == ("constant", None)
    assert all(recipe_for(find("unet"), {}, profile(), "panoptic", name).name == name for name in NAMED)


def test_a_name_that_is_not_known_names_the_nearest() -> None:
    message = r"^unknown recipe 'released-coco-panoptik'; did you mean 'released-coco-panoptic'\?$"
    with pytest.raises(UserError, match=message):
        recipe_for(find("unet"), {}, profile(), "panoptic", "released-coco-panoptik")


def test_a_floor_refuses_a_recipe() -> None:
    with pytest.raises(UserError, match=r"^majority takes no recipe, got 'detr'; remove the key 'recipe'$"):
        recipe_for(find("majority"), {}, profile(), "panoptic", "detr")


def test_the_released_settings_are_those_that_were_read(shared_paper: Path) -> None:
    datasets = {"coco": "coco", "ade": "ade20k", "city": "cityscapes"}
    read = {}
    for line in (shared_paper / "RELEASED_CODE.md").read_text().splitlines():
        script, *values = (cell.strip() for cell in line.strip("|").split("|"))
        dataset, _, task = script.partition("_")
        if dataset in datasets and task in TASKS and len(values) == 6:  # the table of section 5
            read[f"released-{datasets[dataset]}-{task}"] = (int(values[0]), float(values[1]), float(values[2]))
    assert len(read) == 9
    assert {recipe.name: (recipe.batch_size, recipe.lr, recipe.weight_decay) for recipe in RELEASED} == read


def test_the_released_settings_are_never_a_default() -> None:
    weights = ("none", "imagenet")
    defaults = (
        recipe_for(e, {"backbone_weights": w}, profile(), t).name for e in ENTRIES for w in weights for t in TASKS
    )
    assert not {recipe.name for recipe in RELEASED} & set(defaults)


def test_recipes_need_no_torch() -> None:
    code = "import sys, bench.train.recipes, bench.train.seeds; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0

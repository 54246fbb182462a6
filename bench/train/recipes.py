"""How each family is trained: its own paper's or library's values, by name. No torch.

A suite may name another recipe for a row (`recipe:` beside a model's `name:`): one of `NAMED`, such as the nine
training settings of the released code. None of those is ever a default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.errors import UserError, unknown
from bench.spec import Profile, Recipe, Tuning
from models.categories import Task
from models.registry import Entry

MASKATTN_SEMANTIC = Recipe(
    name="maskattn-paper-semantic",
    source="MaskAttn-UNet Sec. 4.2: AdamW, 5e-4, weight decay 1e-3, batch 8 for semantic; no schedule is named",
    lr=5e-4,
    weight_decay=1e-3,
    batch_size=8,
)
MASKATTN = Recipe(
    name="maskattn-paper",
    source="MaskAttn-UNet Sec. 4.2: AdamW, 5e-4, weight decay 1e-3, batch 14 for instance and panoptic; no schedule is "
    "named",
    lr=5e-4,
    weight_decay=1e-3,
    batch_size=14,
)
DETR = Recipe(
    name="detr",
    source="facebookresearch/detr:main.py defaults: rate drop after two thirds; batch 2 on 8 GPUs",
    lr=1e-4,
    weight_decay=1e-4,
    batch_size=16,
    schedule="step",
    clip_norm=0.1,
    backbone_lr_factor=0.1,
)
DETR_SCRATCH = Recipe(
    name="detr-scratch",
    source="ours: DETR's with one rate for backbone and head, three times its own, a warm-up and a looser clipping",
    lr=3e-4,
    weight_decay=1e-4,
    batch_size=16,
    warmup_steps=50,
    clip_norm=1.0,
)
MASK2FORMER = Recipe(
    name="mask2former",
    source="facebookresearch/Mask2Former:configs/coco/panoptic-segmentation/Base-COCO-PanopticSegmentation.yaml, with "
    "the polynomial schedule of its ADE20K configuration",
    lr=1e-4,
    weight_decay=0.05,
    batch_size=16,
    schedule="poly",
    clip_norm=0.01,
    backbone_lr_factor=0.1,
)
MASK2FORMER_SCRATCH = Recipe(
    name="mask2former-scratch",
    source="ours: Mask2Former's with one rate for backbone and head, and a clipping that lets random weights move",
    lr=3e-4,
    weight_decay=0.05,
    batch_size=16,
    schedule="poly",
    clip_norm=1.0,
)
COUNT = Recipe(
    name="count",
    source="one pass over the training truth",
    lr=0,
    weight_decay=0,
    batch_size=32,
    augmentation=None,
)

NONE = Recipe(name="none", source="an oracle is not trained", lr=0, weight_decay=0, batch_size=1, augmentation=None)

OF_FAMILY = {
    "unet": (MASKATTN, MASKATTN),
    "detr": (DETR_SCRATCH, DETR),
    "mask2former": (MASK2FORMER_SCRATCH, MASK2FORMER),
    "floor": (COUNT, COUNT),
    "oracle": (NONE, NONE),
}  # (from random weights, from a trained backbone)

_RELEASED = {  # (dataset, task): batch size, learning rate, weight decay
    ("coco", "semantic"): (8, 1e-5, 1e-4),
    ("coco", "instance"): (4, 1e-5, 1e-4),
    ("coco", "panoptic"): (14, 1e-5, 1e-4),
    ("ade20k", "semantic"): (8, 5e-5, 1e-1),
    ("ade20k", "instance"): (8, 1e-2, 1e-1),
    ("ade20k", "panoptic"): (8, 5e-5, 1e-3),
    ("cityscapes", "semantic"): (1, 1e-4, 1e-4),
    ("cityscapes", "instance"): (8, 1e-3, 1e-1),
    ("cityscapes", "panoptic"): (1, 1e-2, 1e-4),
}
RELEASED = tuple(
    Recipe(
        name=f"released-{dataset}-{task}",
        source=f"the released code's script for {dataset}, {task}: AdamW, constant rate, no augmentation; here without "
        "its early stopping, which watched the training loss, and with the paper's losses",
        lr=lr,
        weight_decay=weight_decay,
        batch_size=batch_size,
        augmentation=None,
    )
    for (dataset, task), (batch_size, lr, weight_decay) in _RELEASED.items()
)
NAMED = {
    recipe.name: recipe
    for recipe in (MASKATTN, MASKATTN_SEMANTIC, DETR, DETR_SCRATCH, MASK2FORMER, MASK2FORMER_SCRATCH, *RELEASED)
}  # what a suite may ask for by name


TUNED = "-tuned"  # ends the name of a recipe whose rate a search found


def recipe_for(
    entry: Entry, options: Mapping[str, Any], profile: Profile, task: Task, name: str | None = None
) -> Recipe:
    """The named recipe, else the family's own for this task, under a profile: its epochs, and at most its batch.

    A floor takes one pass, an oracle none. Raises UserError for a name that is not known, and for any name given to
    one of these.
    """
    if entry.family in ("floor", "oracle"):
        if name is not None:
            raise UserError(f"{entry.name} takes no recipe, got '{name}'; remove the key 'recipe'")
        return COUNT.model_copy(update={"epochs": 1}) if entry.is_floor else NONE
    recipe = default_recipe(entry, options, task) if name is None else named(name)
    batch = min(recipe.batch_size, profile.max_batch or recipe.batch_size)
    return recipe.model_copy(update={"epochs": profile.epochs, "batch_size": batch})


def scaled(recipe: Recipe, factor: float) -> Recipe:
    """The recipe with another learning rate: a candidate of a search."""
    return recipe.model_copy(update={"lr": float(f"{recipe.lr * factor:.6g}")})


def tuned(recipe: Recipe, tuning: Tuning) -> Recipe:
    """The recipe with the rate that a search found, named so."""
    factors = ", ".join(f"{factor:g}" for factor in tuning.factors)
    source = (
        f"{recipe.source}; its rate times {tuning.factor:g}, the best of {factors} by {tuning.metric} on "
        f"{tuning.held_out} % of the training images, held out of the search's training"
    )
    found = {"name": f"{recipe.name}{TUNED}", "source": source, "tuning": tuning}
    return scaled(recipe, tuning.factor).model_copy(update=found)


def named(name: str) -> Recipe:
    """Raises UserError with 'did you mean'."""
    if name not in NAMED:
        raise unknown("recipe", name, NAMED)
    return NAMED[name]


def default_recipe(entry: Entry, options: Mapping[str, Any], task: Task) -> Recipe:
    """The family's: from random weights, or from a trained backbone; the U-Nets' batch is the task's (Sec. 4.2)."""
    if entry.family == "unet" and task == "semantic":
        return MASKATTN_SEMANTIC
    scratch, trained = OF_FAMILY[entry.family]
    return scratch if options.get("backbone_weights", "none") == "none" else trained

"""How each family is trained: its own paper's or library's values, by name. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.spec import Profile, Recipe
from models.registry import Entry

MASKATTN = Recipe(
    name="maskattn-paper",
    source="MaskAttn-UNet Sec. 4.2: AdamW, 5e-4, weight decay 1e-3, batch 14 for panoptic; no schedule is named",
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
    augment=False,
)

OF_FAMILY = {
    "unet": (MASKATTN, MASKATTN),
    "detr": (DETR_SCRATCH, DETR),
    "mask2former": (MASK2FORMER_SCRATCH, MASK2FORMER),
    "floor": (COUNT, COUNT),
}  # (from random weights, from a trained backbone)


def recipe_for(entry: Entry, options: Mapping[str, Any], profile: Profile) -> Recipe:
    """The family's recipe under a profile: its epochs, and at most its batch. A floor takes one pass."""
    scratch, trained = OF_FAMILY[entry.family]
    recipe = scratch if options.get("backbone_weights", "none") == "none" else trained
    if entry.is_floor:
        return recipe.model_copy(update={"epochs": 1})
    batch = min(recipe.batch_size, profile.max_batch or recipe.batch_size)
    return recipe.model_copy(update={"epochs": profile.epochs, "batch_size": batch})

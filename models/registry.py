"""Name -> builder. Listing and checking names imports no torch; `build` imports only the network asked for."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from models.categories import Categories

if TYPE_CHECKING:
    from models.interface import SegmentationModel

WEIGHTS = {"backbone_weights": "none"}  # none | imagenet | PATH of a state dict


@dataclass(frozen=True)
class Entry:
    """One network. `family` chooses the recipe; `options` are all its options with their defaults."""

    name: str
    label: str  # the row's name in a table
    family: str
    builder: str  # "module:function", called as function(categories, size, **options)
    summary: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_floor(self) -> bool:
        return self.family == "floor"


ENTRIES = (
    Entry("majority", "majority class", "floor", "models.floors:majority", "floor: the commonest class everywhere"),
    Entry(
        "position-prior",
        "position prior",
        "floor",
        "models.floors:position_prior",
        "floor: the commonest class at each place",
    ),
    Entry("unet", "U-Net", "unet", "models.unet:unet", "textbook U-Net, 64 to 1024 channels", {"width": 64}),
    Entry("unet-small", "U-Net (small)", "unet", "models.unet:unet", "U-Net, 16 to 256 channels", {"width": 16}),
    Entry(
        "maskattn-unet",
        "MaskAttn-UNet",
        "unet",
        "models.maskattn_unet:maskattn_unet",
        "the paper's network: three stages, six mask attention modules",
        {"width": 64, "heads": 4},
    ),
    Entry(
        "maskattn-unet-small",
        "MaskAttn-UNet (small)",
        "unet",
        "models.maskattn_unet:maskattn_unet",
        "the same with a quarter of the channels",
        {"width": 16, "heads": 4},
    ),
    Entry(
        "self-attention-unet",
        "Self-Attention UNet",
        "unet",
        "models.self_attention_unet:self_attention_unet",
        "U-Transformer: self-attention at the bottom, cross-attention on the skips",
        {"width": 64, "heads": 4},
    ),
    Entry(
        "self-attention-unet-small",
        "Self-Attention UNet (small)",
        "unet",
        "models.self_attention_unet:self_attention_unet",
        "the same with a quarter of the channels",
        {"width": 16, "heads": 4},
    ),
    Entry("detr-r50", "DETR-R50", "detr", "models.detr:detr_r50", "DETR with masks, ResNet-50", WEIGHTS),
    Entry("detr-r101", "DETR-R101", "detr", "models.detr:detr_r101", "DETR with masks, ResNet-101", WEIGHTS),
    Entry(
        "detr-small", "DETR (small)", "detr", "models.detr:detr_small", "DETR, ResNet-18, narrow; for tests", WEIGHTS
    ),
    Entry(
        "mask2former-r50",
        "Mask2Former-R50",
        "mask2former",
        "models.mask2former:mask2former_r50",
        "Mask2Former, ResNet-50",
        WEIGHTS,
    ),
    Entry(
        "mask2former-r101",
        "Mask2Former-R101",
        "mask2former",
        "models.mask2former:mask2former_r101",
        "Mask2Former, ResNet-101",
        WEIGHTS,
    ),
    Entry(
        "mask2former-small",
        "Mask2Former (small)",
        "mask2former",
        "models.mask2former:mask2former_small",
        "Mask2Former, ResNet-18, narrow; for tests",
        WEIGHTS,
    ),
)
REGISTRY: dict[str, Entry] = {entry.name: entry for entry in ENTRIES}


class UnknownNameError(ValueError):
    """A network or an option that is not registered; the message names the nearest one."""


def find(name: str) -> Entry:
    """Raises UnknownNameError with 'did you mean'."""
    if name not in REGISTRY:
        raise UnknownNameError(_message("model", name, REGISTRY))
    return REGISTRY[name]


def full_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The network's options, defaults included. Raises UnknownNameError for an option it does not have."""
    entry = find(name)
    for key, value in options.items():
        if key not in entry.options:
            raise UnknownNameError(_message(f"option of {name}", key, entry.options))
        expected = type(entry.options[key])
        if type(value) is not expected:
            raise UnknownNameError(f"option {key} of {name} takes {expected.__name__}, got {value!r}")
    return {**entry.options, **options}


def build(name: str, categories: Categories, size: tuple[int, int], **options: Any) -> SegmentationModel:
    """The network for these categories at this input size (height, width), randomly initialised by torch's seed."""
    entry = find(name)
    module, _, function = entry.builder.partition(":")
    return getattr(importlib.import_module(module), function)(categories, size, **full_options(name, options))


def _message(kind: str, found: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(found, list(known), n=1, cutoff=0.5)
    return f"unknown {kind} '{found}'; " + (
        f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known) or 'none'}"
    )

"""Name -> builder. Listing and checking names imports no torch; `build` imports only the network asked for."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from models.categories import TASKS, Categories, Task

if TYPE_CHECKING:
    from models.interface import SegmentationModel

WEIGHTS = {"backbone_weights": "none"}  # none | imagenet | PATH of a state dict
PIXEL_MODEL = {"grouping": "greedy", "contrastive_weight": 0.5}  # of the whole U-Net family: models/pixel_model.py
MASKATTN = {
    "width": 64,
    "heads": 4,
    "layout": "three-stage",
    "placement": "both",
    "mask": "learned-binary",
    **PIXEL_MODEL,
}
RELEASED = {  # what each of these oddities is: models/released.py
    "mask": "random-fixed",
    "heads": 1,
    "feed_forward": False,
    "missing_permutation": True,
    "fixed_layernorm": True,
    "norm_logits": True,
    "relu_logits": True,
    "unused_branches": True,
    "normalize": False,
    **PIXEL_MODEL,
}
# What an option with a fixed set of values can be; the networks' files say what each means.
CHOICES = {
    "grouping": ("greedy", "components", "dbscan"),
    "layout": ("three-stage", "four-stage", "nine-module"),
    "placement": ("both", "encoder", "decoder", "none"),
    "mask": ("learned-binary", "learned-soft", "static", "random-fixed", "random-resampled", "none"),
}

DEEPER = {"four-stage": 16, "nine-module": 16}  # layouts whose stride is not the entry's


@dataclass(frozen=True)
class Entry:
    """One network. `family` chooses the recipe; `options` are all its options with their defaults."""

    name: str
    label: str  # the row's name in a table
    family: str
    builder: str  # "module:function", called as function(categories, size, task, **options)
    summary: str
    options: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: CHOICES)
    stride: int = 1  # heights and widths are multiples of it
    sizes: tuple[tuple[int, int], ...] = ()  # the only (height, width) it takes; empty: any that its stride allows
    sizes_while: str = ""  # the option that ties it to `sizes` while it is on

    @property
    def is_floor(self) -> bool:
        return self.family == "floor"

    @property
    def is_network(self) -> bool:
        """Whether `build` makes something of it: an oracle is the truth itself, scored by `bench.evaluate.oracle`."""
        return self.family != "oracle"

    @property
    def has_levels(self) -> bool:
        """Whether what `build` makes of it names its levels: `SegmentationModel.levels`."""
        return self.family == "unet"

    def refusal(self, size: tuple[int, int], options: Mapping[str, Any]) -> str | None:
        """Why the network cannot take images of this (height, width) under these options; None where it can."""
        stride = DEEPER.get(options.get("layout", ""), self.stride)
        found = "{}x{}".format(*size)
        if self.sizes and options.get(self.sizes_while) and size not in self.sizes:
            taken = " or ".join("{}x{}".format(*one) for one in self.sizes)
            return f"{self.name} takes {taken} images alone, not {found}, while {self.sizes_while} is on"
        if size[0] % stride or size[1] % stride:
            return f"{self.name} takes heights and widths that are multiples of {stride}, not {found}"
        return None


ENTRIES = (
    Entry("majority", "majority class", "floor", "models.floors:majority", "floor: the commonest class everywhere"),
    Entry(
        "position-prior",
        "position prior",
        "floor",
        "models.floors:position_prior",
        "floor: the commonest class at each place",
    ),
    Entry(
        "unet",
        "U-Net",
        "unet",
        "models.unet:unet",
        "textbook U-Net, 64 to 1024 channels",
        {"width": 64, **PIXEL_MODEL},
        stride=16,
    ),
    Entry(
        "unet-small",
        "U-Net (small)",
        "unet",
        "models.unet:unet",
        "U-Net, 16 to 256 channels",
        {"width": 16, **PIXEL_MODEL},
        stride=16,
    ),
    Entry(
        "unet-resnet50",
        "U-Net (ResNet-50)",
        "unet",
        "models.resnet_unet:unet_resnet50",
        "U-Net over a ResNet-50 with random weights, the nearest to the paper's parameters and FLOPs of U-Net",
        PIXEL_MODEL,
        stride=16,
    ),
    Entry(
        "maskattn-unet",
        "MaskAttn-UNet",
        "unet",
        "models.maskattn_unet:maskattn_unet",
        "the paper's network: three stages, six mask attention modules",
        MASKATTN,
        stride=8,
    ),
    Entry(
        "maskattn-unet-encoder",
        "MaskAttn-UNet (encoder only)",
        "unet",
        "models.maskattn_unet:maskattn_unet",
        "the same with the modules of the encoder alone (Table 6)",
        {**MASKATTN, "placement": "encoder"},
        stride=8,
    ),
    Entry(
        "maskattn-unet-decoder",
        "MaskAttn-UNet (decoder only)",
        "unet",
        "models.maskattn_unet:maskattn_unet",
        "the same with the modules of the decoder alone (Table 6)",
        {**MASKATTN, "placement": "decoder"},
        stride=8,
    ),
    Entry(
        "maskattn-unet-none",
        "MaskAttn-UNet (no modules)",
        "unet",
        "models.maskattn_unet:maskattn_unet",
        "the same without modules: the U-Net of Table 5",
        {**MASKATTN, "placement": "none"},
        stride=8,
    ),
    Entry(
        "maskattn-unet-small",
        "MaskAttn-UNet (small)",
        "unet",
        "models.maskattn_unet:maskattn_unet",
        "the paper's network with a quarter of the channels",
        {**MASKATTN, "width": 16},
        stride=8,
    ),
    Entry(
        "self-attention-unet",
        "Self-Attention UNet",
        "unet",
        "models.maskattn_unet:maskattn_unet",
        "the paper's network without the mask, all else equal",
        {**MASKATTN, "mask": "none"},
        stride=8,
    ),
    Entry(
        "self-attention-unet-small",
        "Self-Attention UNet (small)",
        "unet",
        "models.maskattn_unet:maskattn_unet",
        "the same with a quarter of the channels",
        {**MASKATTN, "mask": "none", "width": 16},
        stride=8,
    ),
    Entry(
        "maskattn-unet-released",
        "MaskAttn-UNet (released code)",
        "unet",
        "models.released:maskattn_unet_released",
        "what the authors' released code builds: random masks that are never trained, features out of place",
        RELEASED,
        {**CHOICES, "mask": ("random-fixed", "random-resampled", "none")},
        stride=8,
        sizes=((128, 128),),
        sizes_while="fixed_layernorm",
    ),
    Entry(
        "u-transformer",
        "U-Transformer",
        "unet",
        "models.u_transformer:u_transformer",
        "self-attention at the bottom, cross-attention on the skips (Petit et al. 2021)",
        {"width": 64, "heads": 4, **PIXEL_MODEL},
        stride=16,
    ),
    Entry("detr-r50", "DETR-R50", "detr", "models.detr:detr_r50", "DETR with masks, ResNet-50", WEIGHTS, stride=4),
    Entry("detr-r101", "DETR-R101", "detr", "models.detr:detr_r101", "DETR with masks, ResNet-101", WEIGHTS, stride=4),
    Entry(
        "detr-small",
        "DETR (small)",
        "detr",
        "models.detr:detr_small",
        "DETR, ResNet-18, narrow; for tests",
        WEIGHTS,
        stride=4,
    ),
    Entry(
        "mask2former-r50",
        "Mask2Former-R50",
        "mask2former",
        "models.mask2former:mask2former_r50",
        "Mask2Former, ResNet-50",
        WEIGHTS,
        stride=4,
    ),
    Entry(
        "mask2former-r101",
        "Mask2Former-R101",
        "mask2former",
        "models.mask2former:mask2former_r101",
        "Mask2Former, ResNet-101",
        WEIGHTS,
        stride=4,
    ),
    Entry(
        "mask2former-small",
        "Mask2Former (small)",
        "mask2former",
        "models.mask2former:mask2former_small",
        "Mask2Former, ResNet-18, narrow; for tests",
        WEIGHTS,
        stride=4,
    ),
    Entry("oracle-nearest", "nearest oracle", "oracle", "", "the truth, nearest to the size and back"),
    Entry("oracle-bilinear", "bilinear oracle", "oracle", "", "the truth's masks averaged, then interpolated"),
    Entry("oracle-stride4", "stride-4 oracle", "oracle", "", "the same at a quarter of the size"),
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
    """The network's options, defaults included. Raises UnknownNameError for an option or a value it does not have."""
    entry = find(name)
    checked: dict[str, Any] = {}
    for key, value in options.items():
        if key not in entry.options:
            raise UnknownNameError(_message(f"option of {name}", key, entry.options))
        expected = type(entry.options[key])
        if expected is float and type(value) is int:
            value = float(value)
        if type(value) is not expected:
            raise UnknownNameError(f"option {key} of {name} takes {expected.__name__}, got {value!r}")
        if expected is int and value < 1:
            raise UnknownNameError(f"option {key} of {name} takes a number from 1, got {value}")
        if value not in entry.choices.get(key, (value,)):
            raise UnknownNameError(_message(f"{key} of {name}", value, entry.choices[key]))
        checked[key] = value
    return {**entry.options, **checked}


def build(
    name: str, categories: Categories, size: tuple[int, int], task: Task = "panoptic", **options: Any
) -> SegmentationModel:
    """The network for these categories at this input size (height, width) and task, initialised by torch's seed."""
    entry = find(name)
    if task not in TASKS:
        raise UnknownNameError(_message("task", task, TASKS))
    if not entry.is_network:
        raise ValueError(f"{name} is an oracle, not a network, so nothing can be built; run it with `--suite oracle`")
    module, _, function = entry.builder.partition(":")
    return getattr(importlib.import_module(module), function)(categories, size, task, **full_options(name, options))


def _message(kind: str, found: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(found, list(known), n=1, cutoff=0.5)
    return f"unknown {kind} '{found}'; " + (
        f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known) or 'none'}"
    )

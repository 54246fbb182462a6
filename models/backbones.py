"""ResNet backbones of timm for the classes of `transformers`: their weights and their norms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
from timm.models import load_state_dict
from timm.utils.model import freeze_batch_norm_2d
from torch import Tensor, nn

from models.blocks import channel_norm

# torchvision's first ImageNet weights: the ones both papers start from.
IMAGENET_TAG = "tv_in1k"
KEYS_SHOWN = 4  # how many keys an error message lists


class WeightsError(ValueError):
    """The weights asked for a backbone could not be had; the message says why and what to do."""


def timm_options(name: str) -> dict[str, Any]:
    """Arguments of `transformers.TimmBackboneConfig` for the four stages (stride 4, 8, 16, 32) of a ResNet.

    The weights are never its business: it would ask the hub, and start at random where the hub is silent.
    """
    return {"backbone": name, "out_indices": [1, 2, 3, 4], "use_pretrained_backbone": False}


def prepare_backbone(backbone: nn.Module, name: str, weights: str) -> None:
    """Gives a timm ResNet (features only) its norms and weights, in place.

    weights: "none" (random), "imagenet" (timm's `<name>.tv_in1k`, from the hub) or the path of a state dict of that
    ResNet (.pth or .safetensors). Raises WeightsError when the weights cannot be had or do not fit.
    """
    if weights == "none":
        # A frozen norm whose statistics nobody measured is no norm at all, and batch statistics are poor at the 1x1
        # maps and small batches of 32x32 images: group norms depend on neither.
        _replace_norms(backbone)
        return
    state = _imagenet_state(name) if weights == "imagenet" else _file_state(Path(weights))
    freeze_batch_norm_2d(backbone)  # DETR's own way: the loaded statistics, never updated
    _load(backbone, state, f"{name} from {weights!r}")


def _replace_norms(module: nn.Module) -> None:
    """Replaces every batch norm, frozen or not (whatever has running statistics), by a group norm."""
    for name, child in module.named_children():
        statistics = getattr(child, "running_mean", None)
        if isinstance(statistics, Tensor):
            channels = statistics.numel()
            setattr(module, name, channel_norm(channels))
        else:
            _replace_norms(child)


def _imagenet_state(name: str) -> dict[str, Tensor]:
    try:
        return timm.create_model(f"{name}.{IMAGENET_TAG}", pretrained=True).state_dict()
    except Exception as error:  # hub, network, cache and file formats each raise their own
        raise WeightsError(
            f"no ImageNet weights for {name}: {_first_line(error)}; connect to the model hub once, "
            "or give the path of a state dict, or 'none' to train from scratch"
        ) from error


def _file_state(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise WeightsError(f"no backbone weights at {path}; give 'none', 'imagenet' or the path of a state dict")
    try:
        return dict(load_state_dict(str(path), device="cpu", weights_only=True))
    except Exception as error:  # pickle, zip and safetensors each raise their own
        raise WeightsError(
            f"{path} is not a state dict of tensors (.pth or .safetensors): {_first_line(error)}; "
            "save the network's state_dict() there"
        ) from error


def _load(backbone: nn.Module, state: dict[str, Tensor], what: str) -> None:
    """Every tensor of the backbone must be in `state` with its shape; only classifier and counters may be left over."""
    own = backbone.state_dict()
    missing = sorted(own.keys() - state.keys())
    extra = sorted(k for k in state.keys() - own.keys() if not k.startswith("fc.") and "num_batches_tracked" not in k)
    shapes = sorted(k for k in own.keys() & state.keys() if own[k].shape != state[k].shape)
    problems = [
        f"{len(keys)} {title} ({', '.join(keys[:KEYS_SHOWN])}{', ...' if len(keys) > KEYS_SHOWN else ''})"
        for title, keys in (("missing", missing), ("unknown", extra), ("of another shape", shapes))
        if keys
    ]
    if problems:
        raise WeightsError(
            f"weights do not fit {what}: keys {'; '.join(problems)}; give a state dict of the same timm ResNet"
        )
    backbone.load_state_dict({key: state[key] for key in own})


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__

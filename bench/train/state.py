"""The tensors of a training: the network's, AdamW's and the generators of chance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

MODEL, OPTIMIZER, CHANCE = "model", "optimizer", "chance"
ADAMW = ("exp_avg", "exp_avg_sq", "step")  # what torch.optim.AdamW keeps of a parameter that had a gradient


def state_of(model: nn.Module, optimizer: Optimizer, device: torch.device) -> dict[str, Tensor]:
    """`model.<name>`, `optimizer.<parameter>.<name>` and `chance.<device type>`: views of the state as it is."""
    found = {f"{MODEL}.{name}": tensor for name, tensor in model.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        found |= {f"{OPTIMIZER}.{number}.{name}": tensor for name, tensor in state.items()}
    return found | {f"{CHANCE}.{kind}": tensor for kind, tensor in _chance(device).items()}


def restore(
    model: nn.Module, optimizer: Optimizer, device: torch.device, tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Puts the state back and returns that of the generators, for `set_chance`.

    Raises ValueError, and has changed nothing, where the tensors are not those of this network.
    """
    own = {f"{MODEL}.{name}": tensor for name, tensor in model.state_dict().items()}
    parameters = dict(enumerate(p for group in optimizer.param_groups for p in group["params"]))
    moments = {name: tensor for name, tensor in tensors.items() if name.startswith(f"{OPTIMIZER}.")}
    _check_equal(own, {name: tensor for name, tensor in tensors.items() if name.startswith(f"{MODEL}.")})
    state = {number: _moments(number, p, moments) for number, p in parameters.items() if _has(number, moments)}
    if sum(map(len, state.values())) != len(moments):
        raise ValueError("its optimiser is not this network's")
    chance = {kind: tensors.get(f"{CHANCE}.{kind}") for kind in ("cpu", "cuda")}
    if chance["cpu"] is None or chance["cpu"].shape != torch.get_rng_state().shape:
        raise ValueError("its generator of chance is not this torch's")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return {kind: state for kind, state in chance.items() if state is not None}


def set_chance(chance: Mapping[str, Tensor], device: torch.device) -> None:
    """Sets the generators; that of a GPU only where the state is one's and there is one."""
    torch.set_rng_state(chance["cpu"])
    if device.type == "cuda" and "cuda" in chance:
        torch.cuda.set_rng_state(chance["cuda"], device)


def _chance(device: torch.device) -> dict[str, Tensor]:
    found = {"cpu": torch.get_rng_state()}
    return found | {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else found


def _check_equal(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    if differ := sorted(own.keys() ^ given.keys()):
        raise ValueError(f"it does not fit this network: {differ[0]} is in one of them only")
    for name, tensor in own.items():
        if (tensor.shape, tensor.dtype) != (given[name].shape, given[name].dtype):
            raise ValueError(f"it does not fit this network: {name} is {tuple(given[name].shape)} in it")


def _has(number: int, moments: Mapping[str, Tensor]) -> bool:
    return f"{OPTIMIZER}.{number}.step" in moments


def _moments(number: int, parameter: Tensor, moments: Mapping[str, Tensor]) -> dict[str, Any]:
    """AdamW's state of a parameter, laid out in memory as the optimiser itself would: sums keep their order."""
    given = {name: moments.get(f"{OPTIMIZER}.{number}.{name}") for name in ADAMW}
    state: dict[str, Any] = {}
    for name, tensor in given.items():
        if tensor is None or (name != "step" and tensor.shape != parameter.shape):
            raise ValueError(f"its optimiser is not this network's: {OPTIMIZER}.{number}.{name}")
        state[name] = tensor.clone() if name == "step" else torch.empty_like(parameter).copy_(tensor)
    return state

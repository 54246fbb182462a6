"""Parameters and FLOPs by fvcore: one multiply-add counts once, batch 1, every output returned."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from bench.measure.connections import Connections
from bench.measure.unused import unused_modules
from bench.record import Module, Network
from bench.spec import size_text
from models.categories import Categories, Category
from models.interface import SegmentationModel

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # fvcore decorates with torch.jit.script, which torch announces to retire
    from fvcore.nn import FlopCountAnalysis

MODULE_DEPTH = 3  # levels of the module tree that network.json lists
# Moves and views of data, comparisons, and logic on masks: no arithmetic, so they are left out of the list of what
# stays uncounted.
FREE = """
    alias clone contiguous copy_ detach expand expand_as meshgrid new_full new_ones new_zeros ones_like permute repeat
    repeat_interleave slice split split_with_sizes to unflatten zeros_like _shape_as_tensor fill_ empty_like full_like
    masked_fill masked_fill_ type_as where index index_put_ index_select pad lift_fresh scalar_tensor bitwise_not
    logical_not eq ne lt gt le ge bitwise_and all any new_tensor tensor unbind scatter
"""


def dimensions(value: Any) -> list[int]:
    """The static shape that the trace recorded for a value."""
    sizes = value.type().sizes()
    if sizes is None:
        raise ValueError(f"the trace gives no shape for {value}")
    return [int(size) for size in sizes]


def attention_flops(inputs: list[Any], _outputs: list[Any]) -> int:
    """Both products of scaled_dot_product_attention: q (..., N, d), k (..., M, d), v (..., M, e) -> NMd + NMe."""
    query, key, value = (dimensions(i) for i in inputs[:3])
    return prod(query) * key[-2] + prod(query[:-1]) * key[-2] * value[-1]


def baddbmm_flops(inputs: list[Any], _outputs: list[Any]) -> int:
    """input + a b with a (B, N, M), b (B, M, P) -> B N M P."""
    left, right = (dimensions(i) for i in inputs[1:3])
    return prod(left) * right[-1]


HANDLES: dict[str, Callable[[list[Any], list[Any]], int]] = {
    "aten::scaled_dot_product_attention": attention_flops,
    "aten::baddbmm": baddbmm_flops,
}


class _Tuple(nn.Module):
    """The network with its named outputs as a tuple, which tracing wants; all of them, so that nothing is dropped."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.model(images).values())


def measure(model: SegmentationModel, name: str, size: tuple[int, int]) -> Network:
    """Counts a network at an input size. Puts it into eval mode for that and back. A floor has no FLOPs."""
    parameters = [(p.numel(), p.requires_grad) for p in model.parameters()]
    common: dict[str, Any] = {
        "model": name,
        "input": size_text(size),
        "classes": len(model.categories),
        "parameters_total": sum(count for count, _ in parameters),
        "parameters_trainable": sum(count for count, trains in parameters if trains),
    }
    if model.fits_statistics:
        return Network(**common, flops=None)
    analysis, passed, unused = _trace(model, size)
    with _silent():
        by_module = analysis.by_module()
    modules, left = tuple(_modules(model, by_module, passed)), _uncounted(analysis)
    return Network(**common, flops=float(by_module["model"]), uncounted=left, unused=unused, modules=modules)


def count_flops(model: nn.Module, images: Tensor) -> tuple[float, dict[str, int]]:
    """Multiply-adds of a forward pass over `images`, in the mode that the network is in, and the operators without a
    count, how often each. The network returns a dict of tensors.
    """
    analysis = _analysis(_Tuple(model).train(model.training), images)
    return float(analysis.total()), _uncounted(analysis)


@dataclass(frozen=True)
class _Pass:
    """What each module returned and was given in a forward pass: shapes, and the modules that made its input."""

    shapes: Mapping[str, tuple[int, ...]]
    inputs: Mapping[str, tuple[str, ...]]


def _trace(model: SegmentationModel, size: tuple[int, int]) -> tuple[FlopCountAnalysis, _Pass, dict[str, int]]:
    """The counts, what went through each module, and the modules that no output uses."""
    device = next(model.parameters()).device
    wrapped, was_training = _Tuple(model), model.training
    wrapped.eval()
    shapes: dict[str, tuple[int, ...]] = {}
    hooks = [module.register_forward_hook(_note_shape(shapes, key)) for key, module in model.named_modules()]
    try:
        with _silent(), torch.no_grad():
            images = torch.zeros(1, 3, *size, device=device)
            try:
                with torch.enable_grad(), Connections(dict(_listed(model)), images) as connections:
                    outputs = wrapped(images)
                unused = unused_modules(model, outputs)
            finally:
                for hook in hooks:
                    hook.remove()
            del outputs
            analysis = _analysis(wrapped, images)
    finally:
        model.train(was_training)
    return analysis, _Pass(shapes, connections.inputs), unused


def _listed(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    return ((name, module) for name, module in model.named_modules() if name and name.count(".") < MODULE_DEPTH)


def _analysis(wrapped: _Tuple, images: Tensor) -> FlopCountAnalysis:
    with _silent(), torch.no_grad():
        analysis = FlopCountAnalysis(wrapped, images).set_op_handle(**HANDLES)
        analysis.total()
    return analysis


def _uncounted(analysis: FlopCountAnalysis) -> dict[str, int]:
    with _silent():
        found = sorted(analysis.unsupported_ops().items())
    return {name: count for name, count in found if name.removeprefix("aten::") not in FREE.split()}


def _note_shape(shapes: dict[str, tuple[int, ...]], key: str) -> Callable[..., None]:
    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            shapes[key] = tuple(output.shape)

    return hook


def _modules(model: nn.Module, flops: dict[str, float], passed: _Pass) -> Iterator[Module]:
    for key, module in _listed(model):
        yield Module(
            name=key,
            kind=type(module).__name__,
            parameters=sum(p.numel() for p in module.parameters()),
            flops=float(flops[f"model.{key}"]) if f"model.{key}" in flops else None,
            output=passed.shapes.get(key),
            inputs=passed.inputs.get(key),
        )


@contextmanager
def _silent() -> Iterator[None]:
    """fvcore logs, and tracing warns, about what `uncounted` already says."""
    logger = logging.getLogger("fvcore.nn.jit_analysis")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)


def numbered_categories(count: int) -> Categories:
    """K categories without meaning, for counting only. The first is a thing."""
    return Categories(tuple(Category(i + 1, f"class {i + 1}", i == 0, (0, 0, 0)) for i in range(count)))

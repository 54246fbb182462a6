"""What the two products of attention cost, from shapes alone: to know before a pass whether it can be run at all."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from models.attention import MultiHeadAttention


def attention_products(model: nn.Module, size: tuple[int, int]) -> int:
    """Multiply-adds of Q K^T and of its product with V, over all modules of our own attention, for one image.

    With N queries, M keys and C channels 2 N M C, whatever the number of heads (AUDIT A21). Computes nothing: the pass
    is on the meta device.
    """
    if not any(isinstance(module, MultiHeadAttention) for module in model.modules()):
        return 0
    counts: list[int] = []

    def count(_module: nn.Module, inputs: tuple[Any, ...], _output: Any) -> None:
        query, key = inputs[:2]
        counts.append(2 * query.shape[-2] * key.shape[-2] * query.shape[-1])

    shapes: nn.Module = copy.deepcopy(model).to("meta")
    for module in shapes.modules():
        if isinstance(module, MultiHeadAttention):
            module.register_forward_hook(count)
    images: Tensor = torch.zeros(1, 3, *size, device="meta")
    with torch.no_grad():
        shapes(images)
    return sum(counts)

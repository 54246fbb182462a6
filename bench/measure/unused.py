"""Which parameters of a network no output depends on: built, counted, and never trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import Tensor, nn


def unused_modules(model: nn.Module, outputs: Iterable[Tensor]) -> dict[str, int]:
    """Name -> parameters of each outermost module of which `outputs`, computed with gradients, use no parameter.

    Frozen parameters have no gradient to follow and are taken as used.
    """
    used = {id(leaf) for leaf in _leaves(outputs)} | {id(p) for p in model.parameters() if not p.requires_grad}
    found: dict[str, int] = {}
    for name, module in model.named_modules():
        parameters = list(module.parameters())
        inside = any(name.startswith(f"{outer}.") for outer in found)
        if parameters and not inside and not any(id(p) in used for p in parameters):
            found[name] = sum(p.numel() for p in parameters)
    return found


def _leaves(outputs: Iterable[Tensor]) -> Iterator[Tensor]:
    """The tensors at which autograd's graph of the outputs ends."""
    waiting = [output.grad_fn for output in outputs]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        if node is None:
            continue
        if hasattr(node, "variable"):
            yield node.variable
        following = {next_node for next_node, _ in node.next_functions} - seen
        seen |= following
        waiting.extend(following)

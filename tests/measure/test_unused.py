"""Modules without influence on the outputs, on a network of which each kind of part is known."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.measure.unused import unused_modules


class Parts(nn.Module):
    """Called, called without effect, used by its weight alone, frozen, never called."""

    def __init__(self) -> None:
        super().__init__()
        self.called = nn.Linear(3, 4)
        self.dropped = nn.Linear(4, 5)
        self.weight_only = nn.Embedding(2, 4)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.never = nn.Sequential(nn.SiLU(), nn.Sequential(nn.Linear(7, 2)))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.called(x)
        self.dropped(hidden)
        return self.frozen(hidden + self.weight_only.weight.sum(0))


def test_the_outermost_modules_without_influence_are_named_with_their_parameters() -> None:
    model = Parts()
    assert unused_modules(model, [model(torch.rand(2, 3))]) == {"dropped": 4 * 5 + 5, "never": 7 * 2 + 2}


def test_an_output_that_uses_a_part_makes_it_used() -> None:
    model = Parts()
    hidden = model.called(torch.rand(2, 3))
    assert unused_modules(model, [model.frozen(hidden), model.dropped(hidden)]) == {"weight_only": 8, "never": 16}


def test_a_network_may_be_used_in_part() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    assert unused_modules(model, [model[0](torch.rand(1, 2))]) == {"1": 6}

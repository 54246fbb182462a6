"""What feeds what, against networks whose arrows are drawn by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.measure.connections import Connections
from bench.measure.cost import measure, numbered_categories
from bench.record import Module, Network
from models.registry import build


def inputs_of(model: nn.Module) -> dict[str, tuple[str, ...]]:
    images = torch.zeros(1, 2, 4, 4)
    named = {name: module for name, module in model.named_modules() if name}
    with torch.no_grad(), Connections(named, images) as connections:
        model(images)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in named.values())
    return connections.inputs


class Parts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Conv2d(2, 2, 1) for _ in range(4))
        self.nothing = nn.Identity()


class Joined(Parts):
    """a -> pooled -> b -> upsampled; joined with a, halved -> c; c + images -> d."""

    def forward(self, x: Tensor) -> Tensor:
        first = self.a(x)
        deep = F.interpolate(self.b(F.max_pool2d(first, 2)), scale_factor=2.0)
        half = torch.cat([first, deep], dim=1).unflatten(1, (2, 2)).mean(1)
        out: Tensor = self.d(self.c(half) + x)
        return out


class InPlace(Parts):
    """What is written into a tensor counts: a's output gets b's, by +=, and c's, by an index."""

    def forward(self, x: Tensor) -> Tensor:
        first, second, third = self.a(x), self.b(x), self.c(x)
        first += second
        first[:, 0] = third[:, 0]
        out: Tensor = self.d(first)
        return out


class Passed(Parts):
    """An identity returns what it was given, so it made nothing; b is called with a keyword, a twice."""

    def forward(self, x: Tensor) -> Tensor:
        once = self.nothing(self.a(x))
        again = self.a(self.c(once))
        out: Tensor = self.d(self.b(input=again.detach()))
        return out


@pytest.mark.parametrize(
    ("model", "due"),
    [
        (Joined(), {"a": ("images",), "b": ("a",), "c": ("a", "b"), "d": ("images", "c")}),
        (InPlace(), {"a": ("images",), "b": ("images",), "c": ("images",), "d": ("a", "b", "c")}),
        (Passed(), {"a": ("images", "c"), "nothing": ("a",), "c": ("a",), "b": ("a",), "d": ("b",)}),
    ],
)
def test_all_that_an_input_was_made_of(model: nn.Module, due: dict[str, tuple[str, ...]]) -> None:
    assert inputs_of(model) == due


def test_the_innermost_module_is_the_maker() -> None:
    inner = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(inplace=True))
    found = inputs_of(nn.Sequential(inner, nn.Conv2d(2, 2, 1)))
    assert found == {"0": ("images",), "0.0": ("images",), "0.1": ("0.0",), "1": ("0.1",)}


def measured(name: str, **options: str) -> Network:
    return measure(build(name, numbered_categories(3), (32, 32), "panoptic", width=8, **options), name, (32, 32))


def arrows(network: Network, prefix: str = "trunk.") -> dict[str, set[str]]:
    """Of the parts of the trunk and the heads."""
    own = [m for m in network.modules if m.inputs is not None and m.name.count(".") - ("bottleneck." in m.name) < 3]
    return {m.name.removeprefix(prefix): {i.removeprefix(prefix) for i in m.inputs or ()} for m in own}


def test_the_skips_of_the_u_net() -> None:
    found = arrows(measured("unet"))
    ups = {name: found[name] for name in found if name.startswith("up.") and name.count(".") == 1}
    assert ups == {
        "up.0": {"down.4", "down.3"},
        "up.1": {"up.0", "down.2"},
        "up.2": {"up.1", "down.1"},
        "up.3": {"up.2", "down.0"},
    }
    assert found["down.0"] == {"normalize"}
    assert found["heads.semantic"] == {"up.3"}


def test_the_modules_stand_on_the_way_and_before_the_skips() -> None:
    found = arrows(measured("maskattn-unet"))
    assert [found[f"att{n}"] for n in range(1, 7)] == [{"down.1"}, {"down.2"}, {"down.3"}, {"up.0"}, {"up.1"}, {"up.2"}]
    assert [found[f"down.{n}"] for n in range(1, 4)] == [{"down.0"}, {"att1"}, {"att2"}]
    assert [found[f"up.{n}"] for n in range(3)] == [{"att2", "bottleneck.1"}, {"att1", "att4"}, {"down.0", "att5"}]


def test_a_record_without_inputs_is_still_read() -> None:
    older = {"name": "stem", "kind": "Conv2d", "parameters": 1, "flops": 1.0}
    assert Module.model_validate(older).inputs is None

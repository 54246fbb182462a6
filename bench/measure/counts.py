"""All readings of a family as arrays: a network's costs plus those of its modules and its head, by every counting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.measure.analytic import Cost, ResNetUNet, Size, Trunk, attention, pixels
from bench.measure.readings import (
    Family,
    Place,
    Settings,
    Value,
    against,
    combinations,
    head_of,
    miscounted,
    module_of,
    places_of,
    settings_of,
    trunk_of,
)

Integers = NDArray[np.int64]
Values = tuple[Value, ...]
Network = Trunk | ResNetUNet


@dataclass(frozen=True)
class Options:
    """What can be added to a network: the combinations of some choices with the cost and the contradicted statements of
    each. Arrays have one entry a combination. `places`: of its modules, none for a head.
    """

    values: list[Values]
    against: list[frozenset[str]]
    parameters: Integers
    flops: Integers
    products: Integers

    places: list[tuple[Place, ...]]

    @classmethod
    def of(
        cls,
        values: list[Values],
        costs: list[Cost],
        statements: list[frozenset[str]],
        places: list[tuple[Place, ...]],
    ) -> Options:
        parameters, flops, products = np.array(
            [(cost.parameters, cost.flops, cost.products) for cost in costs], dtype=np.int64
        ).T
        return cls(values, statements, parameters, flops, products, places)


@dataclass(frozen=True)
class Group:
    """The readings that share a network: modules M x head H x counting K. `choices`: their names, as `reading` has
    their values.
    """

    family: str
    choices: tuple[str, ...]
    network: Network
    values: Values
    against: frozenset[str]
    cost: Cost
    modules: Options
    head: Options
    counting: Values

    @property
    def first_cost(self) -> Cost:
        """Of the reading with the first modules and the first head."""
        added = (
            Cost(int(part.parameters[0]), int(part.flops[0]), int(part.products[0]))
            for part in (self.modules, self.head)
        )
        return sum(added, start=self.cost)

    def levels(self) -> dict[int, Integers]:
        """Number of contradicted statements -> the modules with as many; network and modules share no statement."""
        counts = np.array([len(self.against) + len(more) for more in self.modules.against])
        return {int(count): np.flatnonzero(counts == count) for count in np.unique(counts)}

    def reading(self, module: int, head: int, counting: int) -> Values:
        """The values of all choices at a place of the arrays."""
        return (*self.values, *self.modules.values[module], *self.head.values[head], self.counting[counting])

    @property
    def parameters(self) -> Integers:
        """(M, H)"""
        return self.cost.parameters + self.modules.parameters[:, None] + self.head.parameters

    @property
    def flops(self) -> Integers:
        """(M, H, K), as each counting has them."""
        layers = self.cost.flops + self.modules.flops[:, None] + self.head.flops
        return self._counted(layers, self.modules.products[:, None])

    @property
    def bare(self) -> tuple[Integers, Integers]:
        """The same without modules: parameters (H, 1) and flops (H, K)."""
        nothing = np.zeros((), dtype=np.int64)
        parameters, layers = self.cost.parameters + self.head.parameters, self.cost.flops + self.head.flops
        return parameters[:, None], self._counted(layers, nothing)

    def _counted(self, layers: Integers, products: Integers) -> Integers:
        ways = [value.settings for value in self.counting]
        return np.stack([way["factor"] * (layers + way["products"] * products) for way in ways], axis=-1)


def groups(name: str, family: Family, size: Size) -> Iterator[Group]:
    """A group a network; two sets of choices that build one network, and contradict the same, are one."""
    seen: set[tuple[Network, frozenset[str]]] = set()
    modules: dict[tuple[object, ...], Options] = {}
    heads: dict[int, Options] = {}
    for values in combinations(family.trunk):
        network, statements = trunk_of(settings_of(values)), against(values) | frozenset(family.against)
        if (network, statements) in seen:
            continue
        seen.add((network, statements))
        key = _places_key(network)
        if key not in modules:
            modules[key] = module_options(family, network, size)
        if network.out_channels not in heads:
            heads[network.out_channels] = head_options(family, network.out_channels, size)
        head = heads[network.out_channels]
        cost = network.cost(size)
        yield Group(
            name, tuple(family.choices()), network, values, statements, cost, modules[key], head, family.counting
        )


def _places_key(network: Network) -> tuple[object, ...]:
    if isinstance(network, ResNetUNet):
        return ()
    return network.encoder, network.bottleneck_level, network.bottleneck[-1], network.decoder


def module_options(family: Family, network: Network, size: Size) -> Options:
    combined = combinations(family.modules)
    if not family.modules:
        return Options.of(combined, [Cost()], [frozenset()], [()])
    assert isinstance(network, Trunk)
    settings = [settings_of(values) for values in combined]
    places = [places_of(network, one) for one in settings]
    costs = [modules_cost(one, where, size) for one, where in zip(settings, places, strict=True)]
    statements = [against(values) | miscounted(where) for values, where in zip(combined, places, strict=True)]
    return Options.of(combined, costs, statements, places)


def modules_cost(settings: Settings, places: tuple[Place, ...], size: Size) -> Cost:
    cost, module = Cost(), module_of(settings)
    for _, level, channels in places:
        cost += attention(module, channels, pixels(size, level))
    return cost


def head_options(family: Family, channels: int, size: Size) -> Options:
    combined = combinations(family.head)
    costs = [head_of(settings_of(values)).cost(channels, size) for values in combined]
    return Options.of(combined, costs, [against(values) for values in combined], [()] * len(combined))

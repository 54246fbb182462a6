"""What is kept of many readings: those nearest to two printed numbers, and how many there are of each kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bench.measure.counts import Group, Integers
from bench.measure.search_records import Target

MILLION, GIGA = 1_000_000, 1_000_000_000
PAIRS = 100  # whole numbers of M and of G whose pairs are looked for
KEPT = 25  # readings of each kind
OUTSIDE = 1e6  # added to a distance of what does not round to the printed numbers; more than any distance

Reals = NDArray[np.float64]
Truths = NDArray[np.bool_]
Levels = Mapping[int, Integers]  # number of contradictions -> modules


@dataclass(frozen=True)
class Found:
    """The best reading of a group among those with so many contradictions and one counting. `place`: of the group's
    arrays.
    """

    rank: float
    network: int
    contradictions: int
    group: Group = field(repr=False)
    place: tuple[int, int, int]

    @property
    def within(self) -> bool:
        return self.rank < OUTSIDE

    @property
    def distance(self) -> float:
        return self.rank if self.within else self.rank - OUTSIDE

    @property
    def choices(self) -> dict[str, str]:
        values = self.group.reading(*self.place)
        return {choice: value.name for choice, value in zip(self.group.choices, values, strict=True)}

    @property
    def counts(self) -> tuple[int, int]:
        """Parameters and FLOPs."""
        module, head, _ = self.place
        return int(self.group.parameters[module, head]), int(self.group.flops[self.place])

    @property
    def bare(self) -> tuple[int, int]:
        """The same without modules."""
        (_, head, counting), (parameters, flops) = self.place, self.group.bare
        return int(parameters[head, 0]), int(flops[head, counting])

    @property
    def against(self) -> frozenset[str]:
        return self.group.against | self.group.modules.against[self.place[0]]


class Tally:
    """Takes group after group. `other`: what each network without its modules is looked for, at the same time."""

    def __init__(self, target: Target, other: Target | None = None) -> None:
        self.target, self.other = target, other
        self.networks = 0
        self.tried: Counter[int] = Counter()  # by contradictions
        self.tried_by: Counter[str] = Counter()  # by counting
        self.within: Counter[tuple[int, str]] = Counter()  # by contradictions and counting
        self.at_full_resolution: Counter[str] = Counter()  # within and with a module there, by counting
        self.values: Counter[tuple[str, str, str]] = Counter()  # within, by family, choice and value
        self.parameters_range, self.flops_range = (2**62, 0), (2**62, 0)
        self.found: dict[tuple[int, str], list[Found]] = {}  # the best, by contradictions and counting, one a network
        self.joint: list[Found] = []  # one a network
        self.joint_within = 0
        self._reached: dict[int, Truths] = {}

    def add(self, group: Group) -> None:
        parameters, flops, levels = group.parameters[:, :, None], group.flops, group.levels()
        distance, within = distances(self.target, parameters, flops)
        self.parameters_range = wider(self.parameters_range, parameters)
        self.flops_range = wider(self.flops_range, flops)
        self._reach(levels, parameters, flops)
        self._count(group, levels, within)
        for one in self._best(group, levels, ranks(distance, within)):
            self._keep(one)
        if self.other:
            bare, bare_within = distances(self.other, *group.bare)
            both = within & bare_within
            self.joint_within += int(both.sum())
            rank = ranks(np.maximum(distance, bare), both)
            self.joint.append(min(self._best(group, levels, rank), key=lambda found: found.rank))
        self.networks += 1

    def _reach(self, levels: Levels, parameters: Integers, flops: Integers) -> None:
        millions = np.minimum(rounded(parameters, MILLION), PAIRS + 1)
        gigas = np.minimum(rounded(flops, GIGA), PAIRS + 1)
        for level, modules in levels.items():
            seen = self._reached.setdefault(level, np.zeros((PAIRS + 2, PAIRS + 2), dtype=np.bool_))
            seen[millions[modules], gigas[modules]] = True

    def reached(self, contradictions: int) -> int:
        """Pairs of whole numbers that a reading with at most so many contradictions rounds to."""
        seen = [pairs for level, pairs in self._reached.items() if level <= contradictions]
        return int(np.logical_or.reduce(seen)[1:-1, 1:-1].sum()) if seen else 0

    def _count(self, group: Group, levels: Levels, within: Truths) -> None:
        modules, heads, _ = within.shape
        self.tried_by.update({value.name: modules * heads for value in group.counting})
        for level, members in levels.items():
            self.tried[level] += within[members].size
        contradictions = {int(module): level for level, members in levels.items() for module in members}
        for place in np.argwhere(within).tolist():
            values = group.reading(*place)
            self.within[contradictions[place[0]], values[-1].name] += 1
            self.at_full_resolution[values[-1].name] += any(not level for _, level, _ in group.modules.places[place[0]])
            names = (value.name for value in values)
            self.values.update((group.family, *pair) for pair in zip(group.choices, names, strict=True))

    def _best(self, group: Group, levels: Levels, rank: Reals) -> Iterator[Found]:
        head, least = rank.argmin(1), rank.min(1)  # (M, K)
        for level, members in levels.items():
            for counting, module in enumerate(members[least[members].argmin(0)].tolist()):
                place = (module, int(head[module, counting]), counting)
                yield Found(float(least[module, counting]), self.networks, level, group, place)

    def _keep(self, one: Found) -> None:
        """Of each kind, now and then, no more than are ever shown."""
        kept = self.found.setdefault((one.contradictions, one.group.counting[one.place[2]].name), [])
        kept.append(one)
        if len(kept) > 100 * KEPT:
            kept.sort(key=by_rank)
            del kept[KEPT:]


def by_rank(found: Found) -> tuple[float, int]:
    """Nearest first."""
    return found.rank, found.network


def distances(target: Target, parameters: Integers, flops: Integers) -> tuple[Reals, Truths]:
    """The larger of the two relative errors, and whether both numbers round to the printed ones."""
    off = np.abs(parameters / (target.parameters_m * MILLION) - 1), np.abs(flops / (target.flops_g * GIGA) - 1)
    whole = rounded(parameters, MILLION) == target.parameters_m, rounded(flops, GIGA) == target.flops_g
    return np.maximum(*off), whole[0] & whole[1]


def rounded(count: Integers, unit: int) -> Integers:
    """In whole units, halves up."""
    return (count + unit // 2) // unit


def ranks(distance: Reals, within: Truths) -> Reals:
    """Sorts what rounds to the printed numbers before all else, then by distance."""
    return np.where(within, distance, distance + OUTSIDE)


def wider(spread: tuple[int, int], counts: Integers) -> tuple[int, int]:
    return min(spread[0], int(counts.min())), max(spread[1], int(counts.max()))

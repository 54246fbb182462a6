"""The blocks of a network as its network.json names them, what feeds each, and its place in a U: plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import prod
from typing import Literal

from bench.record import Module, Network

IMAGES = "images"  # what no block made: the network's input
NOTHING = "Identity"  # the kind of a module that is left out
Half = Literal["down", "bottom", "up", "end"]


@dataclass(frozen=True)
class Block:
    """A part of a network, drawn as one. `inputs`: the blocks that feed it, IMAGES among them."""

    name: str
    kind: str
    parameters: int
    flops: float | None
    output: tuple[int, ...] | None
    inputs: tuple[str, ...]

    @property
    def short(self) -> str:
        """The name without the part that it is in."""
        return self.name.partition(".")[2] or self.name

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its map."""
        assert self.output is not None
        return self.output[-2], self.output[-1]


@dataclass(frozen=True)
class Level:
    """The blocks of one resolution, each half in the order of the data. `bottom`: the last of the lowest level; `end`:
    those that feed no other.
    """

    size: tuple[int, int]
    halves: Mapping[Half, tuple[Block, ...]]


def blocks_of(network: Network) -> tuple[Block, ...]:
    """A cut through the tree of modules: each parameter is in one block, as long as each is in a listed module. What
    the network itself is made of is opened, and lists of modules are. In the order of the data where that is known.
    """
    children = {m.name: [c for c in network.modules if c.name.rpartition(".")[0] == m.name] for m in network.modules}

    def cut(modules: Sequence[Module]) -> Iterator[Module]:
        for module in modules:
            opened = "." not in module.name or module.output is None
            if opened and children[module.name]:
                yield from cut(children[module.name])
            elif module.kind != NOTHING:
                yield module

    parts = list(cut([module for module in network.modules if "." not in module.name]))
    names = [part.name for part in parts]
    found = [Block(p.name, p.kind, p.parameters, p.flops, p.output, _feeding(p, names)) for p in parts]
    return tuple(sorted(found, key=_depths(found).__getitem__))


def _feeding(part: Module, names: Sequence[str]) -> tuple[str, ...]:
    """The blocks that hold the makers of its input; a maker in no block keeps its name."""
    holders = (next((n for n in names if f"{maker}.".startswith(f"{n}.")), maker) for maker in part.inputs or ())
    return tuple(dict.fromkeys(holders))


def _depths(blocks: Sequence[Block]) -> dict[Block, int]:
    """How many blocks the data has passed at most; the images have passed none."""
    known = {block.name: block for block in blocks}
    depths: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in known:
            return 0
        if name not in depths:
            depths[name] = 1 + max(map(depth, known[name].inputs), default=0)
        return depths[name]

    return {block: depth(block.name) for block in blocks}


def levels_of(blocks: Sequence[Block]) -> tuple[Level, ...] | None:
    """The U, highest resolution first. None where the blocks are none: a block without a map, with an input that no
    block made or that is not recorded, or a map that shrinks after it has grown.
    """
    known = {IMAGES, *(block.name for block in blocks)}
    if not all(b.output and len(b.output) == 4 and b.inputs and known >= {*b.inputs} for b in blocks):
        return None
    fed = {name for block in blocks for name in block.inputs}
    ends = [block for block in blocks if block.name not in fed]
    way = [block for block in blocks if block.name in fed]
    areas = [prod(block.size) for block in way]
    if not areas:
        return None
    lowest = max(n for n, area in enumerate(areas) if area == min(areas))
    if areas[: lowest + 1] != sorted(areas[: lowest + 1], reverse=True) or areas[lowest:] != sorted(areas[lowest:]):
        return None
    halves: list[tuple[Half, Sequence[Block]]] = [
        ("down", way[:lowest]),
        ("bottom", way[lowest : lowest + 1]),
        ("up", way[lowest + 1 :]),
        ("end", ends),
    ]
    placed = [(block.size, half, block) for half, some in halves for block in some]
    by_size = groupby(sorted(placed, key=lambda one: (-prod(one[0]), one[0])), key=lambda one: one[0])
    return tuple(
        Level(size, {half: tuple(b for _, h, b in here if h == half) for half, _ in halves})
        for size, here in ((size, list(members)) for size, members in by_size)
    )

"""Categories and segments: what labels are called, which are things, what an image's table says. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple, get_args

Task = Literal["semantic", "instance", "panoptic"]  # paper Sec. 4.2: three branches, trained separately
TASKS: tuple[Task, ...] = get_args(Task)
VOID = 255  # semantic label of a pixel without a label; its segment id is 0


@dataclass(frozen=True)
class Category:
    """One label. `id` is the dataset's own id; inside the program a category is its index in `Categories`."""

    id: int
    name: str
    isthing: bool
    color: tuple[int, int, int]


@dataclass(frozen=True)
class Categories:
    """The ordered categories of one dataset; the order gives the contiguous indices 0 .. K-1."""

    entries: tuple[Category, ...]

    def __post_init__(self) -> None:
        if not self.entries:
            raise ValueError("a category table needs at least one category")
        ids = [entry.id for entry in self.entries]
        if len(set(ids)) != len(ids):
            repeated = sorted({i for i in ids if ids.count(i) > 1})
            raise ValueError(f"category ids must be unique; repeated: {repeated}")

    @classmethod
    def from_json(cls, rows: Iterable[Mapping[str, Any]]) -> Categories:
        """From the `categories` list of a COCO-panoptic json, sorted by id."""
        entries = (
            Category(
                int(row["id"]),
                str(row["name"]),
                bool(row["isthing"]),
                _color(row.get("color"), int(row["id"])),
            )
            for row in rows
        )
        return cls(tuple(sorted(entries, key=lambda entry: entry.id)))

    def to_json(self) -> list[dict[str, Any]]:
        return [{"id": e.id, "name": e.name, "isthing": int(e.isthing), "color": list(e.color)} for e in self.entries]

    def __len__(self) -> int:
        return len(self.entries)

    @cached_property
    def is_thing(self) -> tuple[bool, ...]:
        return tuple(entry.isthing for entry in self.entries)

    @cached_property
    def index_of(self) -> dict[int, int]:
        """Dataset id -> contiguous index."""
        return {entry.id: index for index, entry in enumerate(self.entries)}


class Segment(NamedTuple):
    """One ground-truth segment of an image. `category` is the contiguous index."""

    category: int
    is_thing: bool
    is_crowd: bool


class PredictedSegment(NamedTuple):
    """One predicted segment of an image; `score` in [0, 1]."""

    category: int
    score: float


def _color(value: Any, seed: int) -> tuple[int, int, int]:
    """The colour given, or one derived from the id where a dataset gives none."""
    if value is not None:
        red, green, blue = value
        return int(red), int(green), int(blue)
    return (seed * 67 + 41) % 256, (seed * 131 + 97) % 256, (seed * 29 + 163) % 256

"""The pictures of `scenes` under another dataset's categories: for timing what that dataset would take. No torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.data.native.scenes import CATEGORIES, SIZES, Scenes
from bench.data.scene import Scene
from models.categories import Categories, Segment, Task


@dataclass(frozen=True)
class StandIn:
    """A `Source`. Things are labelled as things of `categories` and stuff as stuff, the nth of a kind as its nth;
    where `categories` has fewer several share one, and where it has none of a kind the other kind serves.
    """

    categories: Categories
    name = Scenes.name
    form = "drawn, other categories"
    splits = tuple(SIZES)

    def ids(self, split: str) -> list[str]:
        return Scenes().ids(split)

    def scene(self, split: str, id: str, halve: bool = False) -> Scene:
        drawn, places, is_thing = Scenes().scene(split, id), self._places(), self.categories.is_thing
        table = {}
        for number, segment in drawn.table.items():
            place = places[segment.category]
            table[number] = Segment(place, is_thing[place], segment.is_crowd and is_thing[place])
        return replace(drawn, table=table)

    def fingerprint(self, split: str) -> str:
        categories = json.dumps(self.categories.to_json())
        return hashlib.sha256(f"{Scenes().fingerprint(split)} {categories}".encode()).hexdigest()

    def has_instances(self, split: str) -> bool:
        return Scenes().has_instances(split)

    def for_task(self, task: Task) -> StandIn:
        return self

    def part(self, split: str, ids: Sequence[str]) -> StandIn:
        return self

    def _places(self) -> list[int]:
        """Category of `scenes` -> category here."""
        kinds = (True, False)
        alike = {kind: [k for k, one in enumerate(self.categories.is_thing) if one == kind] for kind in kinds}
        found, seen = [], dict.fromkeys(kinds, 0)
        for kind in CATEGORIES.is_thing:
            places = alike[kind] or alike[not kind]
            found.append(places[seen[kind] % len(places)])
            seen[kind] += 1
        return found

"""What a run sees of a prepared split: its share of the images, in its task's categories. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench.data.prepared import Prepared, rows_of
from bench.data.preparing.shares import hold_out, share_ids
from bench.data.scene import Instance
from bench.spec import Percent
from models.categories import Categories, Category, Segment, Task

BACKGROUND_COLOR = (90, 90, 90)

Part = Literal["rest", "held out"]


def task_categories(categories: Categories, task: Task) -> Categories:
    """Semantic and panoptic: the dataset's own. Instance (Sec. 4.2): its things, and one background for all stuff."""
    if task != "instance":
        return categories
    things = tuple(entry for entry in categories.entries if entry.isthing)
    free = max(entry.id for entry in categories.entries) + 1
    return Categories((*things, Category(free, "background", False, BACKGROUND_COLOR)))


@dataclass(frozen=True)
class Rows:
    """Some rows of an array, without a copy: indexed by a number, a slice or an array."""

    array: NDArray[Any]
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        return self.array[self.rows[index]]


@dataclass(frozen=True)
class View:
    """The images of `prepared` that `percent` of it holds (nested subsets), with the truth that `task` has; where
    `held_out` percent of those are held out, the `part` of them that is meant.

    Segment numbers stay; in the instance task every stuff segment has the category background. It offers what
    Prepared offers to training and evaluation.
    """

    prepared: Prepared
    task: Task = "panoptic"
    percent: Percent = 100
    held_out: int = 0
    part: Part = "rest"

    @cached_property
    def _rows(self) -> NDArray[np.int64] | None:
        """None: all."""
        if self.percent == 100 and not self.held_out:
            return None
        chosen = share_ids(self.prepared.ids, self.percent)
        if self.held_out:
            rest, held = hold_out(chosen, self.held_out)
            chosen = rest if self.part == "rest" else held
        return rows_of(self.prepared, chosen)

    @cached_property
    def _index_of(self) -> tuple[int, ...]:
        """The prepared data's category -> the task's."""
        if self.task != "instance":
            return tuple(range(len(self.prepared.categories)))
        index_of = self.categories.index_of
        background = len(self.categories) - 1
        return tuple(index_of[e.id] if e.isthing else background for e in self.prepared.categories.entries)

    @cached_property
    def categories(self) -> Categories:
        return task_categories(self.prepared.categories, self.task)

    @property
    def size(self) -> tuple[int, int]:
        return self.prepared.size

    @property
    def instance_truth(self) -> str:
        return self.prepared.instance_truth

    @cached_property
    def ids(self) -> list[str]:
        ids = self.prepared.ids
        return ids if self._rows is None else [ids[row] for row in self._rows.tolist()]

    def __len__(self) -> int:
        return len(self.prepared) if self._rows is None else len(self._rows)

    @cached_property
    def images(self) -> NDArray[np.uint8] | Rows:
        return self._some(self.prepared.images)

    @cached_property
    def segments(self) -> NDArray[np.uint16] | Rows:
        return self._some(self.prepared.segments)

    def table(self, image: int) -> dict[int, Segment]:
        table = self.prepared.table(self._row(image))
        if self.task != "instance":
            return table
        return {number: s._replace(category=self._index_of[s.category]) for number, s in table.items()}

    def instances(self, image: int) -> Sequence[Instance] | None:
        """None where the thing segments serve."""
        found = self.prepared.instances(self._row(image))
        if found is None or self.task != "instance":
            return found
        return [Instance(self._index_of[one.category], one.is_crowd, one.rle) for one in found]

    def _row(self, image: int) -> int:
        return image if self._rows is None else int(self._rows[image])

    def _some(self, array: NDArray[Any]) -> NDArray[Any] | Rows:
        return array if self._rows is None else Rows(array, self._rows)

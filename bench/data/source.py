"""What every dataset offers to preparation, native or drawn. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from bench.data.scene import Scene
from bench.errors import UserError, unknown
from models.categories import Categories


class Source(Protocol):
    """A dataset with the splits "train" and "val", read at its native size."""

    @property
    def name(self) -> str: ...

    @property
    def categories(self) -> Categories: ...

    @property
    def splits(self) -> Collection[str]: ...

    def ids(self, split: str) -> list[str]:
        """The images of a split, in the dataset's own order."""
        ...

    def scene(self, split: str, id: str) -> Scene:
        """One image with its truth at native size; segment numbers 1 .. n. Raises UserError where files disagree."""
        ...

    def fingerprint(self, split: str) -> str:
        """Hex digest that changes when the split's annotations do. Cheap: opens no annotation."""
        ...

    def has_instances(self, split: str) -> bool:
        """Whether the dataset has an instance annotation of its own, beside the panoptic one."""
        ...

    def part(self, split: str, ids: Sequence[str]) -> Source:
        """The same source carrying only what these images need: small enough to send to another process."""
        ...


def check_split(source: Source, split: str) -> None:
    """Raises UserError where the source has no such split."""
    if split not in source.splits:
        raise unknown("split", split, source.splits, f"dataset {source.name}")


def verify_source(source: Source, split: str) -> list[str]:
    """Reads every image of a split; one line for each that cannot be read or whose files disagree."""
    problems = []
    try:
        ids = source.ids(split)
    except UserError as error:
        return [str(error)]
    for id in ids:
        try:
            source.scene(split, id)
        except UserError as error:
            problems.append(str(error))
    return problems

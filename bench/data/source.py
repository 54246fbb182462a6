"""What every dataset offers to preparation, native or drawn. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from bench.data.problem import Problem
from bench.data.scene import Scene
from bench.errors import UserError, unknown
from models.categories import TASKS, Categories, Task


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

    def scene(self, split: str, id: str, halve: bool = False) -> Scene:
        """One image with its truth at native size; segment numbers 1 .. n. Raises UserError where files disagree.

        `halve`: a large JPEG may be decoded at half size (`bench.data.decoding.rgb`), the truth never.
        """
        ...

    def fingerprint(self, split: str) -> str:
        """Hex digest that changes when the split's annotations do. Cheap: opens no annotation."""
        ...

    def has_instances(self, split: str) -> bool:
        """Whether the dataset has an instance annotation of its own, beside the panoptic one."""
        ...

    @property
    def form(self) -> str:
        """Which annotation the truth is read from, in a few words; for the manifest, where a dataset has several."""
        ...

    def for_task(self, task: Task) -> Source:
        """The source whose truth this task has, mostly itself. Raises NoTruthError where the annotations lack it.

        ADE20K has two annotations that disagree here and there: its semantic truth is the one, its panoptic truth
        the other over the one. The two have different fingerprints and are prepared apart.
        """
        ...

    def part(self, split: str, ids: Sequence[str]) -> Source:
        """The same source carrying only what these images need: small enough to send to another process."""
        ...


@dataclass(frozen=True)
class Survey:
    """A split as its listing has it, no picture opened.

    `pictures`: the file name of each image that can be read, by id, in the dataset's order. `problems`: what is wrong
    with the listing itself; an image that one of them names is not in `pictures`.
    """

    pictures: dict[str, str]
    problems: list[Problem]


@runtime_checkable
class Checked(Protocol):
    """What a `Source` over somebody's files offers besides: it tells every fault of the files, where `ids` and
    `scene` stop at the first.

    `ids` raises UserError for the survey's first problem, `scene` for the check's first: what is not refused is whole.
    """

    def survey(self, split: str) -> Survey:
        """The listing (json, folders) read leniently. Raises nothing for what is wrong in it."""
        ...

    def check(self, split: str, id: str) -> list[Problem]:
        """Reads every file of one image of the survey: all that is wrong with them; empty where `scene` succeeds."""
        ...


class NoTruthError(UserError):
    """The annotations lack what a task is scored against: what is missing and how to get it, one line each."""

    def __init__(self, name: str, what: str, how: str) -> None:
        super().__init__(f"{name}: {what}; {how}")
        self.name, self.what, self.how = name, what, how

    def __reduce__(self) -> tuple[Any, ...]:
        return NoTruthError, (self.name, self.what, self.how)


def forms(source: Source) -> list[Source]:
    """The source once for each truth that some task has: what a whole preparation of the dataset is made of."""
    found: dict[str, Source] = {}
    for task in TASKS:
        with suppress(NoTruthError):
            one = source.for_task(task)
            found.setdefault(one.form, one)
    return list(found.values())


def check_split(source: Source, split: str) -> None:
    """Raises UserError where the source has no such split."""
    if split not in source.splits:
        raise unknown("split", split, source.splits, f"dataset {source.name}")

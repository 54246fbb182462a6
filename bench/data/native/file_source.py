"""What readers of somebody's files share: to read an image is to find all its faults. Imports no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from bench.data.problem import FaultError, Problem
from bench.data.scene import Scene


class FileSource(ABC):
    """The part of a `Source`, and of `Checked`, that follows from `_read`."""

    name: str

    @abstractmethod
    def _read(self, split: str, id: str, halve: bool = False) -> tuple[Scene | None, list[Problem]]:
        """The scene, or every problem of the image's files. Raises UserError where the split has no such image."""

    def scene(self, split: str, id: str, halve: bool = False) -> Scene:
        """Segments are numbered 1 .. n. Raises UserError where the image's files disagree."""
        scene, problems = self._read(split, id, halve)
        if scene is None:
            raise FaultError(problems[0], f"{self.name} image {id}: {problems[0]}; run `bench data verify {self.name}`")
        return scene

    def check(self, split: str, id: str) -> list[Problem]:
        return self._read(split, id)[1]

    def _refuse(self, split: str, problems: Sequence[Problem]) -> None:
        """Raises FaultError where the listing of a split has a problem."""
        if problems:
            text = f"{self.name} {split}: {problems[0]}; `bench data verify {self.name}` names every problem"
            raise FaultError(problems[0], text)

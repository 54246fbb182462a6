"""What is wrong with a dataset's files, said so that the next fault can still be found. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from bench.errors import UserError

Kind = Literal[
    "missing",  # a file or an entry that another file names is not there
    "unreadable",  # truncated, damaged, no picture
    "format",  # a json or a row of another format
    "size",  # picture, annotation and json do not have one size
    "absurd size",  # more pixels than any picture of such a dataset: a decompression bomb
    "unlisted id",  # an id in the annotation picture that the json lacks
    "unseen id",  # an id in the json that the annotation picture lacks
    "category",  # a category that the dataset does not have
    "area",  # the json's area is not that of the pixels
    "duplicate",  # an image listed more than once
    "overlap",  # an image in two splits
    "outside",  # a file name that leaves the dataset's folder
    "prepared",  # a prepared folder that is not what its manifest says
]


@dataclass(frozen=True)
class Problem:
    """One fault of one file; `image` is the id of the image that cannot be used for it, None where it is no one's."""

    file: Path
    kind: Kind
    reason: str
    image: str | None = None

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"file": str(self.file)}


class FaultError(UserError):
    """A fault that stops whoever reads the file. Caught by whoever wants every fault."""

    def __init__(self, problem: Problem, text: str | None = None) -> None:
        super().__init__(text or str(problem))
        self.problem = problem

    def __reduce__(self) -> tuple[Any, ...]:
        return FaultError, (self.problem, str(self))  # it crosses from worker processes


@contextmanager
def collecting(problems: list[Problem]) -> Iterator[None]:
    """What stops the block is put into `problems`, and the work goes on after it."""
    try:
        yield
    except FaultError as fault:
        problems.append(fault.problem)

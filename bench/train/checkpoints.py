"""Checkpoints of a training, in `checkpoint/` of the run's folder: one file each, the last two are kept. No torch.

A file is `step-000000600-<hash>.safetensors`. It has the tensors, and under `facts` of its metadata, as JSON, all the
rest; `hash` is the first 16 digits of the file's own sha256. So it appears whole or not at all, and a byte that changed
since is found. Nothing is pickled.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError

from bench.failure import scrub
from bench.files import Strict, sha256_of
from bench.record import Network, Scores

if TYPE_CHECKING:
    from torch import Tensor

CHECKPOINT_MINUTES = 10.0  # most of them that are lost; a user may choose others
KEPT = 2
NAME = re.compile(r"step-(\d{9})-([0-9a-f]{16})\.safetensors")
UNFINISHED = re.compile(r"\.\d+\.tmp|\.tmp\w+|weights\.tmp")  # our own, those of safetensors, and of the weights
OS_ERROR = re.compile(r"os error (\d+)")  # in the words of safetensors
MOST_HEADER = 100_000_000  # bytes: safetensors' own limit


class Position(Strict):
    """Where a training is, to the last bit: beside its tensors, all that its next steps and lines depend on."""

    step: int = Field(ge=0)
    sums: dict[str, float] = Field(description="of each term of the loss, over the steps of the epoch in hand")
    history: tuple[str, ...] = Field(description="the lines of the epochs behind")
    seconds: float = Field(ge=0, description="of training, by all attempts that led here")
    waited: float = Field(ge=0, description="seconds of these, for batches")


class Maker(Strict):
    """What made a checkpoint. Equal bits are promised to those who go on with the same. `git_commit`: as `machine` has
    it; None outside a checkout, and in checkpoints written before there was this key.
    """

    attempt: int = Field(ge=1)
    torch: str
    device: str
    threads: int = Field(ge=1)
    processes: int = Field(1, ge=1)
    git_commit: str | None = None


class Facts(Strict):
    """What a checkpoint says beside its tensors. `seconds`: of the phases so far, and in total."""

    schema_version: Literal[1] = 1
    run_id: str
    made_by: Maker
    steps: int = Field(ge=1)
    epochs: int = Field(ge=1)
    position: Position
    network: Network
    untrained: Scores
    seconds: dict[str, float]
    peak_memory_mb: float

    @property
    def place(self) -> dict[str, int]:
        """The step it was made after, and the epoch it goes on in."""
        epoch = min(len(self.position.history) + 1, self.epochs)
        return {"step": self.position.step, "steps": self.steps, "epoch": epoch, "epochs": self.epochs}


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was found whole."""

    path: Path
    facts: Facts

    def tensors(self) -> dict[str, Tensor]:
        """Raises SafetensorError where the file is none, OSError where it cannot be read."""
        from safetensors.torch import load_file

        with _os_errors("the checkpoint could not be read"):
            return load_file(self.path)


class Checkpoints:
    """Those of one run. `damaged`: what was set aside, and why. `check` raises where another has taken the run over:
    nothing is written or removed then.
    """

    def __init__(self, folder: Path, run_id: str, check: Callable[[], None] = lambda: None) -> None:
        self.folder, self.run_id, self._check = folder, run_id, check
        self.damaged: dict[str, str] = {}

    def write(self, facts: Facts, tensors: Mapping[str, Tensor]) -> None:
        """Atomic; then removes all but the last two. Raises OSError."""
        self.folder.mkdir(exist_ok=True)
        beside = self.folder / f".{os.getpid()}.tmp"
        text = json.dumps(facts.model_dump(mode="json"), allow_nan=False)
        try:
            _save(tensors, beside, text)
            with beside.open("rb+") as file:
                os.fsync(file.fileno())
            path = self.folder / f"step-{facts.position.step:09}-{sha256_of(beside)[:16]}.safetensors"
            self._check()
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        _sync(self.folder)
        for path in _newest_first(self.folder)[KEPT:]:
            path.unlink()

    def candidates(self) -> Iterator[Checkpoint]:
        """Those that are whole, newest first; a damaged one is set aside when its turn comes. Raises OSError where one
        cannot be read: a disk that fails now may be back, and nothing says that the checkpoint is damaged.
        """
        self._remove_unfinished()
        for path in _newest_first(self.folder):
            try:
                yield Checkpoint(path, self._verified(path))
            except ValueError as error:
                self.set_aside(path, str(error))

    def set_aside(self, path: Path, why: str) -> None:
        """Renames it to `<name>.damaged`, so that it is never used."""
        self._check()
        self.damaged[path.name] = scrub(why)
        path.rename(path.with_name(f"{path.name}.damaged"))

    def clear(self) -> None:
        """Removes all of them, also those set aside."""
        self._check()
        self._remove_unfinished()
        for path in self.folder.glob("step-*"):
            path.unlink()
        with suppress(OSError):  # it holds the weights
            self.folder.rmdir()

    def _remove_unfinished(self) -> None:
        """What a killed process was writing. What else lies there is left alone."""
        for left in self.folder.glob("*"):
            if UNFINISHED.fullmatch(left.name):
                with suppress(OSError):
                    left.unlink()

    def _verified(self, path: Path) -> Facts:
        """Raises ValueError with what is wrong."""
        match = NAME.fullmatch(path.name)
        assert match is not None
        if sha256_of(path)[:16] != match[2]:
            raise ValueError("its sha256 is not the one in its name")
        facts = _facts(path)
        if facts.run_id != self.run_id:
            raise ValueError(f"it belongs to {facts.run_id}")
        if facts.position.step != int(match[1]):
            raise ValueError(f"it was made after step {facts.position.step}")
        return facts


def last_place(folder: Path) -> dict[str, int] | None:
    """Where the newest checkpoint stands that can be read, for `bench status`; its tensors are not looked at."""
    for path in _newest_first(folder):
        with suppress(ValueError, OSError):
            return _facts(path).place
    return None


def _newest_first(folder: Path) -> list[Path]:
    return sorted((path for path in folder.glob("step-*") if NAME.fullmatch(path.name)), reverse=True)


def _facts(path: Path) -> Facts:
    """Raises ValueError where the header is none of ours."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MOST_HEADER:
            raise ValueError("it has no header of safetensors")
        content = file.read(length)
    try:
        header: Any = json.loads(content)
        return Facts.model_validate(json.loads(header["__metadata__"]["facts"]))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (KeyError, TypeError, RecursionError):
        raise ValueError("its metadata has no facts") from None


def _save(tensors: Mapping[str, Tensor], target: Path, facts: str) -> None:
    from safetensors.torch import save_file

    with _os_errors("the checkpoint could not be written"):
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, target, {"facts": facts})


@contextmanager
def _os_errors(what: str) -> Iterator[None]:
    """Gives an error of the system, which safetensors tells in words, back its number."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        if number := OS_ERROR.search(str(error)):
            raise OSError(int(number[1]), f"{what} ({error})") from None
        raise


def _sync(folder: Path) -> None:
    """The new name reaches the disk before an old file goes."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

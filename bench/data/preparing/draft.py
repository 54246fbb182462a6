"""A preparation on its way: what is done of it, in a folder that a killed one goes on from. Imports no torch.

whole/images.npy, whole/segments.npy   as long as they will be, filled chunk by chunk
<first>.npz                            what else is known of the CHUNK images from `first` on: they are done
lock                                   held by the process that is at it
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from bench.data.preparing.tables import Rows
from bench.errors import UserError

CHUNK = 32  # images: enough to hide the cost of a task, few enough to show progress and to lose little
IMAGES, SEGMENTS = "images.npy", "segments.npy"
POLL_S = 0.5  # how often who waits for another process looks how far it is
COUNTED = ("segments_total", "segments_vanished", "instances_total", "instances_vanished")


class ArrayFile:
    """The rows of a .npy file, read and written where they lie: pages of a memory map would count as memory."""

    def __init__(self, path: Path) -> None:
        """Raises UserError where there is no such file."""
        try:
            with path.open("rb") as file:
                np.lib.format.read_magic(file)
                self.shape, _, self.dtype = np.lib.format.read_array_header_1_0(file)
                self.path, self._start = path, file.tell()
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read ({error}); remove its folder and start again") from None

    @classmethod
    def create(cls, path: Path, shape: tuple[int, ...], dtype: Any) -> Self:
        """Of zeros, which take no room on the disk yet."""
        with path.open("wb") as file:
            header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            file.truncate(file.tell() + int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize)
        return cls(path)

    def write(self, first: int, rows: NDArray[Any]) -> None:
        with self.path.open("r+b") as file:
            file.seek(self._start + first * self._row_bytes)
            file.write(np.ascontiguousarray(rows, dtype=self.dtype).data)

    def read(self, first: int, count: int) -> NDArray[Any]:
        with self.path.open("rb") as file:
            file.seek(self._start + first * self._row_bytes)
            content = file.read(count * self._row_bytes)
        return np.frombuffer(content, dtype=self.dtype).reshape(count, *self.shape[1:])

    @property
    def _row_bytes(self) -> int:
        return int(np.prod(self.shape[1:])) * self.dtype.itemsize


@dataclass(frozen=True)
class Chunk:
    """Up to CHUNK images at one size: `images` (n, H, W, 3), `segments` (n, H, W), and the rows of both tables, where
    `image` counts from the chunk's first.

    `bad`: the reason, by id, of those that could not be read and are zeros; `counts`: (4, K) how many there were of
    each category natively and vanished, by COUNTED.
    """

    images: NDArray[np.uint8]
    segments: NDArray[np.uint16]
    segment_rows: Rows
    instance_rows: Rows
    counts: NDArray[np.int64]
    bad: dict[str, str]


class Draft:
    """The folder. Its arrays are there as soon as it is."""

    def __init__(self, path: Path) -> None:
        self.path, self.whole = path, path / "whole"
        self.images, self.segments = ArrayFile(self.whole / IMAGES), ArrayFile(self.whole / SEGMENTS)

    @classmethod
    def open(cls, path: Path, images: int, size: tuple[int, int]) -> Draft:
        """The draft that is there, or a new one."""
        if not (path / "whole" / SEGMENTS).is_file():
            (path / "whole").mkdir(exist_ok=True)
            for done in path.glob("*.npz"):
                done.unlink()
            ArrayFile.create(path / "whole" / IMAGES, (images, *size, 3), np.uint8)
            beside = path / "whole" / f"new-{SEGMENTS}"
            ArrayFile.create(beside, (images, *size), np.uint16)
            beside.replace(path / "whole" / SEGMENTS)
        return cls(path)

    def emptied(self, name: str) -> Path:
        """A new folder in the draft, instead of any of the same name."""
        folder = self.path / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def has(self, first: int) -> bool:
        return self._file(first).exists()

    def write(self, first: int, chunk: Chunk) -> None:
        """Its file comes last, by renaming: what is there is whole, and two writers of the same do no harm."""
        self.images.write(first, chunk.images)
        self.segments.write(first, chunk.segments)
        texts = {"bad": chunk.bad, "counts": chunk.instance_rows.counts, "checks": _checks(chunk)}
        beside = self.path / f"{first}.{os.getpid()}-{secrets.token_hex(4)}"
        with beside.open("wb") as file:
            np.savez(
                file,
                segment_rows=chunk.segment_rows.numbers,
                instance_rows=chunk.instance_rows.numbers,
                counts=chunk.counts,
                texts=np.frombuffer(json.dumps(texts).encode(), dtype=np.uint8),
            )
        beside.replace(self._file(first))

    def read(self, first: int) -> Chunk:
        """Raises UserError where a file is damaged, as after a loss of power."""
        length = min(CHUNK, self.images.shape[0] - first)
        try:
            with np.load(self._file(first)) as file:
                texts = json.loads(file["texts"].tobytes())
                chunk = Chunk(
                    self.images.read(first, length),
                    self.segments.read(first, length),
                    Rows(file["segment_rows"]),
                    Rows(file["instance_rows"], tuple(texts["counts"])),
                    file["counts"],
                    texts["bad"],
                )
            if _checks(chunk) != texts["checks"]:
                raise ValueError("its arrays are not what was written")
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(f"{self.path} is damaged ({error}); remove that folder and prepare again") from None
        return chunk

    def _file(self, first: int) -> Path:
        return self.path / f"{first:08d}.npz"


def _checks(chunk: Chunk) -> list[int]:
    return [zlib.crc32(chunk.images.data), zlib.crc32(chunk.segments.data)]


@contextmanager
def held(path: Path, waiting: Callable[[int], None]) -> Iterator[None]:
    """Makes a draft's folder and holds it alone; while another process does, `waiting` is told how many chunks it has.

    The lock is the kernel's: a killed process holds nothing. A draft without a chunk is removed at the end.
    """
    with _lock(path, waiting):
        try:
            yield
        finally:
            if next(path.glob("*.npz"), None) is None:
                shutil.rmtree(path, ignore_errors=True)


def discard(path: Path) -> None:
    """Removes a draft, unless a process holds it."""
    with suppress(FileNotFoundError, BlockingIOError), (path / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)


def _lock(path: Path, waiting: Callable[[int], None]) -> IO[str]:
    """The lock's file, which holds the folder until it is closed."""
    while True:
        path.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack, suppress(FileNotFoundError):  # who held it may remove the folder at any moment
            handle = stack.enter_context((path / "lock").open("w"))
            _wait_for(handle.fileno(), lambda: waiting(len(list(path.glob("*.npz")))))
            if os.path.samestat(os.fstat(handle.fileno()), (path / "lock").stat()):
                stack.pop_all()
                return handle


def _wait_for(handle: int, waiting: Callable[[], None]) -> None:
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            waiting()
            time.sleep(POLL_S)

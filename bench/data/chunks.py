"""The draft of a preparation: a file for every CHUNK images, so that a killed one goes on. Imports no torch."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.tables import Rows
from bench.errors import UserError

CHUNK = 32  # images a file: large enough to hide its cost, small enough to show progress and to lose little
POLL_S = 0.5  # how often who waits for another process looks how far it is

COUNTED = ("segments_total", "segments_vanished", "instances_total", "instances_vanished")


@dataclass(frozen=True)
class Chunk:
    """Up to CHUNK images at one size. In both tables `image` counts from 0, the chunk's first that could be read.

    `images` (n, H, W, 3) and `segments` (n, H, W) of the `ids` that could be read; `bad`: the reason, by id, of those
    that could not; `counts`: (4, K) how many there were of each category natively and vanished, by COUNTED.
    """

    ids: list[str]
    bad: dict[str, str]
    images: NDArray[np.uint8]
    segments: NDArray[np.uint16]
    segment_rows: Rows
    instance_rows: Rows
    counts: NDArray[np.int64]


def chunk_file(draft: Path, first: int) -> Path:
    """The file of the images `first` .. `first` + CHUNK - 1."""
    return draft / f"{first:08d}.npz"


def chunk_files(draft: Path, images: int) -> list[Path]:
    return [chunk_file(draft, first) for first in range(0, images, CHUNK)]


def write_chunk(path: Path, chunk: Chunk) -> None:
    """Written beside its name and renamed: who finds it finds it whole, and two writers do no harm."""
    texts = {"ids": chunk.ids, "bad": chunk.bad, "counts": chunk.instance_rows.counts}
    beside = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    with beside.open("wb") as file:
        np.savez(
            file,
            images=chunk.images,
            segments=chunk.segments,
            segment_rows=chunk.segment_rows.numbers,
            instance_rows=chunk.instance_rows.numbers,
            counts=chunk.counts,
            texts=np.frombuffer(json.dumps(texts).encode(), dtype=np.uint8),
        )
    beside.replace(path)


def read_chunk(path: Path) -> Chunk:
    """Raises UserError where the file is damaged, as after a loss of power."""
    found = _read(path, ("texts", "images", "segments", "segment_rows", "instance_rows", "counts"))
    texts = json.loads(found["texts"].tobytes())
    return Chunk(
        texts["ids"],
        texts["bad"],
        found["images"],
        found["segments"],
        Rows(found["segment_rows"]),
        Rows(found["instance_rows"], tuple(texts["counts"])),
        found["counts"],
    )


def read_names(path: Path) -> tuple[list[str], dict[str, str]]:
    """A chunk's `ids` and `bad` alone."""
    texts = json.loads(_read(path, ("texts",))["texts"].tobytes())
    return texts["ids"], texts["bad"]


def _read(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path) as file:
            return {name: file[name] for name in names}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is damaged ({error}); remove it and start the same command again") from None


@contextmanager
def opened_draft(draft: Path, waiting: Callable[[int], None]) -> Iterator[None]:
    """Makes the draft's folder and holds it alone; while another process does, `waiting` is told its chunks' number.

    The lock is the kernel's: a killed process holds nothing. A draft without a chunk is removed at the end.
    """
    while True:
        draft.mkdir(parents=True, exist_ok=True)
        with (draft / "lock").open("w") as handle:
            _wait_for(handle.fileno(), lambda: waiting(len(list(draft.glob("*.npz")))))
            if not _is_file_of(handle.fileno(), draft / "lock"):
                continue
            try:
                yield
            finally:
                if next(draft.glob("*.npz"), None) is None:
                    shutil.rmtree(draft, ignore_errors=True)
            return


def _wait_for(handle: int, waiting: Callable[[], None]) -> None:
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            waiting()
            time.sleep(POLL_S)


def _is_file_of(handle: int, path: Path) -> bool:
    """Whether the lock is still that of the folder: who held it before may have removed the folder."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False

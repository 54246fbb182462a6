"""A record from a machine that does not share the results folder: its files come back in pieces, and are put into the
store under the run's lease, status.json last. Imports neither torch nor the engine that carries the pieces.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bench.errors import UserError
from bench.files import read, read_bytes, sha256_of, write_bytes
from bench.record import WEIGHTS, Status
from bench.spec import RunSpec
from bench.store import RECORD_FILES, Store, changed_files
from bench.train.checkpoints import Checkpoints

PIECE = 8 << 20  # bytes that are on their way at a time
STATUS = "status.json"
INCOMING = ".incoming"

Read = Callable[[str, int], bytes]  # (name, offset) -> at most PIECE bytes from there; none at the end


class DamagedError(Exception):
    """What came is not what was sent."""


@dataclass(frozen=True)
class RemoteRecord:
    """What lies on another machine. `folder`: of the run there; `files`: the sha256 of each, by its name below it."""

    node: str
    folder: Path
    files: Mapping[str, str]


def remote_record(node: str, folder: Path) -> RemoteRecord:
    """The files of a record, its attempts and its pictures; no checkpoint."""
    names = [name for name in (*RECORD_FILES, WEIGHTS, STATUS) if (folder / name).is_file()]
    below = (path for part in ("attempts", "samples") for path in sorted((folder / part).glob("[!.]*")))
    names += [path.relative_to(folder).as_posix() for path in below if path.is_file()]
    return RemoteRecord(node, folder, {name: sha256_of(folder / name) for name in names})


def piece(folder: Path, name: str, offset: int) -> bytes:
    with (folder / name).open("rb") as file:
        file.seek(offset)
        return file.read(PIECE)


def discard(folder: Path) -> None:
    """What the driver has by now."""
    shutil.rmtree(folder, ignore_errors=True)


def attempts_of(folder: Path) -> dict[str, bytes]:
    """The attempts that a store knows of, by file name: a run elsewhere counts on from there."""
    return {path.name: read_bytes(path) for path in sorted((folder / "attempts").glob("*.json"))}


def take_over(attempts: Mapping[str, bytes], folder: Path) -> None:
    """Adds the attempts that this machine does not know of."""
    (folder / "attempts").mkdir(parents=True, exist_ok=True)
    for name, content in attempts.items():
        if not (folder / "attempts" / name).exists():
            write_bytes(folder / "attempts" / name, content)


def put(record: RemoteRecord, spec: RunSpec, store: Store, read: Read) -> Status | None:
    """Fetches a record into the store; the status that the run has there then. None: another process holds the run.

    Where another process has finished it meanwhile, its record stays. Raises DamagedError where a file does not have
    its sha256, and what `read` raises; the store is as it was then.
    """
    run_id, folder = spec.run_id, store.folder(spec.run_id)
    with store.lock(run_id) as mine:
        if mine is None:
            return None
        there = store.whole(run_id)
        if there is not None and there.state == "done":
            return there
        incoming = folder / INCOMING
        shutil.rmtree(incoming, ignore_errors=True)  # of a command that was killed
        try:
            for name, digest in record.files.items():
                _fetch(incoming / _safe(name), name, digest, read)
            _check_whole(incoming)
            store.begin(spec)
            for name in sorted(record.files, key=lambda name: name == STATUS):
                mine.check()
                (folder / name).parent.mkdir(exist_ok=True)
                (incoming / name).replace(folder / name)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
        status = store.whole(run_id)
        if status is not None and status.state == "done":
            Checkpoints(folder / "checkpoint", run_id, mine.check).clear()
        return status


def _fetch(target: Path, name: str, digest: str, read: Read) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    found, offset = hashlib.sha256(), 0
    with target.open("wb") as file:
        while content := read(name, offset):
            file.write(content)
            found.update(content)
            offset += len(content)
        file.flush()
        os.fsync(file.fileno())
    if found.hexdigest() != digest:
        raise DamagedError(f"{name} came back with another sha256")


def _check_whole(incoming: Path) -> None:
    """Compares what came with the hashes in its status.json: it may have changed on the disk that it comes from."""
    try:
        changed = changed_files(incoming, read(incoming / STATUS, Status))
    except UserError as error:
        raise DamagedError(f"{STATUS} cannot be read") from error
    if changed:
        raise DamagedError(f"{changed[0]} is not as it was written there")


def _safe(name: str) -> str:
    """A name that leads nowhere but below the run's folder."""
    parts = PurePosixPath(name).parts
    if len(parts) > 2 or any(part.startswith((".", "/")) for part in parts):
        raise DamagedError(f"{name!r} is no file of a record")
    return name

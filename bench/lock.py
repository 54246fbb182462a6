"""A lease on a folder: one process at a time, on one machine or on several that share a file system.

A lease is a file `.lock-<generation>` in the folder, made by an exclusive creation. It is held in two ways:
- by the kernel's lock (flock): on one machine a dead process holds nothing, and a stopped one still holds its run;
- by a beat: the holder counts up in the file every BEAT seconds. There are mounts whose machines do not know of each
  other's locks, so a lock that we get although the file is of another machine proves nothing. There a lease is taken
  over only when we have watched it without a beat for EXPIRY seconds of our own clock: clocks need not agree.

Who takes over makes the next generation and removes the old file. So a holder that slept through it finds its own file
gone when it wakes: before it writes, by `Lease.check`, and at its next beat, which ends the process.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError

BEAT = 5.0  # seconds between two signs of life
EXPIRY = 60.0  # seconds without one, as watched, after which a lease of another machine is taken over
WATCH = 0.5  # seconds between two looks at it
LOST = 75  # exit code of a process that finds its lease gone (EX_TEMPFAIL of sysexits.h)
NAME = re.compile(r"\.lock-(\d+)")
GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)  # what the system says of a file that was removed
NOWHERE = "-"  # stands for the machine of a lease that the kernel does not hold


class LostLeaseError(UserError):
    """Another process has taken the folder over, or it is gone: nothing may be written into it any more."""


def _this_machine() -> str:
    """This boot of this kernel: all processes that know of each other's locks. No host name."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return NOWHERE


MACHINE = _this_machine()
_locked: set[int] = set()  # descriptors: in a forked child, such as a loader's worker, their locks would outlive us


def _let_go() -> None:
    for descriptor in _locked:
        os.close(descriptor)
    _locked.clear()


os.register_at_fork(after_in_child=_let_go)


@dataclass(frozen=True)
class _Seen:
    """What a lease's file says; empty while its holder has not written it."""

    token: str = ""
    machine: str = NOWHERE
    beat: int = 0


@contextmanager
def lease(folder: Path) -> Iterator[Lease | None]:
    """Holds the folder, which exists, while the block runs; None where another process does."""
    held = _acquire(folder)
    if held is None:
        yield None
        return
    with held:
        yield held


class Lease:
    """A held lease. It beats in a thread of its own until the block is left."""

    def __init__(self, path: Path, token: str, machine: str, descriptor: int) -> None:
        self._path, self._token, self._machine, self._descriptor = path, token, machine, descriptor
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._live, name="lease", daemon=True)

    def __enter__(self) -> Lease:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._left.set()
        self._thread.join()
        if self._is_ours():
            self._path.unlink(missing_ok=True)
        _close(self._descriptor)

    def check(self) -> None:
        """Raises LostLeaseError where the lease is no longer ours."""
        if not self._is_ours():
            raise LostLeaseError(f"{self._path.parent} was removed, or taken over by another `bench run`")

    def _is_ours(self) -> bool:
        seen = _read(self._path)
        return seen is not None and seen.token == self._token and _latest(self._path.parent) == self._path

    def _live(self) -> None:
        beat = 0
        while not self._left.wait(BEAT):
            beat += 1
            with contextlib.suppress(OSError):  # a disk or server that fails now may be back at the next beat
                if not self._is_ours():
                    os._exit(LOST)  # whatever this process would write belongs to another's run
                _write(self._descriptor, _Seen(self._token, self._machine, beat))


def _acquire(folder: Path) -> Lease | None:
    while (last := _latest(folder)) is not None:
        with contextlib.suppress(FileNotFoundError):  # its holder may leave at any moment: look again
            descriptor = os.open(last, os.O_RDWR)
            try:
                locked, seen = _lock(descriptor), _seen(last)
                if not _is_at(descriptor, last):  # its holder left meanwhile, and another may have come
                    continue
                dead = locked and seen.machine == MACHINE != NOWHERE
                if locked is False or (not dead and _beats(last, seen)):
                    return None
                return _make(folder, _generation(last) + 1, seen)
            finally:
                os.close(descriptor)
    return _make(folder, 1, None)


def _make(folder: Path, generation: int, old: _Seen | None) -> Lease | None:
    """The lease of this generation, instead of the one before; None where another process was quicker."""
    path, before = folder / f".lock-{generation}", folder / f".lock-{generation - 1}"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return None
    _locked.add(descriptor)
    try:
        machine = MACHINE if _lock(descriptor) else NOWHERE  # somebody looks at the file this moment, and has the lock
        token = secrets.token_hex(16)
        _write(descriptor, _Seen(token, machine))
        # What we took for the last one may have been taken over and left while we looked: who is at it now was first.
        if _latest(folder) == path and (old is None or _read(before) == old):
            before.unlink(missing_ok=True)
            return Lease(path, token, machine, descriptor)
        path.unlink(missing_ok=True)
    except BaseException:
        path.unlink(missing_ok=True)
        _close(descriptor)
        raise
    _close(descriptor)
    return None


def _beats(path: Path, seen: _Seen) -> bool:
    """Watches a lease: True as soon as it changes, False after EXPIRY seconds. Raises FileNotFoundError."""
    start = time.monotonic()
    while time.monotonic() - start < EXPIRY:
        time.sleep(WATCH)
        if _seen(path) != seen:
            return True
    return False


def _lock(descriptor: int) -> bool | None:
    """Whether the kernel gives us the lock; None on a mount without locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one of this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError as error:
        if error.errno in GONE:
            return False
        raise


def _close(descriptor: int) -> None:
    _locked.discard(descriptor)
    os.close(descriptor)


def _latest(folder: Path) -> Path | None:
    """The file of the highest generation."""
    return max((path for path in folder.glob(".lock-*") if NAME.fullmatch(path.name)), key=_generation, default=None)


def _generation(path: Path) -> int:
    return int(path.name.rpartition("-")[2])


def _write(descriptor: int, seen: _Seen) -> None:
    os.pwrite(descriptor, f"{seen.token} {seen.machine} {seen.beat:012d}\n".encode(), 0)
    os.fsync(descriptor)


def _seen(path: Path) -> _Seen:
    """Raises FileNotFoundError."""
    try:
        token, machine, beat = path.read_text().split()
        return _Seen(token, machine, int(beat))
    except ValueError:
        return _Seen()


def _read(path: Path) -> _Seen | None:
    """None where the file is gone."""
    try:
        return _seen(path)
    except OSError as error:
        if error.errno in GONE:
            return None
        raise

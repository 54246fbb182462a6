"""The official archives of a dataset, fetched, checked and unpacked into the layout that the catalog expects. No torch.

In `<data root>/<dataset>/archives/` lie, while it is at work, each archive's `.part` and, afterwards, a small json with
what the server said of it and its checksum. Whatever is there and whole is not fetched again.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.data.downloading.archives import Archive, Download, downloads
from bench.data.downloading.fetch import fetch, kept, part_of, read_notes, write_notes
from bench.data.downloading.unpack import unpack
from bench.errors import UserError, unknown

ARCHIVES = "archives"  # where they lie in the dataset's folder
CITYSCAPES = """\
Cityscapes asks for an account, so it cannot be fetched for you. The steps:
  1. make an account at https://www.cityscapes-dataset.com/register/ (it may take a day until it is confirmed)
  2. python -m pip install cityscapesscripts
  3. mkdir -p {folder} && cd {folder}
  4. csDownload gtFine_trainvaltest.zip leftImg8bit_trainvaltest.zip   (241 MB, 11 GB; asks for name and password)
  5. unzip -n gtFine_trainvaltest.zip && unzip -n leftImg8bit_trainvaltest.zip
     (there are now {folder}/gtFine and {folder}/leftImg8bit)
  6. python -m bench data verify cityscapes --data-root {root}"""

Progress = Callable[[str, int, int], None]  # what is done, bytes of it, of how many


def download(
    name: str,
    root: Path,
    *,
    mirror: str | None = None,
    keep: bool = False,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda _: None,
    known: Mapping[str, Download] | None = None,
) -> Path:
    """Makes the dataset below the data root and returns its folder.

    `mirror`: a URL below which the archives lie by their names, instead of the official ones. `keep`: leave each
    archive after unpacking. `known`: other archives than the official ones. Raises UserError where the disk is too
    small, no server is reached, or what comes is not the archive.
    """
    known = downloads() if known is None else known
    if name not in known:
        raise unknown("dataset to download", name, known)
    folder = known[name].folder(root)
    wanted = [archive for archive in known[name].archives if archive.lacking(folder)]
    for archive in known[name].archives:
        if archive not in wanted:
            say(f"{archive.name}: already unpacked in {folder}")
    if wanted:
        _need_room(name, wanted, root, folder, keep)
        with _alone(folder / ARCHIVES):
            for archive in wanted:
                _one(archive, folder, mirror, keep, progress or _silent, say)
    return folder


def _one(
    archive: Archive, folder: Path, mirror: str | None, keep: bool, progress: Progress, say: Callable[[str], None]
) -> None:
    target = folder / ARCHIVES / archive.name
    url = archive.url if mirror is None else f"{mirror.rstrip('/')}/{archive.name}"
    if not target.is_file():
        try:
            fetch(url, target, archive.length, partial(progress, f"fetching {archive.name}"), say)
        except KeyboardInterrupt:
            say(f"{archive.name}: stopped; {kept(target)}")
            raise
    _check(archive, target, partial(progress, f"checking {archive.name}"))
    unpacking = partial(progress, f"unpacking {archive.name}")
    unpack(target, folder, strip=archive.strip, inner=archive.inner, progress=unpacking)
    if lacking := archive.lacking(folder):
        raise UserError(f"{target} is unpacked, but {lacking}; it is not the official archive")
    if not keep:
        target.unlink()
    say(f"{archive.name}: fetched, checked, unpacked into {folder}")


def _check(archive: Archive, target: Path, progress: Callable[[int, int], None]) -> None:
    """Compares the checksum with the published one, else with the one recorded at the first download."""
    notes = read_notes(target)
    recorded = ("sha256", str(notes["sha256"])) if "sha256" in notes else None
    algorithm, expected = archive.checksum or recorded or ("sha256", None)
    found = _digest(target, algorithm, progress)
    if expected is None:
        write_notes(target, notes | {"sha256": found})
    elif found != expected:
        target.unlink()
        source = archive.source if archive.checksum else "recorded at the first download"
        raise UserError(
            f"{target.name} has {algorithm} {found}, expected {expected} ({source}); it is removed, the same command "
            "fetches it again"
        )


def _digest(path: Path, algorithm: str, progress: Callable[[int, int], None]) -> str:
    digest, done, total = hashlib.new(algorithm), 0, path.stat().st_size
    with path.open("rb") as file:
        while piece := file.read(1 << 22):
            digest.update(piece)
            done += len(piece)
            progress(done, total)
    return digest.hexdigest()


def _need_room(name: str, wanted: Sequence[Archive], root: Path, folder: Path, keep: bool) -> None:
    """Raises UserError where the disk is too small for the fullest moment: an archive beside what it unpacks to."""
    fullest = lasting = 0
    for archive in wanted:
        target = folder / ARCHIVES / archive.name
        here = sum(path.stat().st_size for path in (target, part_of(target)) if path.is_file())
        whole = archive.length or archive.room
        fullest = max(fullest, lasting + max(0, whole - here) + archive.room)
        lasting += archive.room + (max(0, whole - here) if keep else -here)
    exists = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(exists).free
    if fullest > free:
        raise UserError(
            f"{name} needs {fullest / 1e9:.1f} GB in {root}, {free / 1e9:.1f} GB are free; make room or name another "
            "folder with --data-root"
        )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two downloads of one dataset would write one `.part`."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"another download is at work in {folder}; wait for it or stop it") from None
        yield


def _silent(_what: str, _done: int, _of: int) -> None: ...

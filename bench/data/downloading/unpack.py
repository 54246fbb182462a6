"""A zip or tar archive into a folder: beside it first, no member outside, then renamed into place. No torch."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from bench.errors import UserError

BLOCK = 4096  # bytes that a file's last part takes at most on disk
PIECE = 1 << 20
DAMAGED = (zipfile.BadZipFile, zlib.error, tarfile.TarError, EOFError, NotImplementedError)  # of either kind


@dataclass(frozen=True)
class _Member:
    """One file of an archive: where it goes, its length, how it is read."""

    path: PurePosixPath
    size: int
    open: Callable[[], IO[bytes]]


def unpack(
    archive: Path,
    folder: Path,
    *,
    strip: str | None = None,
    inner: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Unpacks into `folder`, which may already hold files, those of `inner` in their place too.

    `strip` is the archive's folder that stands for `folder`. A file that is there already is kept where it has the
    archive's length. Raises UserError where a member is damaged, leaves the folder or is no plain file, where a file
    that differs is in the way, or the disk has too little room; then nothing in `folder` has changed.
    """
    draft = folder / f".unpacking-{archive.name}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        _extract(archive, draft, progress)
        for name in inner:
            if not (draft / name).is_file():
                raise UserError(f"{archive} has no {name}; it is not the official archive")
            _extract(draft / name, (draft / name).parent, progress)
            (draft / name).unlink()
        _merge(draft / strip if strip else draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _extract(archive: Path, folder: Path, progress: Callable[[int, int], None] | None) -> None:
    with _members(archive) as members:
        total, done = sum(member.size for member in members), 0
        room = sum(-(-member.size // BLOCK) * BLOCK for member in members)
        if room > (free := shutil.disk_usage(folder).free):
            raise UserError(f"{archive} unpacks to {room / 1e9:.2f} GB, {free / 1e9:.2f} GB are free; make room")
        for member in members:
            target = folder / member.path
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with member.open() as source, target.open("xb") as file:
                    while piece := source.read(PIECE):
                        file.write(piece)
                        done += len(piece)
                        if progress is not None:
                            progress(done, total)
            except FileExistsError:
                raise UserError(f"{archive}: the member {member.path} is there twice") from None
            except DAMAGED as error:
                raise UserError(f"{archive}: the member {member.path} is damaged ({error}); fetch it again") from None


@contextmanager
def _members(archive: Path) -> Iterator[list[_Member]]:
    """The archive's plain files, every name looked at before the first is written."""
    with ExitStack() as files:
        try:
            if zipfile.is_zipfile(archive):
                members = list(_zip_members(archive, files.enter_context(zipfile.ZipFile(archive))))
            else:
                members = list(_tar_members(archive, files.enter_context(tarfile.open(archive))))
        except DAMAGED as error:
            raise UserError(
                f"{archive} is no whole zip or tar archive ({error}); remove it and fetch it again"
            ) from None
        yield members


def _zip_members(archive: Path, content: zipfile.ZipFile) -> Iterator[_Member]:
    for info in content.infolist():
        path, kind = _inside(archive, info.filename), stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise UserError(f"{archive}: the member {info.filename} is a link or device; it is not unpacked")
        if info.flag_bits & 1:
            raise UserError(f"{archive}: the member {info.filename} is encrypted; it is not the official archive")
        if not info.is_dir() and not _litter(path):
            yield _Member(path, info.file_size, partial(content.open, info))


def _tar_members(archive: Path, tar: tarfile.TarFile) -> Iterator[_Member]:
    for info in tar:
        path = _inside(archive, info.name)
        if not (info.isfile() or info.isdir()):
            raise UserError(f"{archive}: the member {info.name} is a link or device; it is not unpacked")
        if info.isfile() and not _litter(path):
            yield _Member(path, info.size, partial(_opened, tar, info))


def _opened(tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    file = tar.extractfile(info)
    assert file is not None  # a plain file
    return file


def _inside(archive: Path, name: str) -> PurePosixPath:
    """The member's path. Raises UserError where it would be written outside the folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or "\0" in name or re.match("[A-Za-z]:", name):
        raise UserError(f"{archive}: the member {name!r} would be written outside the folder; nothing is unpacked")
    return path


def _litter(path: PurePosixPath) -> bool:
    """What macOS puts into archives."""
    return "__MACOSX" in path.parts or path.name == ".DS_Store" or path.name.startswith("._")


def _merge(source: Path, folder: Path) -> None:
    """Renames what `folder` lacks into it; whole folders at once where it has none of that name."""
    moves = list(_moves(source, folder))
    for one, target in moves:
        if target.exists() and not _same(one, target):
            raise UserError(f"{target} is there and is not the archive's; move it away and run the same command again")
    for one, target in moves:
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            one.rename(target)


def _moves(source: Path, folder: Path) -> Iterator[tuple[Path, Path]]:
    for entry in sorted(os.scandir(source), key=lambda entry: entry.name):
        target = folder / entry.name
        if entry.is_dir() and target.is_dir():
            yield from _moves(Path(entry.path), target)
        else:
            yield Path(entry.path), target


def _same(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and one.stat().st_size == other.stat().st_size

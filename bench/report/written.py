"""Writes a report: what changed, and away with what no exhibit makes any more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from bench.disk import require
from bench.errors import UserError
from bench.files import write_bytes

LIST = "files.txt"  # what the report wrote, a name a line: of these alone any is ever removed


def write_report(out: Path, files: Mapping[str, str | bytes]) -> list[Path]:
    """`files`: content by name, '/' between folders. A file that holds its content already is left alone. Returns the
    path of each, in order. Raises UserError for a name that leads out of the folder, and where there is no room.
    """
    if strange := [name for name in files if not _is_inside(name)]:
        raise UserError(f"the report would write {strange[0]!r}, which is not in its folder; no record is named so")
    named = {**files, LIST: "".join(f"{name}\n" for name in sorted({*files, LIST}))}
    contents = {out / name: text.encode() if isinstance(text, str) else text for name, text in named.items()}
    require(out, sum(map(len, contents.values())), "the report")
    _remove(out, set(_listed(out)) - set(named))
    for path, content in contents.items():
        if not (path.is_file() and path.read_bytes() == content):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, content)
    return list(contents)


def _listed(out: Path) -> list[str]:
    """What an earlier report wrote."""
    path = out / LIST
    return path.read_text(errors="replace").splitlines() if path.is_file() else []


def _remove(out: Path, names: Iterable[str]) -> None:
    """Of a name that leads out of the folder, or through a link, nothing is touched."""
    for name in filter(_is_inside, names):
        path, parts = out / name, PurePosixPath(name).parts
        through = [out.joinpath(*parts[:n]) for n in range(1, len(parts) + 1)]
        if path.is_file() and not any(one.is_symlink() for one in through):
            path.unlink()


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts

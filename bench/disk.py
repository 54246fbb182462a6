"""Room on a disk, and whether it can be written to: asked before anything is. Imports no torch."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from bench.errors import UserError


def amount(size: float) -> str:
    """Bytes in words."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def free_bytes(folder: Path) -> int:
    """Free disk at the nearest folder that exists."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def require(folder: Path, need: int, what: str) -> None:
    """Makes the folder and tries it. Raises UserError where it cannot be written to or has less than `need` bytes free.

    `what` is going to be written.
    """
    if (free := free_bytes(folder.resolve())) < need:
        raise UserError(f"{folder} has {amount(free)} free and {what} may need {amount(need)}; make room first")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as error:
        raise UserError(f"{what} cannot be written into {folder} ({error.strerror}); name another folder") from None

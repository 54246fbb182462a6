"""Are the arrays of a prepared folder still those that its manifest's hashes prove? Imports no torch.

Every file is hashed again only where its size or time has changed since that was last found, so a second run costs
nothing. What changes a file without changing its time is found by `bench data verify`, which always reads all.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path

from bench.data.preparing.assembling import INSTANCE_TABLE, MANIFEST, SEGMENT_TABLE
from bench.data.preparing.draft import IMAGES, SEGMENTS
from bench.data.verify_prepared import verify_hashes
from bench.errors import UserError
from bench.files import write_json

FOUND = ".intact.json"
FILES = (MANIFEST, IMAGES, SEGMENTS, SEGMENT_TABLE, INSTANCE_TABLE)


def assure(folders: Iterable[Path]) -> None:
    """Raises UserError for the first folder whose arrays or tables are not those of its manifest."""
    for folder in dict.fromkeys(folders):
        stamp = _stamp(folder)
        if _found(folder) == stamp:
            continue
        if problems := verify_hashes(folder):
            raise UserError(
                f"prepared data at {folder} is damaged ({problems[0]}); remove that folder and prepare again"
            )
        with contextlib.suppress(OSError):  # a folder that cannot be written to is hashed each time
            write_json(folder / FOUND, stamp)


def _stamp(folder: Path) -> dict[str, list[int]]:
    """Size and time of change of each file that is there."""
    files = {name: folder / name for name in FILES}
    return {name: [(facts := path.stat()).st_size, facts.st_mtime_ns] for name, path in files.items() if path.exists()}


def _found(folder: Path) -> object:
    try:
        return json.loads((folder / FOUND).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None

"""What `bench data verify` found, kept beside the prepared data: whether a dataset that is here was ever read whole."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from bench.data.source import Source
from bench.files import write_json

NAME = "verified.json"


def remember(source: Source, prepared: Path, problems: int) -> None:
    """Keeps the number of problems of the dataset as it is now, where prepared data can be written."""
    folder = prepared / source.name
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / NAME, {"fingerprints": _fingerprints(source), "problems": problems})


def recall(source: Source, prepared: Path) -> int | None:
    """How many problems were found; None where this dataset, as it is now, was never verified."""
    try:
        found = json.loads((prepared / source.name / NAME).read_bytes())
        return int(found["problems"]) if found["fingerprints"] == _fingerprints(source) else None
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def _fingerprints(source: Source) -> dict[str, str]:
    return {split: source.fingerprint(split) for split in source.splits}

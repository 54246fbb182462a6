"""The official archives of the datasets that can be downloaded, read from archives.yaml. Imports no torch."""

from __future__ import annotations

import os
from pathlib import Path

import yaml
from pydantic import Field

from bench.spec import Frozen

FILE = Path(__file__).with_name("archives.yaml")


class Archive(Frozen):
    """One archive; archives.yaml says what each key means."""

    url: str
    length: int | None = None
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    sha1: str | None = Field(None, pattern="^[0-9a-f]{40}$")
    source: str | None = None
    room: int
    inner: tuple[str, ...] = ()
    strip: str | None = None
    holds: dict[str, int]

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def checksum(self) -> tuple[str, str] | None:
        """The published one: algorithm and hex digest."""
        if self.sha256:
            return "sha256", self.sha256
        return ("sha1", self.sha1) if self.sha1 else None

    def lacking(self, folder: Path) -> str | None:
        """The first of what it holds that is not, or not wholly, in the dataset's folder, in words."""
        for name, expected in self.holds.items():
            found = count_files(folder / name)
            if found < expected:
                return f"{folder / name} has {found} of {expected} files"
        return None


class Download(Frozen):
    """The archives of one dataset, and the folders below the data root that they may make."""

    folders: tuple[str, ...]
    archives: tuple[Archive, ...]

    def folder(self, root: Path) -> Path:
        """Where this dataset lies or will lie."""
        return next((root / name for name in self.folders if (root / name).is_dir()), root / self.folders[0])


def count_files(path: Path) -> int:
    """Files at or below a path; 0 where nothing is."""
    if path.is_file():
        return 1
    return sum(len(files) for _, _, files in os.walk(path))


def downloads() -> dict[str, Download]:
    """The datasets by name."""
    return {name: Download.model_validate(entry) for name, entry in yaml.safe_load(FILE.read_text()).items()}

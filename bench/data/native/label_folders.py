"""A dataset of pictures and label PNGs in folders, paired by file name, without a json. Imports no torch.

What ADE20K and Cityscapes share; how their labels are read is in `ade20k.py` and `cityscapes.py`.
"""

from __future__ import annotations

import copy
import hashlib
import os
from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bench.data.decoding import rgb
from bench.data.native.coco_segments import Runs
from bench.data.native.file_source import FileSource
from bench.data.native.pictures import opened
from bench.data.problem import FaultError, Problem, collecting
from bench.data.scene import Scene
from bench.data.source import Survey, check_split
from bench.errors import UserError
from models.categories import Categories, Segment, Task

SPLITS = ("train", "val")


@dataclass(frozen=True)
class Files:
    """One image: its picture and its label PNGs, in the order that the dataset reads them."""

    picture: Path
    labels: tuple[Path, ...]


@dataclass(frozen=True)
class Listing:
    """A split's images by id, those left out that a problem names."""

    files: dict[str, Files]
    problems: list[Problem]


class LabelFolders(FileSource):
    """A `Source`, and `Checked`. Instances are disjoint in such labels, so the thing segments are the instances."""

    name: str
    form: str
    categories: Categories
    splits: Collection[str] = SPLITS

    def __init__(self) -> None:
        self._listings: dict[str, Listing] = {}
        self._fingerprints: dict[str, str] = {}  # tens of thousands of files are asked for their times once

    @abstractmethod
    def for_task(self, task: Task) -> LabelFolders: ...

    @abstractmethod
    def _list(self, split: str) -> Listing:
        """Finds a split's files by their names; opens no picture."""

    @abstractmethod
    def _read_labels(self, path: Path, id: str) -> NDArray[Any]:
        """One label PNG, (H, W) or (H, W, 3). Raises FaultError."""

    @abstractmethod
    def _truth(
        self, id: str, files: Files, labels: Sequence[NDArray[Any]], problems: list[Problem]
    ) -> tuple[NDArray[np.int32], dict[int, Segment]]:
        """Label arrays of one size -> segments and their table; what is wrong with them goes into `problems`."""

    def ids(self, split: str) -> list[str]:
        listing = self._listing(split)
        self._refuse(split, listing.problems)
        return list(listing.files)

    def has_instances(self, split: str) -> bool:
        check_split(self, split)
        return False

    def fingerprint(self, split: str) -> str:
        """sha256 over form, name, size and modification time of the split's label PNGs, when first asked."""
        if split not in self._fingerprints:
            digest = hashlib.sha256(self.form.encode())
            for files in self._listing(split).files.values():
                for path in files.labels:
                    digest.update(_stamp(path))
            self._fingerprints[split] = digest.hexdigest()
        return self._fingerprints[split]

    def part(self, split: str, ids: Sequence[str]) -> Self:
        files = self._listing(split).files
        some = copy.copy(self)
        some._listings = {split: Listing({id: files[id] for id in ids}, [])}
        return some

    def survey(self, split: str) -> Survey:
        listing = self._listing(split)
        return Survey({id: str(files.picture) for id, files in listing.files.items()}, listing.problems)

    def _listing(self, split: str) -> Listing:
        check_split(self, split)
        if split not in self._listings:
            self._listings[split] = self._list(split)
        return self._listings[split]

    def _read(self, split: str, id: str, halve: bool = False) -> tuple[Scene | None, list[Problem]]:
        files = self._listing(split).files.get(id)
        if files is None:
            raise UserError(f"{self.name} {split} has no image {id}; `bench data list` shows what there is")
        problems: list[Problem] = []
        sizes: dict[Path, tuple[int, ...]] = {}
        image, labels = np.zeros((0, 0, 3), dtype=np.uint8), []
        with collecting(problems), opened(files.picture, id) as picture:
            sizes[files.picture] = picture.height, picture.width
            image = rgb(picture, halve)
        for path in files.labels:
            with collecting(problems):
                labels.append(self._read_labels(path, id))
                sizes[path] = labels[-1].shape[:2]
        problems += _other_sizes(sizes, id)
        if len(labels) < len(files.labels) or len({array.shape[:2] for array in labels}) > 1:
            return None, problems
        segments, table = self._truth(id, files, labels, problems)
        return None if problems else Scene(id, image, segments, table), problems


def files_by_id(folders: Iterable[Path], suffix: str) -> dict[str, Path]:
    """The files of these folders whose names end so, by what stands before it; sorted within each folder."""
    found: dict[str, Path] = {}
    for folder in folders:
        names = sorted(entry.name for entry in os.scandir(folder)) if folder.is_dir() else []
        found |= {n.removesuffix(suffix): folder / n for n in names if n.endswith(suffix) and not n.startswith(".")}
    return found


def paired(pictures: Mapping[str, Path], labels: Sequence[tuple[str, Mapping[str, Path]]]) -> Listing:
    """Files of one id put together; an id that lacks one is a problem. `labels`: each kind's name and its files."""
    kinds = [("picture", pictures), *labels]
    listing = Listing({}, [])
    for id in dict.fromkeys(id for _, found in kinds for id in found):
        have = [found[id] for _, found in kinds if id in found]
        if len(have) == len(kinds):
            listing.files[id] = Files(have[0], tuple(have[1:]))
        for kind, found in kinds:
            if id not in found:
                listing.problems.append(Problem(have[0], "missing", f"image {id} has no {kind}", id))
    return listing


def numbered(runs: Runs, meaning: Mapping[int, tuple[int, Segment]]) -> tuple[NDArray[np.int32], dict[int, Segment]]:
    """Runs of codes -> (H, W) segments 1 .. n and their table.

    `meaning`: code -> key and segment. Codes of one key are one segment; segments are in ascending order of their keys;
    a code without meaning is void.
    """
    table = dict(sorted(meaning[code] for code in runs.ids.tolist() if code in meaning))
    number = {key: n for n, key in enumerate(table, start=1)}
    new = [number[meaning[code][0]] if code in meaning else 0 for code in runs.ids.tolist()]
    segments = np.repeat(np.array(new, dtype=np.int32)[runs.which], runs.lengths).reshape(runs.shape)
    return segments, dict(enumerate(table.values(), start=1))


def _other_sizes(sizes: Mapping[Path, tuple[int, ...]], id: str) -> list[Problem]:
    """One problem for each file whose picture is not as large as the first file's."""
    if not sizes:
        return []
    (first, (height, width)), *others = sizes.items()
    return [
        Problem(path, "size", f"is {size[0]}x{size[1]}, {first.name} {height}x{width} (height x width)", id)
        for path, size in others
        if size != (height, width)
    ]


def _stamp(path: Path) -> bytes:
    try:
        state = path.stat()
    except OSError as error:
        raise FaultError(Problem(path, "missing", f"cannot be read ({error.strerror})")) from None
    return f"{path.name} {state.st_size} {state.st_mtime_ns}\n".encode()

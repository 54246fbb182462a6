"""Reader of any dataset in COCO's panoptic form: a json, a folder of PNGs, images, and perhaps COCO instances.

The format is described at cocodataset.org (panoptic segmentation) and in panopticapi. Imports no torch.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench.data.decoding import rgb
from bench.data.native.coco_instances import read_instances
from bench.data.native.coco_listing import Listing, read_categories, read_listing, read_segments
from bench.data.native.coco_segments import Runs, problems_of, renumbered
from bench.data.native.file_source import FileSource
from bench.data.native.json_rows import read_spans, spans
from bench.data.native.panoptic_png import read_pixels
from bench.data.native.pictures import inside, opened
from bench.data.problem import FaultError, Problem, collecting
from bench.data.scene import Scene
from bench.data.source import Survey, check_split
from bench.errors import UserError
from models.categories import Categories, Task


@dataclass(frozen=True)
class ImageFolder:
    """Where pictures lie, by the json's `file_name`.

    `by_city`: cityscapesscripts writes `<city>_<n>_<m>_gtFine_leftImg8bit.png` for the picture
    `<city>/<city>_<n>_<m>_leftImg8bit.png`.
    """

    folder: Path
    by_city: bool = False

    def place(self, file_name: object) -> object:
        """The picture's name below the folder, unchecked."""
        if not self.by_city or not isinstance(file_name, str):
            return file_name
        city = file_name.split("_", 1)[0]
        return f"{city}/{file_name.replace('_gtFine_leftImg8bit', '_leftImg8bit')}"


@dataclass(frozen=True)
class SplitFiles:
    """Where one split lies; `instances` is COCO's instances json or None."""

    panoptic_json: Path
    panoptic_folder: Path
    images: ImageFolder
    instances: Path | None = None


class CocoPanoptic(FileSource):
    """A `Source` over COCO-panoptic files. Image ids may be numbers or strings; here they are always strings.

    Segments are numbered in the json's order.
    """

    form = "COCO panoptic json"

    def __init__(self, name: str, splits: Mapping[str, SplitFiles], expected: Categories | None = None) -> None:
        """`expected`: the things and stuff that a dataset of this name has, in the order of their ids."""
        self.name = name
        self._expected = expected
        self.splits: dict[str, SplitFiles] = dict(splits)
        self._listings: dict[str, Listing] = {}

    @cached_property
    def categories(self) -> Categories:
        """Read from the smallest json that can be; every split is compared with it when it is opened."""
        by_size = sorted((files.panoptic_json for files in self.splits.values()), key=_size)
        faults = []
        for smallest in by_size:
            try:
                found = read_categories(smallest)
                break
            except FaultError as fault:
                faults.append(fault)
        else:
            raise faults[0]
        if self._expected is not None and found.is_thing != self._expected.is_thing:
            text = f"has {_kinds(found)}; {self.name} has {_kinds(self._expected)}, so give this dataset another name"
            raise FaultError(Problem(smallest, "category", text))
        return found

    def ids(self, split: str) -> list[str]:
        listing = self._listing(split)
        self._refuse(split, listing.problems)
        return list(listing.rows)

    def has_instances(self, split: str) -> bool:
        check_split(self, split)
        return self.splits[split].instances is not None

    def fingerprint(self, split: str) -> str:
        """sha256 over name, size and modification time of the split's json files."""
        check_split(self, split)
        files = self.splits[split]
        stamps: list[list[str | int]] = []
        for path in (files.panoptic_json, files.instances):
            if path is not None:
                state = _stat(path)
                stamps.append([path.name, state.st_size, state.st_mtime_ns])
        return hashlib.sha256(json.dumps(["coco-panoptic", stamps]).encode()).hexdigest()

    def for_task(self, task: Task) -> CocoPanoptic:
        return self

    def part(self, split: str, ids: Sequence[str]) -> CocoPanoptic:
        listing = self._listing(split)
        some = copy.copy(self)
        some._listings = {
            split: Listing(
                listing.categories,
                {id: listing.rows[id] for id in ids},
                None if listing.instances is None else {id: listing.instances.get(id, array("q")) for id in ids},
                [],
            )
        }
        return some

    def survey(self, split: str) -> Survey:
        try:
            listing = self._listing(split)
        except FaultError as fault:
            return Survey({}, [fault.problem])
        return Survey({id: str(row.picture) for id, row in listing.rows.items()}, listing.problems)

    def _listing(self, split: str) -> Listing:
        check_split(self, split)
        if split not in self._listings:
            files = self.splits[split]
            listing = read_listing(files.panoptic_json, files.instances)
            if listing.categories != self.categories:
                text = f"has other categories than the other split of {self.name}"
                raise FaultError(Problem(files.panoptic_json, "category", text))
            self._listings[split] = listing
        return self._listings[split]

    def _read(self, split: str, id: str, halve: bool = False) -> tuple[Scene | None, list[Problem]]:
        listing, files = self._listing(split), self.splits[split]
        if id not in listing.rows:
            raise UserError(f"{self.name} {split} has no image {id}; `bench data list` shows what there is")
        row, listed_in = listing.rows[id], files.panoptic_json
        problems: list[Problem] = []
        image = picture_size = runs = None
        with collecting(problems):
            path = inside(files.images.folder, files.images.place(row.picture), listed_in, id)
            with opened(path, id) as picture:
                picture_size = picture.height, picture.width
                image = rgb(picture, halve)
        with collecting(problems):
            runs = Runs.of_colours(read_pixels(inside(files.panoptic_folder, row.png, listed_in, id), id))
        with collecting(problems):
            segments_info = read_segments(listed_in, row, id)
            png = files.panoptic_folder / str(row.png)
            problems += problems_of(listed_in, segments_info, png, runs, self.categories, id)
        sizes = {"picture": picture_size, "PNG": None if runs is None else runs.shape, "json": row.size}
        known = {what: size for what, size in sizes.items() if size is not None}
        if len(set(known.values())) > 1:
            told = ", ".join(f"its {what} is {height}x{width}" for what, (height, width) in known.items())
            problems.append(Problem(listed_in, "size", f"image {id}: {told} (height x width)", id))
        instances = None
        if files.instances is not None and listing.instances is not None and known:
            size = next(known[what] for what in ("PNG", "json", "picture") if what in known)
            with collecting(problems):
                found = read_spans(files.instances, spans(listing.instances.get(id, ())), id)
                instances, bad = read_instances(files.instances, found, size, self.categories, id)
                problems += bad
        if problems or image is None or runs is None:
            return None, problems
        segments, table = renumbered(runs, segments_info, self.categories)
        return Scene(id, image, segments, table, instances), []


def _kinds(categories: Categories) -> str:
    things = sum(categories.is_thing)
    return f"{things} things and {len(categories) - things} stuff"


def _size(path: Path) -> int:
    return _stat(path).st_size


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError:
        text = f"no annotation json at {path}; check the dataset's folder with `bench data list`"
        raise FaultError(Problem(path, "missing", "no such file"), text) from None

"""COCO's panoptic json as rows by image id, read so that one bad row hides no other. Imports no torch.

What is long, `segments_info` and the instances, stays in the files; a listing knows where.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bench.data.native.coco_instances import instances_by_image
from bench.data.native.json_rows import Handler, Span, read_spans, scan
from bench.data.problem import FaultError, Problem
from models.categories import VOID, Categories


class Row(NamedTuple):
    """One image: the names of its picture and of its PNG, its (height, width) where given, where its annotation is."""

    picture: Any
    png: Any
    size: tuple[int, int] | None
    annotation: Span


@dataclass(frozen=True)
class Listing:
    """A split's json by image id; images named by a problem are left out.

    `instances`, where there is a json of them: start and end in it of each of an image's rows, one after the other.
    """

    categories: Categories
    rows: dict[str, Row]
    instances: dict[str, array[int]] | None
    problems: list[Problem]


def read_listing(path: Path, instances: Path | None) -> Listing:
    """Raises FaultError where a file as a whole is absent, unreadable or of another format."""
    images = _Rows(path, "image", ("id", "file_name"), _image)
    annotations = _Rows(path, "annotation for image", ("image_id", "file_name", "segments_info"), _annotation)
    categories: list[Any] = []
    scan(path, {"images": images.add, "annotations": annotations.add, "categories": _into(categories)})
    table = _table(path, categories)
    problems = [*images.problems(), *annotations.problems()]
    _one_sided(path, images.found, annotations.found, problems)
    own = None if instances is None else instances_by_image(instances, images.found, problems)
    bad = {problem.image for problem in problems}
    rows = {
        id: Row(picture, annotations.found[id][0], size, annotations.found[id][1])
        for id, (picture, size) in images.found.items()
        if id in annotations.found and id not in bad
    }
    return Listing(table, rows, own, problems)


def read_categories(path: Path) -> Categories:
    """The category table of a json. Raises FaultError where it is none, or longer than labels of one byte can tell."""
    rows: list[Any] = []
    scan(path, {"categories": _into(rows)})
    return _table(path, rows)


def read_segments(path: Path, row: Row, image: str) -> Any:
    """The `segments_info` of an image. Raises FaultError where the file is no longer the listed one."""
    return read_spans(path, [row.annotation], image)[0]["segments_info"]


class _Rows:
    """The rows of one list by their first key, what `keep` leaves of each. A row without a key is left out."""

    def __init__(
        self, path: Path, what: str, keys: Sequence[str], keep: Callable[[Mapping[str, Any], Span], tuple[Any, Any]]
    ) -> None:
        self.path, self.what, self.keys, self.keep = path, what, keys, keep
        self.found: dict[str, tuple[Any, Any]] = {}
        self.count = 0
        self.repeated: dict[str, None] = {}
        self.lacking: list[tuple[int, str, str | None]] = []  # row number, key, image

    def add(self, row: Any, span: Span) -> None:
        held = row if isinstance(row, Mapping) else {}
        id = str(held[self.keys[0]]) if self.keys[0] in held else None
        if lacking := [key for key in self.keys if key not in held]:
            self.lacking.append((self.count, lacking[0], id))
        elif id in self.found:
            self.repeated[str(id)] = None
        else:
            self.found[str(id)] = self.keep(row, span)
        self.count += 1

    def problems(self) -> list[Problem]:
        """Rows without a key and rows of one image; the latter are left out then. Raises FaultError where every row
        lacks a key: then the file is of another format."""
        if len(self.lacking) == self.count > 1:
            text = f"no {self.what} row has a '{self.lacking[0][1]}'; it is no COCO panoptic json"
            raise FaultError(Problem(self.path, "format", text))
        found = []
        for number, key, image in self.lacking:
            text = f"has a row without '{key}' ({self.what} row {number}); it is no COCO panoptic row"
            found.append(Problem(self.path, "format", text, image))
        for id in self.repeated:
            del self.found[id]
            found.append(Problem(self.path, "duplicate", f"has more than one {self.what} {id}; expected one", id))
        return found


def _image(row: Mapping[str, Any], _: Span) -> tuple[Any, tuple[int, int] | None]:
    height, width = row.get("height"), row.get("width")
    return row["file_name"], (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _annotation(row: Mapping[str, Any], span: Span) -> tuple[Any, Span]:
    return row["file_name"], span


def _into(rows: list[Any]) -> Handler:
    return lambda row, _: rows.append(row)


def _one_sided(path: Path, images: Mapping[str, Any], annotations: Mapping[str, Any], problems: list[Problem]) -> None:
    """Adds annotations without an image and images without an annotation, where nothing else was said of them."""
    told = {problem.image for problem in problems}
    for id in annotations:
        if id not in images and id not in told:
            problems.append(Problem(path, "missing", f"annotates image {id}, which its `images` lack", id))
    for id in images:
        if id not in annotations and id not in told:
            problems.append(Problem(path, "missing", f"has no annotation for image {id}; leave it out of `images`", id))


def _table(path: Path, rows: Sequence[Any]) -> Categories:
    try:
        categories = Categories.from_json(rows)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"the categories are not COCO panoptic categories ({error})"
        raise FaultError(Problem(path, "format", reason)) from None
    if len(categories) > VOID:
        raise FaultError(Problem(path, "format", f"has {len(categories)} categories; at most {VOID} are supported"))
    return categories

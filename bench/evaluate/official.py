"""Reading what others hand in: COCO panoptic json with its PNG folder, COCO results json, COCO instances json.

Formats: the COCO data set's "data format" and "results format" pages; run lengths as in
`cocodataset/cocoapi:common/maskApi.c` (`rleToString`). Every mistake is a `UserError` that names file, image and ids.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_codec

from bench.data.native.coco_instances import far_outside
from bench.data.native.panoptic_png import read_ids
from bench.errors import UserError
from models.categories import Categories

ImageId = int | str
SHOWN = 5  # ids listed in a message before "and N more"


@dataclass(frozen=True)
class PanopticFile:
    """A panoptic json: its PNGs lie in the folder named as the json without `.json`."""

    path: Path
    annotations: dict[ImageId, dict[str, Any]]
    categories: Categories | None

    @property
    def folder(self) -> Path:
        return self.path.with_suffix("")


def read_panoptic(path: Path, *, truth: bool) -> PanopticFile:
    """The json, checked for the keys used; a truth needs its categories, of a prediction they are not read."""
    content = _read_object(path, ["annotations", "categories"] if truth else ["annotations"])
    rows = _rows(path, content, "annotations", ["image_id", "file_name", "segments_info"])
    repeated = [image for image, times in Counter(row["image_id"] for row in rows).items() if times > 1]
    if repeated:
        raise UserError(f"{path}: more than one annotation for image {listed(repeated)}; expected one an image")
    for row in rows:
        if not isinstance(row["segments_info"], list):
            raise UserError(f"{path}: segments_info of image {row['image_id']} is no list")
        for segment in row["segments_info"]:
            _need_keys(path, f"a segment of image {row['image_id']}", segment, ["id", "category_id"])
    return PanopticFile(path, {row["image_id"]: row for row in rows}, _categories(path, content) if truth else None)


def read_segments(file: PanopticFile, image: ImageId) -> tuple[NDArray[np.int64], list[dict[str, Any]]]:
    """One image: (H, W) ids renumbered 1 .. n in the order of its segments_info, 0 = void, and the segments_info."""
    annotation = file.annotations[image]
    path = file.folder / str(annotation["file_name"])
    segments = annotation["segments_info"]
    ids = read_ids(path)
    known = _segment_ids(file.path, image, segments)
    order = np.argsort(known)
    numbers = np.concatenate([[0], order + 1])  # of void, then of the ids by size
    by_size = np.concatenate([[0], known[order]])
    places = np.minimum(np.searchsorted(by_size, ids), len(by_size) - 1)
    unknown = by_size[places] != ids
    if unknown.any():
        raise UserError(
            f"image {image}: {path} has segments {listed(np.unique(ids[unknown]).tolist())} that are not in "
            f"segments_info of {file.path}; add them there, or paint them 0 (void)"
        )
    renumbered = numbers[places]
    empty = known[np.bincount(renumbered.ravel(), minlength=len(known) + 1)[1:] == 0]
    if len(empty):
        raise UserError(
            f"image {image}: segments {listed(empty.tolist())} are in segments_info of {file.path} but have no pixel "
            f"in {path}; remove them there"
        )
    return renumbered, segments


def category_index(file: Path, image: ImageId, category: Any, categories: Categories) -> int:
    """The contiguous index of a category id that a file names."""
    index = categories.index_of.get(category) if isinstance(category, int) else None
    if index is None:
        raise UserError(f"{file}: category_id {category} (image {image}) is not a category of the truth")
    return index


def read_results(path: Path) -> dict[ImageId, list[dict[str, Any]]]:
    """A COCO results json (segm), by image, in the file's order."""
    rows = _load(path)
    if not isinstance(rows, list):
        raise UserError(f"{path}: expected a list of results, found {_kind(rows)}")
    keys = ["image_id", "category_id", "segmentation", "score"]
    grouped: dict[ImageId, list[dict[str, Any]]] = {}
    for number, row in enumerate(rows):
        _need_keys(path, f"result {number}", row, keys)
        score = row["score"]
        if isinstance(score, bool) or not isinstance(score, (int, float)) or not np.isfinite(score):
            raise UserError(f"{path}: the score of result {number} (image {row['image_id']}) is {score}, no number")
        grouped.setdefault(row["image_id"], []).append(row)
    return grouped


def read_instances(path: Path, images: Iterable[ImageId]) -> dict[ImageId, list[dict[str, Any]]]:
    """The annotations of a COCO instances json, for each of `images`, in the file's order."""
    content = _read_object(path, ["images", "annotations"])
    known = {row["id"] for row in _rows(path, content, "images", ["id"])}
    grouped: dict[ImageId, list[dict[str, Any]]] = {image: [] for image in images}
    missing = [image for image in grouped if image not in known]
    if missing:
        raise UserError(f"{path}: image {listed(missing)} of the panoptic truth is not among its images")
    for row in _rows(path, content, "annotations", ["image_id", "category_id", "segmentation"]):
        if row["image_id"] in grouped:
            grouped[row["image_id"]].append(row)
    return grouped


def rle_of(segmentation: Any, size: tuple[int, int], where: str) -> dict[str, Any]:
    """Polygons or run lengths -> compressed run lengths of an image of `size` (height, width)."""
    height, width = size
    if isinstance(segmentation, list) and segmentation:
        if not all(_is_polygon(polygon) for polygon in segmentation):
            raise UserError(f"{where}: a polygon needs the numbers of at least 3 points, x and y in turn")
        if far_outside(segmentation, size):
            raise UserError(f"{where}: a polygon has points far outside the {height}x{width} image (height x width)")
        rle: dict[str, Any] = rle_codec.merge(rle_codec.frPyObjects(segmentation, height, width))
        return rle
    if not isinstance(segmentation, Mapping) or not {"size", "counts"} <= segmentation.keys():
        raise UserError(f"{where}: segmentation is {_kind(segmentation)}; expected run lengths with size and counts")
    if segmentation["size"] != [height, width]:
        raise UserError(
            f"{where}: its mask has size {segmentation['size']}; the image is {[height, width]} (height, width)"
        )
    runs = _runs(segmentation["counts"])
    if runs is None or sum(runs) != height * width or min(runs) < 0:
        raise UserError(f"{where}: its run lengths do not fill the {height}x{width} pixels (height x width)")
    if isinstance(segmentation["counts"], list):
        rle = rle_codec.frPyObjects(dict(segmentation), height, width)
        return rle
    return dict(segmentation)


def listed(ids: Iterable[Any]) -> str:
    """'1, 2, 3, 4, 5 and 7 more'."""
    items = [str(item) for item in ids]
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return ", ".join(items[:SHOWN]) + more


def _is_polygon(points: Any) -> bool:
    return (
        isinstance(points, list)
        and len(points) >= 6
        and len(points) % 2 == 0
        and all(isinstance(value, (int, float)) for value in points)
    )


def _runs(counts: Any) -> list[int] | None:
    """The run lengths; None where they cannot be read. pycocotools itself reads past the end of a broken string."""
    if isinstance(counts, list):
        return counts if all(isinstance(run, int) for run in counts) else None
    if not isinstance(counts, str):
        return None
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        digit = ord(character) - 48  # 6 bits a character: 5 of the number, lowest first, and one for "goes on"
        if not 0 <= digit < 64:
            return None
        value |= (digit & 31) << shift
        shift += 5
        if not digit & 32:
            value -= (1 << shift) if digit & 16 else 0  # the highest bit is the sign
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))  # from the fourth on: the difference to two before
            value = shift = 0
    return runs if shift == 0 else None


def _segment_ids(path: Path, image: ImageId, segments: list[dict[str, Any]]) -> NDArray[np.int64]:
    ids = [segment["id"] for segment in segments]
    if len(set(ids)) != len(ids):
        raise UserError(f"{path}: segments_info of image {image} has an id twice; ids are unique within an image")
    if not all(isinstance(number, int) and 0 < number < 1 << 24 for number in ids):
        raise UserError(f"{path}: segments_info of image {image} has ids outside 1 .. 2**24 - 1; 0 is void")
    return np.array(ids, dtype=np.int64)


def _categories(path: Path, content: dict[str, Any]) -> Categories:
    rows = _rows(path, content, "categories", ["id", "name", "isthing"])
    try:
        return Categories.from_json(rows)
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: {error}") from None


def _rows(path: Path, content: dict[str, Any], name: str, keys: list[str]) -> list[dict[str, Any]]:
    rows = content[name]
    if not isinstance(rows, list):
        raise UserError(f"{path}: '{name}' is {_kind(rows)}; expected a list")
    for number, row in enumerate(rows):
        _need_keys(path, f"entry {number} of '{name}'", row, keys)
    return rows


def _read_object(path: Path, keys: list[str]) -> dict[str, Any]:
    content = _load(path)
    _need_keys(path, "the json", content, keys)
    found: dict[str, Any] = content
    return found


def _need_keys(path: Path, what: str, content: Any, keys: list[str]) -> None:
    if not isinstance(content, dict):
        raise UserError(f"{path}: {what} is {_kind(content)}; expected an object with {', '.join(keys)}")
    missing = [key for key in keys if key not in content]
    if missing:
        raise UserError(f"{path}: {what} lacks {', '.join(missing)}; expected {', '.join(keys)}")
    if "image_id" in keys and not isinstance(content["image_id"], (int, str)):
        raise UserError(f"{path}: the image_id of {what} is {_kind(content['image_id'])}; expected a number or a text")


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"no file {path}; expected a json file") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # not json, or not text, or nested too deep
        raise UserError(f"{path} is not json: {error}") from None


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")

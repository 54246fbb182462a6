"""Reader of any dataset in COCO's panoptic form: a json, a folder of PNGs, images, and perhaps COCO instances.

The format is described at cocodataset.org (panoptic segmentation) and in panopticapi. Imports no torch.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from bench.data.coco_instances import compressed_rle, instances_by_image
from bench.data.panoptic_png import read_ids
from bench.data.scene import Instance, Scene
from bench.data.source import check_split
from bench.errors import UserError
from models.categories import VOID, Categories, Segment

MAX_SEGMENTS = 65535  # the prepared form keeps segment numbers in uint16


@dataclass(frozen=True)
class ImageFolder:
    """Where pictures lie, by the json's `file_name`.

    `by_city`: cityscapesscripts writes `<city>_<n>_<m>_gtFine_leftImg8bit.png` for the picture
    `<city>/<city>_<n>_<m>_leftImg8bit.png`.
    """

    folder: Path
    by_city: bool = False

    def path(self, file_name: str) -> Path:
        if not self.by_city:
            return self.folder / file_name
        city = file_name.split("_", 1)[0]
        return self.folder / city / file_name.replace("_gtFine_leftImg8bit", "_leftImg8bit")


@dataclass(frozen=True)
class SplitFiles:
    """Where one split lies; `instances` is COCO's instances json or None."""

    panoptic_json: Path
    panoptic_folder: Path
    images: ImageFolder
    instances: Path | None = None


@dataclass(frozen=True)
class _Index:
    """A split's json by image id: file names, annotation rows, and instance rows where there are any."""

    file_names: dict[str, str]
    annotations: dict[str, dict[str, Any]]
    instances: dict[str, list[dict[str, Any]]] | None


class CocoPanoptic:
    """A `Source` over COCO-panoptic files. Image ids may be numbers or strings; here they are always strings."""

    def __init__(self, name: str, splits: Mapping[str, SplitFiles]) -> None:
        self.name = name
        self.splits: dict[str, SplitFiles] = dict(splits)
        self._indices: dict[str, _Index] = {}

    @cached_property
    def categories(self) -> Categories:
        """Read from the smallest json; every other split is compared with it when it is opened."""
        smallest = min((files.panoptic_json for files in self.splits.values()), key=_size)
        return _categories(smallest, read_json(smallest, ("categories",))["categories"])

    def ids(self, split: str) -> list[str]:
        return list(self._index(split).annotations)

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

    def part(self, split: str, ids: Sequence[str]) -> CocoPanoptic:
        index = self._index(split)
        some = copy.copy(self)
        some._indices = {
            split: _Index(
                {id: index.file_names[id] for id in ids},
                {id: index.annotations[id] for id in ids},
                None if index.instances is None else {id: index.instances.get(id, []) for id in ids},
            )
        }
        return some

    def scene(self, split: str, id: str) -> Scene:
        """Segments are renumbered 1 .. n in the json's order. Raises UserError where json, PNG and image disagree."""
        index = self._index(split)
        if id not in index.annotations:
            raise UserError(f"{self.name} {split} has no image {id}; `bench data list` shows what there is")
        files, row = self.splits[split], index.annotations[id]
        png = files.panoptic_folder / str(row["file_name"])
        if not png.is_file():
            raise self._broken(id, f"has no panoptic PNG at {png}")
        image = self._image(id, files.images.path(index.file_names[id]))
        raw = read_ids(png)
        if raw.shape != image.shape[:2]:
            found = f"{image.shape[0]}x{image.shape[1]}, its PNG {raw.shape[0]}x{raw.shape[1]} (height x width)"
            raise self._broken(id, f"is {found}")
        segments, table = self._segments(id, raw, row["segments_info"])
        instances = None
        if index.instances is not None:
            size = (image.shape[0], image.shape[1])
            instances = [self._instance(id, one, size) for one in index.instances.get(id, [])]
        return Scene(id, image, segments, table, instances)

    def _index(self, split: str) -> _Index:
        check_split(self, split)
        if split not in self._indices:
            self._indices[split] = self._read_index(split)
        return self._indices[split]

    def _read_index(self, split: str) -> _Index:
        files = self.splits[split]
        whole = read_json(files.panoptic_json, ("images", "annotations", "categories"))
        if _categories(files.panoptic_json, whole["categories"]) != self.categories:
            raise UserError(f"{files.panoptic_json} has other categories than the other split of {self.name}")
        try:
            file_names = _unique(
                files.panoptic_json, "image", ((row["id"], row["file_name"]) for row in whole["images"])
            )
            rows = ((row["image_id"], _with_keys(row)) for row in whole["annotations"])
            annotations = _unique(files.panoptic_json, "annotation for image", rows)
        except (KeyError, TypeError) as error:
            raise UserError(f"{files.panoptic_json} has a row without {error}; it is no COCO panoptic json") from None
        self._same_images(files.panoptic_json, file_names, annotations)
        ordered = {id: annotations[id] for id in file_names}
        instances = None
        if files.instances is not None:
            content = read_json(files.instances, ("annotations",))
            instances = instances_by_image(files.instances, content["annotations"], set(ordered))
        return _Index(file_names, ordered, instances)

    def _same_images(self, path: Path, images: Mapping[str, Any], annotations: Mapping[str, Any]) -> None:
        if nowhere := [id for id in annotations if id not in images]:
            raise UserError(f"{path} annotates image {nowhere[0]}, which its `images` lack ({len(nowhere)} such)")
        if bare := [id for id in images if id not in annotations]:
            raise UserError(
                f"{path} has no annotation for image {bare[0]} ({len(bare)} such); leave them out of `images`"
            )

    def _image(self, id: str, path: Path) -> NDArray[np.uint8]:
        try:
            with Image.open(path) as picture:
                return np.asarray(picture.convert("RGB"), dtype=np.uint8)
        except FileNotFoundError:
            raise self._broken(id, f"has no picture at {path}") from None
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
            raise self._broken(id, f"has an unreadable picture at {path} ({error})") from None

    def _segments(
        self, id: str, raw: NDArray[np.int32], infos: Sequence[Mapping[str, Any]]
    ) -> tuple[NDArray[np.int32], dict[int, Segment]]:
        starts, present, which = _runs(raw)
        listed = [int(info["id"]) for info in infos]
        if len(set(listed)) != len(listed):
            raise self._broken(id, f"lists a segment id twice: {_some({i for i in listed if listed.count(i) > 1})}")
        if unlisted := set(present.tolist()) - set(listed) - {0}:
            raise self._broken(id, f"has PNG ids without an entry in the json: {_some(unlisted)}")
        if unseen := set(listed) - set(present.tolist()):
            raise self._broken(id, f"lists segment ids that its PNG lacks: {_some(unseen)}")
        if len(listed) > MAX_SEGMENTS:
            raise self._broken(id, f"has {len(listed)} segments, more than {MAX_SEGMENTS}")
        number = {0: 0} | {segment: n for n, segment in enumerate(listed, start=1)}
        new = np.array([number[value] for value in present.tolist()], dtype=np.int32)
        lengths = np.diff(np.append(starts, raw.size))
        segments = np.repeat(new[which], lengths).reshape(raw.shape)
        return segments, {n: self._segment(id, info) for n, info in enumerate(infos, start=1)}

    def _segment(self, id: str, info: Mapping[str, Any]) -> Segment:
        category = self._category(id, info)
        return Segment(category, self.categories.is_thing[category], bool(info.get("iscrowd", 0)))

    def _instance(self, id: str, row: Mapping[str, Any], size: tuple[int, int]) -> Instance:
        try:
            rle = compressed_rle(row["segmentation"], size)
        except (ValueError, TypeError, KeyError) as error:
            raise self._broken(id, f"has an instance whose mask cannot be read ({error})") from None
        return Instance(self._category(id, row), bool(row.get("iscrowd", 0)), rle)

    def _category(self, id: str, row: Mapping[str, Any]) -> int:
        found = row.get("category_id")
        if found not in self.categories.index_of:
            raise self._broken(id, f"has category id {found}, which the json's `categories` lack")
        return self.categories.index_of[found]

    def _broken(self, id: str, what: str) -> UserError:
        return UserError(f"{self.name} image {id} {what}; run `bench data verify {self.name}`")


def read_json(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    """A json object with these keys. Raises UserError where the file is absent, no json, or lacks one."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"no annotation json at {path}; check the dataset's folder with `bench data list`") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not readable json ({error}); fetch it again") from None
    lacking = [key for key in keys if not isinstance(content, dict) or key not in content]
    if lacking:
        raise UserError(f"{path} lacks {', '.join(lacking)}; expected a COCO json with {', '.join(keys)}")
    return dict(content)


def _categories(path: Path, rows: Sequence[Mapping[str, Any]]) -> Categories:
    try:
        categories = Categories.from_json(rows)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: the categories are not COCO panoptic categories ({error})") from None
    if len(categories) > VOID:
        raise UserError(f"{path} has {len(categories)} categories; at most {VOID} are supported")
    return categories


def _unique(path: Path, what: str, rows: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for id, value in rows:
        if str(id) in found:
            raise UserError(f"{path} has more than one {what} {id}; expected one")
        found[str(id)] = value
    return found


def _with_keys(row: dict[str, Any]) -> dict[str, Any]:
    return {"file_name": row["file_name"], "segments_info": row["segments_info"]}


def _runs(raw: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """Runs of equal ids in row order: where each starts, the ids there are, which of them each run has.

    Sorting a few thousand runs instead of every pixel is about ten times faster.
    """
    flat = raw.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1]).astype(np.int64)
    present, which = np.unique(flat[starts], return_inverse=True)
    return starts, present, which


def _some(ids: set[int]) -> str:
    shown = sorted(ids)[:5]
    return ", ".join(map(str, shown)) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")


def _size(path: Path) -> int:
    return _stat(path).st_size


def _stat(path: Path) -> Any:
    try:
        return path.stat()
    except OSError:
        raise UserError(f"no annotation json at {path}; check the dataset's folder with `bench data list`") from None

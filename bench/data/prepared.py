"""The prepared form: what every run reads, made once for each dataset, split and size. Imports no torch.

A folder `<root>/<dataset>/<split>-<H>x<W>[-n<limit>]-<fingerprint>/` with
    images.npy         (N, H, W, 3) uint8 RGB
    segments.npy       (N, H, W) uint16, the segment's number in its image, 0 = void
    segments.parquet   image, segment, category, isthing, iscrowd, area, x, y, w, h: measured at this size
    instances.parquet  image, category, iscrowd, area, x, y, w, h, height, width, counts: only where the dataset has
                       instances of its own
    manifest.json      what it was made of, and the hashes that prove two splits identical
The manifest is written last and the folder renamed into place, so it is either whole or not there.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray

from bench.data import tables
from bench.data.resize import RULE
from bench.data.scene import Instance
from bench.data.source import Source
from bench.data.writing import CHUNK, IMAGES, SEGMENTS, Filled, fill
from bench.errors import UserError
from models.categories import Categories, Segment

FORMAT = 1  # goes up whenever the meaning of a file changes
MANIFEST, SEGMENT_TABLE, INSTANCE_TABLE = "manifest.json", "segments.parquet", "instances.parquet"
OWN_INSTANCES, THING_SEGMENTS = "instances", "panoptic things"  # what serves as instance truth


class Prepared:
    """One prepared split, read by memory map. `images` (N, H, W, 3) uint8, `segments` (N, H, W) uint16."""

    def __init__(self, folder: Path) -> None:
        """Opens the manifest only; arrays and tables are opened when first used. Raises UserError if not whole."""
        self.folder = folder
        try:
            self.manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
        except FileNotFoundError:
            raise UserError(f"no prepared data at {folder}; run `bench data prepare`") from None
        except (OSError, ValueError) as error:
            raise UserError(f"prepared data at {folder} is not whole ({error}); remove that folder") from None
        if self.manifest.get("format") != FORMAT:
            found = self.manifest.get("format")
            raise UserError(f"{folder} has format {found}, expected {FORMAT}; remove that folder")
        self.categories = Categories.from_json(self.manifest["categories"])
        self.size: tuple[int, int] = (self.manifest["size"][0], self.manifest["size"][1])

    @property
    def dataset(self) -> str:
        return str(self.manifest["dataset"])

    @property
    def split(self) -> str:
        return str(self.manifest["split"])

    @property
    def ids(self) -> list[str]:
        ids: list[str] = self.manifest["ids"]
        return ids

    @property
    def split_hash(self) -> str:
        """sha256 over what decides the truth: ids, size, categories, segments, instances; not the pixels."""
        return str(self.manifest["split_hash"])

    @property
    def instance_truth(self) -> str:
        """Which annotation serves as instance truth: "instances" or "panoptic things"."""
        return str(self.manifest["instance_truth"])

    @cached_property
    def images(self) -> NDArray[np.uint8]:
        return self._array(IMAGES)

    @cached_property
    def segments(self) -> NDArray[np.uint16]:
        return self._array(SEGMENTS)

    @cached_property
    def segment_rows(self) -> tables.Rows:
        """The whole segment table, (rows, 10) int32 in `tables.SEGMENT_COLUMNS`, sorted by image and segment."""
        return tables.read(self.folder / SEGMENT_TABLE, tables.SEGMENT_COLUMNS)

    @cached_property
    def instance_rows(self) -> tables.Rows | None:
        """The whole instance table in `tables.INSTANCE_COLUMNS`, sorted by image; None where there is none."""
        if self.instance_truth != OWN_INSTANCES:
            return None
        return tables.read(self.folder / INSTANCE_TABLE, tables.INSTANCE_COLUMNS)

    def __len__(self) -> int:
        return len(self.manifest["ids"])

    def table(self, image: int) -> dict[int, Segment]:
        """The segments of one image that have a pixel at this size."""
        return tables.segments_of(self.segment_rows, self.segment_bounds(image))

    def segment_bounds(self, image: int) -> slice:
        """Which rows of the segment table are this image's."""
        return slice(int(self._segment_starts[image]), int(self._segment_starts[image + 1]))

    def instances(self, image: int) -> list[Instance] | None:
        """The dataset's own instances of one image at this size; None where its thing segments serve."""
        rows = self.instance_rows
        if rows is None:
            return None
        return tables.instances_of(
            rows, slice(int(self._instance_starts[image]), int(self._instance_starts[image + 1]))
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return Prepared, (self.folder,)  # a worker process opens the files itself

    @cached_property
    def _segment_starts(self) -> NDArray[np.int64]:
        return tables.starts(self.segment_rows, len(self))

    @cached_property
    def _instance_starts(self) -> NDArray[np.int64]:
        rows = self.instance_rows
        return tables.starts(rows or tables.join((), len(tables.INSTANCE_COLUMNS)), len(self))

    def _array(self, name: str) -> NDArray[Any]:
        try:
            return np.load(self.folder / name, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise UserError(
                f"{self.folder / name} cannot be read ({error}); remove its folder, prepare again"
            ) from None


def load(folder: Path) -> Prepared:
    """Opens a prepared folder. Raises UserError where it is absent, not whole, or of another format."""
    return Prepared(folder)


def prepared_folder(source: Source, split: str, size: tuple[int, int], limit: int | None, root: Path) -> Path:
    """Where this preparation lies or will lie; `size` is (height, width)."""
    made_of = f"{FORMAT} {RULE} {source.fingerprint(split)}"
    mark = hashlib.sha256(made_of.encode()).hexdigest()[:8]
    part = "" if limit is None else f"-n{limit}"
    return root / source.name / f"{split}-{size[0]}x{size[1]}{part}-{mark}"


def existing(source: Source, split: str, size: tuple[int, int], limit: int | None, root: Path) -> Prepared | None:
    """The preparation if it is already there; opens no annotation, so it takes milliseconds."""
    folder = prepared_folder(source, split, size, limit, root)
    return Prepared(folder) if (folder / MANIFEST).is_file() else None


def chosen_ids(ids: list[str], limit: int | None) -> list[str]:
    """The `limit` ids with the smallest sha256, in their old order: smaller choices lie within larger ones."""
    if limit is None:
        return ids
    if limit < 1:
        raise UserError(f"the limit on images is {limit}; expected 1 or more")
    kept = set(sorted(ids, key=lambda id: hashlib.sha256(id.encode()).hexdigest())[:limit])
    return [id for id in ids if id in kept]


def prepare(
    source: Source,
    split: str,
    size: tuple[int, int],
    limit: int | None,
    root: Path,
    progress: Callable[[int, int], None] | None = None,
    processes: int | None = None,
) -> Prepared:
    """Makes the prepared form of a split at (height, width), or returns at once where it is there.

    `progress(done, total)` is called after each chunk; `processes` None means one a core, fewer for few images. The
    processes are spawned: a script that calls this needs the `if __name__ == "__main__"` guard. Raises UserError where
    the dataset's files disagree; then, and when interrupted, nothing is left behind.
    """
    found = existing(source, split, size, limit, root)
    if found is not None:
        return found
    ids = chosen_ids(source.ids(split), limit)
    if not ids:
        raise UserError(f"{source.name} {split} has no images; check the dataset's folder")
    folder = prepared_folder(source, split, size, limit, root)
    draft = folder.with_name(f".{folder.name}.{os.getpid()}-{secrets.token_hex(4)}")
    draft.mkdir(parents=True)
    try:
        filled = fill(source, split, ids, size, draft, processes or _processes(len(ids)), progress)
        _describe(source, split, ids, size, draft, filled)
        return _put_in_place(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _describe(source: Source, split: str, ids: list[str], size: tuple[int, int], draft: Path, filled: Filled) -> None:
    own = source.has_instances(split)
    tables.write(draft / SEGMENT_TABLE, filled.segments, tables.SEGMENT_COLUMNS)
    if own:
        tables.write(draft / INSTANCE_TABLE, filled.instances, tables.INSTANCE_COLUMNS)
    segments = np.load(draft / SEGMENTS, mmap_mode="r")
    both = filled.segments, filled.instances if own else None
    manifest = {
        "format": FORMAT,
        "dataset": source.name,
        "split": split,
        "size": list(size),
        "categories": source.categories.to_json(),
        "ids": ids,
        "ids_sha256": tables.ids_hash(ids),
        "split_hash": tables.truth_hash(ids, size, source.categories, segments, both),
        "pixel_hash": tables.array_hash(np.load(draft / IMAGES, mmap_mode="r")),
        "fingerprint": source.fingerprint(split),
        "resize": RULE,
        "instance_truth": OWN_INSTANCES if own else THING_SEGMENTS,
        "segments_total": filled.segments_total,
        "segments_vanished": filled.segments_vanished,
        "instances_vanished": filled.instances_vanished if own else None,
        "versions": {"numpy": np.__version__, "pillow": PIL.__version__},
    }
    (draft / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _put_in_place(draft: Path, folder: Path) -> Prepared:
    """Renames; where another process was first, its folder, which is equal, is the one that stays."""
    try:
        draft.rename(folder)
    except OSError:
        if not (folder / MANIFEST).is_file():
            raise UserError(f"{folder} is there but not whole; remove it and run `bench data prepare` again") from None
    return Prepared(folder)


def _processes(images: int) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, images // (4 * CHUNK)))  # below four chunks each, starting them costs more

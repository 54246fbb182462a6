"""The two tables of the prepared form, segments and instances, and the hashes over them. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from bench.data.resize import measure
from bench.data.scene import Instance, Scene
from models.categories import Categories, Segment

SEGMENT_COLUMNS = ("image", "segment", "category", "isthing", "iscrowd", "area", "x", "y", "w", "h")
INSTANCE_COLUMNS = ("image", "category", "iscrowd", "area", "x", "y", "w", "h", "height", "width")  # and counts
FLAGS = ("isthing", "iscrowd")
_CHUNK = 256  # images hashed at a time


@dataclass(frozen=True)
class Rows:
    """Rows of either table: the whole numbers, (rows, columns) int32, and for instances each mask's `counts`."""

    numbers: NDArray[np.int32]
    counts: tuple[str, ...] = ()


def segment_rows(image: int, scene: Scene) -> NDArray[np.int32]:
    """(S, 10) int32 in SEGMENT_COLUMNS, ascending by segment; area and box measured on the pixels."""
    found = measure(scene.segments)
    rows = np.zeros((len(found.numbers), len(SEGMENT_COLUMNS)), dtype=np.int32)
    rows[:, 0], rows[:, 1], rows[:, 5], rows[:, 6:] = image, found.numbers, found.areas, found.boxes
    rows[:, 2:5] = np.array([scene.table[n] for n in found.numbers.tolist()], dtype=np.int32).reshape(-1, 3)
    return rows


def instance_rows(image: int, scene: Scene) -> Rows:
    """(N, 10) int32 in INSTANCE_COLUMNS and the N `counts`, in the dataset's order."""
    instances = scene.instances or []
    rows = np.zeros((len(instances), len(INSTANCE_COLUMNS)), dtype=np.int32)
    for row, instance in zip(rows, instances, strict=True):
        row[:3] = image, instance.category, instance.is_crowd
        row[3] = coco_mask.area(instance.rle)
        row[4:8] = coco_mask.toBbox(instance.rle)
        row[8:] = instance.rle["size"]
    return Rows(rows, tuple(instance.rle["counts"] for instance in instances))


def join(parts: Iterable[Rows], columns: int) -> Rows:
    parts = list(parts)
    numbers = np.concatenate([np.zeros((0, columns), np.int32), *(part.numbers for part in parts)])
    return Rows(numbers, tuple(counts for part in parts for counts in part.counts))


def write(path: Path, rows: Rows, columns: tuple[str, ...]) -> None:
    """One parquet file; the flags are booleans, instances have a text column `counts` besides."""
    content = {
        name: pa.array(rows.numbers[:, n].astype(bool) if name in FLAGS else rows.numbers[:, n])
        for n, name in enumerate(columns)
    }
    if columns is INSTANCE_COLUMNS:
        content["counts"] = pa.array(rows.counts, type=pa.string())
    pq.write_table(pa.table(content), path)


def read(path: Path, columns: tuple[str, ...]) -> Rows:
    table = pq.read_table(path)
    numbers = np.stack([np.asarray(table[name].to_numpy(), dtype=np.int32) for name in columns], axis=1)
    return Rows(numbers, tuple(table["counts"].to_pylist()) if "counts" in table.column_names else ())


def starts(rows: Rows, images: int) -> NDArray[np.int64]:
    """(images + 1,) where each image's rows begin; rows are sorted by image."""
    return np.searchsorted(rows.numbers[:, 0], np.arange(images + 1))


def segments_of(rows: Rows, bounds: slice) -> dict[int, Segment]:
    """Rows of one image -> its table."""
    return {
        number: Segment(category, bool(thing), bool(crowd))
        for number, category, thing, crowd in rows.numbers[bounds, 1:5].tolist()
    }


def instances_of(rows: Rows, bounds: slice) -> list[Instance]:
    """Rows of one image -> its instances."""
    return [
        Instance(row[1], bool(row[2]), {"size": row[8:], "counts": counts})
        for row, counts in zip(rows.numbers[bounds].tolist(), rows.counts[bounds], strict=True)
    ]


def truth_hash(
    ids: list[str],
    size: tuple[int, int],
    categories: Categories,
    segments: NDArray[np.uint16],
    tables: tuple[Rows, Rows | None],
) -> str:
    """sha256 over all that decides the truth: ids, size, categories (without colours), segments and both tables."""
    names = [[entry.id, entry.name, entry.isthing] for entry in categories.entries]
    digest = hashlib.sha256(_canonical({"ids": ids, "size": list(size), "categories": names}))
    _update(digest, segments, "<u2")
    for rows in tables:
        digest.update(b"none" if rows is None else rows.numbers.astype("<i4").tobytes() + _canonical(rows.counts))
    return digest.hexdigest()


def array_hash(array: NDArray[np.uint8]) -> str:
    """sha256 over the bytes of an array."""
    digest = hashlib.sha256()
    _update(digest, array, "u1")
    return digest.hexdigest()


def ids_hash(ids: list[str]) -> str:
    return hashlib.sha256(_canonical(ids)).hexdigest()


def _update(digest: Any, array: NDArray[Any], dtype: str) -> None:
    for start in range(0, len(array), _CHUNK):
        digest.update(np.ascontiguousarray(array[start : start + _CHUNK], dtype=dtype).tobytes())


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

"""The two tables of the prepared form, segments and instances, and the hashes over them. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from bench.data.resize import measure
from bench.data.scene import Instance
from models.categories import Categories, Segment

SEGMENT_COLUMNS = ("image", "segment", "category", "isthing", "iscrowd", "area", "x", "y", "w", "h")
INSTANCE_COLUMNS = ("image", "category", "iscrowd", "area", "x", "y", "w", "h", "height", "width")  # and counts
FLAGS = ("isthing", "iscrowd")
_CHUNK = 256  # images hashed at a time
_MASKS = 255  # with more at a time pycocotools' `area` raises: it puts their number into a byte


@dataclass(frozen=True)
class Rows:
    """Rows of either table: the whole numbers, (rows, columns) int32, and for instances each mask's `counts`."""

    numbers: NDArray[np.int32]
    counts: tuple[str, ...] = ()


def segment_rows(segments: NDArray[np.uint16], tables: Sequence[Mapping[int, Segment]]) -> Rows:
    """(N, H, W) segments and the table of each -> (S, 10) int32 in SEGMENT_COLUMNS, ascending; area and box measured
    on the pixels."""
    found = measure(segments)
    rows = np.empty((len(found.numbers), len(SEGMENT_COLUMNS)), dtype=np.int32)
    rows[:, 0], rows[:, 1], rows[:, 5], rows[:, 6:] = found.maps, found.numbers, found.areas, found.boxes
    each = zip(found.maps.tolist(), found.numbers.tolist(), strict=True)
    rows[:, 2:5] = np.array([tables[image][number] for image, number in each], dtype=np.int32).reshape(-1, 3)
    return Rows(rows)


def instance_rows(instances: Sequence[tuple[int, Instance]]) -> Rows:
    """Instances, each with its image -> (N, 10) int32 in INSTANCE_COLUMNS and the N `counts`, in the same order."""
    rows = np.zeros((len(instances), len(INSTANCE_COLUMNS)), dtype=np.int32)
    for start in range(0, len(instances), _MASKS):
        some, part = instances[start : start + _MASKS], rows[start : start + _MASKS]
        rles = [one.rle for _, one in some]
        part[:, :3] = [(image, one.category, one.is_crowd) for image, one in some]
        part[:, 3], part[:, 4:8] = coco_mask.area(rles), coco_mask.toBbox(rles)
        part[:, 8:] = [rle["size"] for rle in rles]
    return Rows(rows, tuple(one.rle["counts"] for _, one in instances))


def join(parts: Iterable[Rows], columns: int) -> Rows:
    parts = list(parts)
    numbers = np.concatenate([np.zeros((0, columns), np.int32), *(part.numbers for part in parts)])
    return Rows(numbers, tuple(counts for part in parts for counts in part.counts))


@contextmanager
def writer(path: Path, columns: tuple[str, ...]) -> Iterator[Callable[[Rows], None]]:
    """A parquet file, a row group for each call; the flags are booleans, instances have a text `counts` besides."""
    fields = [pa.field(name, pa.bool_() if name in FLAGS else pa.int32()) for name in columns]
    if columns is INSTANCE_COLUMNS:
        fields.append(pa.field("counts", pa.string()))
    schema = pa.schema(fields)

    def write(rows: Rows) -> None:
        arrays = [pa.array(rows.numbers[:, n]).cast(fields[n].type) for n in range(len(columns))]
        if columns is INSTANCE_COLUMNS:
            arrays.append(pa.array(rows.counts, type=pa.string()))
        file.write_table(pa.Table.from_arrays(arrays, schema=schema))

    with pq.ParquetWriter(path, schema) as file:
        yield write


def read(path: Path, columns: tuple[str, ...]) -> Rows:
    return join(read_parts(path, columns), len(columns))


def read_parts(path: Path, columns: tuple[str, ...]) -> Iterator[Rows]:
    """The rows of a parquet file a row group at a time, so that memory does not grow with the table."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            numbers = np.stack([np.asarray(table[name].to_numpy(), dtype=np.int32) for name in columns], axis=1)
            yield Rows(numbers, tuple(table["counts"].to_pylist()) if "counts" in table.column_names else ())


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


class TruthHash:
    """sha256 over all that decides the truth, fed in parts: ids, size, categories (without colours), then the segments
    of all images, then the two tables."""

    def __init__(self, ids: list[str], size: tuple[int, int], categories: Categories) -> None:
        names = [[entry.id, entry.name, entry.isthing] for entry in categories.entries]
        self._digest = hashlib.sha256(_canonical({"ids": ids, "size": list(size), "categories": names}))

    def segments(self, segments: NDArray[np.uint16]) -> None:
        _update(self._digest, segments, "<u2")

    def table(self, parts: Callable[[], Iterable[Rows]] | None) -> None:
        """The rows of all images, in as many parts as may be; None where there is no such table."""
        if parts is None:
            self._digest.update(b"none")
            return
        for rows in parts():
            self._digest.update(rows.numbers.astype("<i4").tobytes())
        self._digest.update(b"[")
        texts = (_canonical(rows.counts)[1:-1] for rows in parts() if rows.counts)
        for number, text in enumerate(texts):
            self._digest.update(b"," + text if number else text)
        self._digest.update(b"]")

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def truth_hash(
    ids: list[str],
    size: tuple[int, int],
    categories: Categories,
    segments: NDArray[np.uint16],
    tables: tuple[Rows, Rows | None],
) -> str:
    """`TruthHash` of a whole split; `tables` are its segments' and its instances'."""
    found = TruthHash(ids, size, categories)
    found.segments(segments)
    for rows in tables:
        found.table(None if rows is None else lambda rows=rows: [rows])  # type: ignore[misc]
    return found.hexdigest()


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

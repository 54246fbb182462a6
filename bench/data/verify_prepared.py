"""Does a prepared folder still hold what its manifest says? Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from pycocotools import mask as coco_mask

from bench.data.prepared import Prepared
from bench.data.preparing import tables
from bench.data.resize import measure
from bench.errors import UserError


def verify(folder: Path) -> list[str]:
    """One line for each problem: shapes, hashes, tables against arrays. Empty where all is well."""
    return _told(folder, lambda prepared: _hashes(prepared) + _tables(prepared) + _instances(prepared))


def verify_hashes(folder: Path) -> list[str]:
    """Shapes and hashes alone: what proves that nothing has changed since it was prepared."""
    return _told(folder, _hashes)


def _told(folder: Path, check: Callable[[Prepared], list[str]]) -> list[str]:
    try:
        prepared = Prepared(folder)
        return _shapes(prepared) or check(prepared)
    except (UserError, OSError, KeyError, TypeError, ValueError, OverflowError, pa.ArrowException) as error:
        return [" ".join(str(error).split()) or type(error).__name__]


def _shapes(prepared: Prepared) -> list[str]:
    shape = (len(prepared), *prepared.size)
    return [
        f"{name} is {found.shape} {found.dtype}, expected {expected} {dtype}"
        for name, found, expected, dtype in (
            ("images.npy", np.asarray(prepared.images), (*shape, 3), "uint8"),
            ("segments.npy", np.asarray(prepared.segments), shape, "uint16"),
        )
        if found.shape != expected or found.dtype != dtype
    ]


def _hashes(prepared: Prepared) -> list[str]:
    both = prepared.segment_rows, prepared.instance_rows
    found = {
        "ids_sha256": tables.ids_hash(prepared.ids),
        "split_hash": tables.truth_hash(prepared.ids, prepared.size, prepared.categories, prepared.segments, both),
        "pixel_hash": tables.array_hash(prepared.images),
    }
    return [
        f"{name} is {value[:12]}, the manifest says {str(prepared.manifest[name])[:12]}"
        for name, value in found.items()
        if value != prepared.manifest[name]
    ]


def _tables(prepared: Prepared) -> list[str]:
    problems = []
    rows = prepared.segment_rows.numbers
    for image, id in enumerate(prepared.ids):
        own = rows[prepared.segment_bounds(image)]
        found = measure(prepared.segments[image])
        expected = np.concatenate([found.numbers[:, None], found.areas[:, None], found.boxes], axis=1)
        if not np.array_equal(own[:, [1, 5, 6, 7, 8, 9]], expected):
            problems.append(f"image {id}: segments, areas or boxes of the table are not those of the pixels")
        if len(own) and (own[:, 2].min() < 0 or own[:, 2].max() >= len(prepared.categories)):
            problems.append(f"image {id}: a category outside 0 .. {len(prepared.categories) - 1}")
    return problems


def _instances(prepared: Prepared) -> list[str]:
    rows = prepared.instance_rows
    if rows is None:
        return []
    problems = []
    for row, counts in zip(rows.numbers.tolist(), rows.counts, strict=True):
        image, area, size = row[0], row[3], row[8:]
        if tuple(size) != prepared.size or int(coco_mask.area({"size": size, "counts": counts})) != area or area < 1:
            problems.append(f"image {prepared.ids[image]}: an instance whose size or area is not that of its mask")
    return problems

"""`images.parquet`: what a run's metrics are made of, image by image, so that intervals need no second evaluation.

One tidy table with two kinds of rows; the columns of the other kind are null.

| column | of | meaning |
| --- | --- | --- |
| image | both | the image's id |
| kind | both | `class` or `detection` |
| category | both | contiguous index of the category |
| intersection, truth, predicted | class | labelled pixels |
| iou_sum, tp, fp, fn | class | matched segments' IoU; segments |
| instances | class | true instances that are not crowd: what AP's recall divides by |
| score | detection | confidence |
| match | detection | at each IoU threshold: matched to an instance |
| ignored | detection | at each IoU threshold: fell on a crowd, so it counts neither way |

Summed over images first, IoU = intersection / (truth + predicted - intersection) and PQ = iou_sum / (tp + fp / 2 +
fn / 2); each is averaged over the categories whose denominator is not 0.
A `class` row exists where one of its numbers is not 0, and every image has at least one row: an image without any
content has one with category -1 and zeros, so that a resample of images draws from all of them. The thresholds are
in the schema's metadata under `iou_thresholds` (a JSON list).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.evaluate.instance import DetectionTable
from bench.evaluate.panoptic import PanopticCounts
from bench.evaluate.semantic import pixels_per_class

if TYPE_CHECKING:
    import pyarrow as pa

NO_CATEGORY = -1


@dataclass(frozen=True)
class ImageRows:
    """The `class` rows of one image: category (n,), pixels (n, 3), iou_sum (n,), segments (n, 3), instances (n,)."""

    category: NDArray[np.int64]
    pixels: NDArray[np.int64]
    iou_sum: NDArray[np.float64]
    segments: NDArray[np.int64]
    instances: NDArray[np.int64]


def class_rows(matrix: NDArray[np.int64], counts: PanopticCounts, instances: NDArray[np.int64]) -> ImageRows:
    """The categories with content, from one image's confusion (K, K + 1), PQ counts and instances (K,)."""
    pixels = np.stack(pixels_per_class(matrix), axis=1)
    segments = np.stack([counts.tp, counts.fp, counts.fn], axis=1)
    (kept,) = np.nonzero(pixels.any(axis=1) | segments.any(axis=1) | (instances > 0))
    if not len(kept):
        zeros = np.zeros((1, 3), dtype=np.int64)
        return ImageRows(np.array([NO_CATEGORY]), zeros, np.zeros(1), zeros, np.zeros(1, dtype=np.int64))
    return ImageRows(kept, pixels[kept], counts.iou_sum[kept], segments[kept], instances[kept])


def write_images(
    path: Path,
    images: Sequence[str],
    rows: Sequence[ImageRows],
    detections: DetectionTable,
    iou_thresholds: Sequence[float],
) -> None:
    """Writes the table beside `path` and renames it. `rows` has one entry for each of `images`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(iou_thresholds)
    table = pa.concat_tables([_class_table(schema, images, rows), _detection_table(schema, images, detections)])
    part = path.with_name(f"{path.name}.part")
    pq.write_table(table, part, compression="zstd")
    part.replace(path)


def _schema(iou_thresholds: Sequence[float]) -> pa.Schema:
    import pyarrow as pa

    counts = ["intersection", "truth", "predicted", "tp", "fp", "fn", "instances"]
    fields = [
        ("image", pa.string()),
        ("kind", pa.string()),
        ("category", pa.int16()),
        *((name, pa.int64()) for name in counts[:3]),
        ("iou_sum", pa.float64()),
        *((name, pa.int64()) for name in counts[3:]),
        ("score", pa.float64()),
        ("match", pa.list_(pa.bool_())),
        ("ignored", pa.list_(pa.bool_())),
    ]
    return pa.schema(fields, metadata={"iou_thresholds": json.dumps([float(t) for t in iou_thresholds])})


def _class_table(schema: pa.Schema, images: Sequence[str], rows: Sequence[ImageRows]) -> pa.Table:
    pixels = np.concatenate([np.empty((0, 3), dtype=np.int64), *(row.pixels for row in rows)])
    segments = np.concatenate([np.empty((0, 3), dtype=np.int64), *(row.segments for row in rows)])
    names = np.repeat(np.array(images, dtype=object), [len(row.category) for row in rows])
    columns: dict[str, Any] = {
        "image": names.tolist(),
        "category": np.concatenate([np.empty(0, dtype=np.int64), *(row.category for row in rows)]),
        "intersection": pixels[:, 0],
        "truth": pixels[:, 1],
        "predicted": pixels[:, 2],
        "iou_sum": np.concatenate([np.empty(0), *(row.iou_sum for row in rows)]),
        "tp": segments[:, 0],
        "fp": segments[:, 1],
        "fn": segments[:, 2],
        "instances": np.concatenate([np.empty(0, dtype=np.int64), *(row.instances for row in rows)]),
    }
    return _table(schema, "class", columns, len(names))


def _detection_table(schema: pa.Schema, images: Sequence[str], detections: DetectionTable) -> pa.Table:
    columns: dict[str, Any] = {
        "image": [images[place] for place in detections.image],
        "category": detections.category,
        "score": detections.score,
        "match": _lists(detections.matched),
        "ignored": _lists(detections.ignored),
    }
    return _table(schema, "detection", columns, len(detections.image))


def _lists(flags: NDArray[np.bool_]) -> pa.ListArray:
    """(D, T) flags as D lists, without a Python object for each."""
    import pyarrow as pa

    offsets = np.arange(len(flags) + 1, dtype=np.int32) * flags.shape[1]
    return pa.ListArray.from_arrays(offsets, pa.array(flags.ravel()))


def _table(schema: pa.Schema, kind: str, columns: dict[str, Any], rows: int) -> pa.Table:
    """The columns given, the kind, and nulls for the rest."""
    import pyarrow as pa

    filled = {"kind": [kind] * rows, **columns}
    arrays = [
        _column(filled[field.name], field.type) if field.name in filled else pa.nulls(rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _column(values: Any, kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    return values if isinstance(values, pa.Array) else pa.array(values, type=kind)

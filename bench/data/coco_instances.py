"""COCO's instance annotation: polygons and run lengths to pycocotools' compressed form. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from bench.errors import UserError

MIN_POLYGON = 6  # numbers: three points; pycocotools would take four numbers for a box


def instances_by_image(
    path: Path, rows: Iterable[Mapping[str, Any]], images: set[str]
) -> dict[str, list[dict[str, Any]]]:
    """The rows of an instances json by image id, of these images only. Raises UserError for a row without keys."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        try:
            image = str(row["image_id"])
            kept = {key: row[key] for key in ("category_id", "segmentation")} | {"iscrowd": row.get("iscrowd", 0)}
        except KeyError as error:
            raise UserError(f"{path} has an annotation without {error}; it is no COCO instances json") from None
        if image in images:
            found.setdefault(image, []).append(kept)
    return found


def compressed_rle(segmentation: Any, size: tuple[int, int]) -> dict[str, Any]:
    """{"size": [H, W], "counts": str} from polygons, plain or compressed run lengths at (H, W) `size`.

    A mask without a polygon of three points is empty. Raises ValueError for run lengths of another size.
    """
    height, width = size
    if isinstance(segmentation, Mapping):
        if list(segmentation["size"]) != [height, width]:
            raise ValueError(f"run lengths of size {list(segmentation['size'])}, image {[height, width]}")
        if isinstance(segmentation["counts"], list):
            return text_rle(coco_mask.frPyObjects(dict(segmentation), height, width))
        return text_rle(dict(segmentation))
    polygons = [polygon for polygon in segmentation if len(polygon) >= MIN_POLYGON]
    if not polygons:
        return text_rle(coco_mask.encode(np.zeros((height, width), dtype=np.uint8, order="F")))
    return text_rle(coco_mask.merge(coco_mask.frPyObjects(polygons, height, width)))


def text_rle(rle: Mapping[str, Any]) -> dict[str, Any]:
    """The same mask with `counts` as str, which json and parquet can hold."""
    counts = rle["counts"]
    return {"size": [int(n) for n in rle["size"]], "counts": counts.decode() if isinstance(counts, bytes) else counts}

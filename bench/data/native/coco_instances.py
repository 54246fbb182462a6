"""COCO's instance annotation: polygons and run lengths to pycocotools' compressed form. Imports no torch."""

from __future__ import annotations

from array import array
from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from bench.data.native.json_rows import Span, scan
from bench.data.problem import Problem
from bench.data.scene import Instance
from models.categories import Categories

FAR = 10  # sides of the image
MIN_POLYGON = 6  # numbers: three points; pycocotools would take four numbers for a box


def instances_by_image(path: Path, images: Container[str], problems: list[Problem]) -> dict[str, array[int]]:
    """Where the rows of an instances json are, by image id, of these images only: start, end, start, end, ...

    A row without a key goes into `problems`. Raises FaultError where it is no COCO json.
    """
    found: dict[str, array[int]] = {}
    numbers = count()

    def add(row: Any, span: Span) -> None:
        number = next(numbers)
        keys = row if isinstance(row, Mapping) else {}
        lacking = [key for key in ("image_id", "category_id", "segmentation") if key not in keys]
        image = str(keys.get("image_id"))
        if lacking:
            text = f"has an annotation without '{lacking[0]}' (row {number}); it is no COCO instances row"
            problems.append(Problem(path, "format", text, image if "image_id" in keys else None))
        elif image in images:
            found.setdefault(image, array("q")).extend(span)

    scan(path, {"annotations": add})
    return found


def read_instances(
    path: Path, rows: Iterable[Mapping[str, Any]], size: tuple[int, int], categories: Categories, image: str
) -> tuple[list[Instance], list[Problem]]:
    """One image's instances at its (height, width), in the json's order, and all that is wrong with them."""
    instances, problems = [], []
    for row in rows:
        category = row["category_id"]
        if not isinstance(category, int) or category not in categories.index_of:
            text = f"image {image} has an instance of category id {category}, which the dataset lacks"
            problems.append(Problem(path, "category", text, image))
            continue
        try:
            rle = compressed_rle(row["segmentation"], size)
        except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
            text = f"image {image} has an instance whose mask cannot be read ({error})"
            problems.append(Problem(path, "format", text, image))
        else:
            instances.append(Instance(categories.index_of[category], bool(row.get("iscrowd", 0)), rle))
    return instances, problems


def compressed_rle(segmentation: Any, size: tuple[int, int]) -> dict[str, Any]:
    """{"size": [H, W], "counts": str} from polygons, plain or compressed run lengths at (H, W) `size`.

    A mask without a polygon of three points is empty. Raises ValueError for run lengths of another size.
    """
    height, width = size
    if isinstance(segmentation, Mapping):
        if list(segmentation["size"]) != [height, width]:
            raise ValueError(f"run lengths of size {list(segmentation['size'])}, image {[height, width]}")
        counts = segmentation["counts"]
        if isinstance(counts, list):
            if not all(isinstance(run, int) and run >= 0 for run in counts) or sum(counts) != height * width:
                raise ValueError(f"run lengths that do not add up to {height * width} pixels")
            return text_rle(coco_mask.frPyObjects(dict(segmentation), height, width))
        return text_rle(dict(segmentation))
    polygons = [polygon for polygon in segmentation if len(polygon) >= MIN_POLYGON]
    if not polygons:
        return text_rle(coco_mask.encode(np.zeros((height, width), dtype=np.uint8, order="F")))
    if far_outside(polygons, size):
        raise ValueError("a polygon with points far outside the image")
    return text_rle(coco_mask.merge(coco_mask.frPyObjects(polygons, height, width)))


def far_outside(polygons: Sequence[Any], size: tuple[int, int]) -> bool:
    """Whether some point lies FAR sides of the image away or nowhere: pycocotools walks each edge pixel by pixel, in
    memory that grows with its length.
    """
    points = np.concatenate([np.asarray(polygon, dtype=np.float64).ravel() for polygon in polygons])
    return not bool((np.abs(points) <= FAR * max(size)).all())


def text_rle(rle: Mapping[str, Any]) -> dict[str, Any]:
    """The same mask with `counts` as str, which json and parquet can hold."""
    counts = rle["counts"]
    return {"size": [int(n) for n in rle["size"]], "counts": counts.decode() if isinstance(counts, bytes) else counts}

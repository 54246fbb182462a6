"""Writes tiny datasets in the official layouts of COCO 2017, ADEChallengeData2016 and Cityscapes.

Each image has sky above road, a band without a label between them, one to three cars that overlap and a person, and
what is peculiar to its dataset: in COCO a crowd; in ADE20K a thing class without an instance and an instance over
another class; in Cityscapes a group, a caravan, and the borders that the evaluation ignores. The colours tell the
classes apart, so that a network can learn them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Mask = NDArray[np.bool_]
Size = tuple[int, int]
SIZE: Size = (48, 64)  # height, width
COUNTS = {"train": 4, "val": 2}
TABLES = Path(__file__).resolve().parents[2] / "bench" / "data" / "native" / "categories"
COLORS = {"void": 90, "sky": (90, 150, 230), "road": (120, 90, 130), "car": (30, 40, 150), "person": (210, 60, 60)}


@dataclass(frozen=True)
class Layout:
    """A dataset on disk: the folder that `--dataset NAME=folder` takes, and its image ids by split, in its order."""

    name: str
    folder: Path
    ids: dict[str, list[str]]


@dataclass(frozen=True)
class Drawing:
    """image (H, W, 3) uint8; sky, road and the band between them cover it; `things` lie over them, disjoint."""

    image: NDArray[np.uint8]
    sky: Mask
    road: Mask
    things: list[tuple[str, Mask]]  # ("car" or "person", its visible pixels)
    group: Mask  # cars that nobody told apart; lies on the road and on no thing


def draw(seed: int, size: Size = SIZE) -> Drawing:
    rng = np.random.default_rng(seed)
    height, width = size
    rows, columns = np.mgrid[0:height, 0:width]
    horizon = int(rng.integers(height // 3, height // 2))
    sky, road = rows < horizon, rows >= horizon + 2
    owner = np.zeros(size, dtype=np.int64)
    names = ["car"] * int(rng.integers(1, 4)) + ["person"]
    for number, name in enumerate(names, start=1):
        high, wide = (height // 6, width // 5) if name == "car" else (height // 3, width // 12)
        top = int(rng.integers(horizon - high // 2, height - height // 4 - high))
        left = int(rng.integers(0, width - wide))
        owner[top : top + high, left : left + wide] = number
    group = (rows >= height - height // 8) & (columns >= width // 2)
    things = [(name, mask) for n, name in enumerate(names, start=1) if (mask := (owner == n) & ~group).any()]
    image = np.full((*size, 3), COLORS["void"], dtype=np.int64)
    for name, mask in [("sky", sky), ("road", road), *things, ("car", group)]:
        image[mask] = COLORS[name]
    noise = rng.integers(-12, 13, image.shape)
    return Drawing(np.clip(image + noise, 0, 255).astype(np.uint8), sky, road, things, group)


def write_coco(root: Path, counts: dict[str, int] = COUNTS, size: Size = SIZE) -> Layout:
    """<root>/coco as the archives of COCO 2017 unpack: images, panoptic json and PNGs, instances json."""
    folder, ids = root / "coco", {}
    annotations = folder / "annotations"
    code = {"sky": 187, "road": 149, "car": 3, "person": 1}
    categories = json.loads((TABLES / "coco.json").read_text())["categories"]
    for split, drawings in _drawings(counts, size):
        panoptic, pictures = annotations / f"panoptic_{split}2017", folder / f"{split}2017"
        panoptic.mkdir(parents=True)
        pictures.mkdir()
        images, rows, instances = [], [], []
        ids[split] = [str(1000 * (split == "val") + 39 + 100 * n) for n in range(len(drawings))]
        for id, drawing in zip(ids[split], drawings, strict=True):
            stem = f"{int(id):012d}"
            things = [(code[name], 0, mask) for name, mask in drawing.things]
            crowd = [(code["car"], 1, drawing.group)]
            bare = ~np.any([mask for _, _, mask in things + crowd], axis=0)
            stuff = [(code[name], 0, mask & bare) for name, mask in (("sky", drawing.sky), ("road", drawing.road))]
            segments = np.zeros(size, dtype=np.int64)
            infos = []
            for category, iscrowd, mask in things + stuff + crowd:
                number = 65536 * (category % 7) + 256 * category + len(infos) + 1  # as COCO's: large, in no order
                segments[mask] = number
                infos.append({"id": number, "category_id": category, "iscrowd": iscrowd, **_measured(mask)})
            rgb = np.stack([segments % 256, segments // 256 % 256, segments // 65536], axis=-1)
            Image.fromarray(rgb.astype(np.uint8)).save(panoptic / f"{stem}.png")
            Image.fromarray(drawing.image).save(pictures / f"{stem}.jpg", quality=95)
            images.append({"id": int(id), "file_name": f"{stem}.jpg", "height": size[0], "width": size[1]})
            rows.append({"image_id": int(id), "file_name": f"{stem}.png", "segments_info": infos})
            instances += [_coco_instance(int(id), *one) for one in things + crowd]
        for number, row in enumerate(instances, start=1):
            row["id"] = number
        _write_json(panoptic.with_suffix(".json"), {"images": images, "annotations": rows, "categories": categories})
        things_only = [{k: c[k] for k in ("id", "name")} for c in categories if c["isthing"]]
        content = {"images": images, "annotations": instances, "categories": things_only}
        _write_json(annotations / f"instances_{split}2017.json", content)
    return Layout("coco", folder, ids)


def write_ade20k(root: Path, counts: dict[str, int] = COUNTS, size: Size = SIZE, *, instances: bool = True) -> Layout:
    """<root>/ADEChallengeData2016: images, annotations (0 = other, 1 .. 150), annotations_instance (R class, G number).

    The instance classes are numbered 1 .. 100: person is 4, car 9. The last car of an image is in the semantic
    annotation only; the person's instance is a pixel wider than its semantic region.
    """
    folder, ids = root / "ADEChallengeData2016", {}
    semantic_code, instance_code = {"car": 21, "person": 13}, {"car": 9, "person": 4}
    for split, drawings in _drawings(counts, size):
        long = {"train": "training", "val": "validation"}[split]
        places = {name: folder / name / long for name in ("images", "annotations", "annotations_instance")}
        for name, place in places.items():
            if instances or name != "annotations_instance":
                place.mkdir(parents=True)
        ids[split] = [f"ADE_{split}_{n:08d}" for n in range(1, len(drawings) + 1)]
        for id, drawing in zip(ids[split], drawings, strict=True):
            semantic = np.zeros(size, dtype=np.uint8)
            semantic[drawing.sky], semantic[drawing.road], semantic[drawing.group] = 3, 7, 21
            objects = np.zeros((*size, 3), dtype=np.uint8)
            last_car = max(n for n, (name, _) in enumerate(drawing.things) if name == "car")
            for n, (name, mask) in enumerate(drawing.things):
                semantic[mask] = semantic_code[name]
                if n != last_car:
                    objects[mask] = instance_code[name], n + 1, 0
            person = drawing.things[-1][1]
            wider = np.zeros_like(person)
            wider[:, 1:] = person[:, :-1]
            objects[wider & (objects[..., 1] == 0)] = instance_code["person"], len(drawing.things), 0
            Image.fromarray(drawing.image).save(places["images"] / f"{id}.jpg", quality=95)
            Image.fromarray(semantic).save(places["annotations"] / f"{id}.png")
            if instances:
                Image.fromarray(objects).save(places["annotations_instance"] / f"{id}.png")
    rows = json.loads((TABLES / "ade20k.json").read_text())["categories"]
    lines = [f"{row['id']}\t0.1\t10\t1\t{row['name']}, another name" for row in rows]
    (folder / "objectInfo150.txt").write_text("\n".join(["Idx\tRatio\tTrain\tVal\tName", *lines]) + "\n")
    scenes = [f"{id} street" for some in ids.values() for id in some]
    (folder / "sceneCategories.txt").write_text("\n".join(scenes) + "\n")
    return Layout("ade20k", folder, ids)


def write_cityscapes(root: Path, counts: dict[str, int] = COUNTS, size: Size = SIZE) -> Layout:
    """<root>/cityscapes: leftImg8bit and gtFine by split and city, labelIds (8 bit) and instanceIds (16 bit)."""
    folder, ids = root / "cityscapes", {}
    cities = {"train": ("aachen", "zurich"), "val": ("frankfurt", "munster")}
    code = {"sky": 23, "road": 7, "car": 26, "person": 24}
    for split, drawings in _drawings(counts, size):
        ids[split] = []
        for n, drawing in enumerate(drawings):
            city = cities[split][2 * n // len(drawings)]
            id = f"{city}_{n:06d}_000019"
            labels, instances = np.zeros(size, dtype=np.uint8), np.zeros(size, dtype=np.uint16)
            for name, mask in (("sky", drawing.sky), ("road", drawing.road)):
                labels[mask] = instances[mask] = code[name]
            numbers = {"car": 0, "person": 0}
            for name, mask in drawing.things:
                labels[mask], instances[mask] = code[name], 1000 * code[name] + numbers[name]
                numbers[name] += 1
            labels[drawing.group] = instances[drawing.group] = code["car"]  # cargroup: no number
            labels[:3, :9], instances[:3, :9] = 29, 29000  # a caravan: has a number, is not evaluated
            labels[-2:], instances[-2:] = 1, 1  # ego vehicle
            labels[:, :1], instances[:, :1] = 3, 3  # out of roi
            pictures, truth = folder / "leftImg8bit" / split / city, folder / "gtFine" / split / city
            pictures.mkdir(parents=True, exist_ok=True)
            truth.mkdir(parents=True, exist_ok=True)
            Image.fromarray(drawing.image).save(pictures / f"{id}_leftImg8bit.png")
            Image.fromarray(labels).save(truth / f"{id}_gtFine_labelIds.png")
            Image.fromarray(instances).save(truth / f"{id}_gtFine_instanceIds.png")
            ids[split].append(id)
    return Layout("cityscapes", folder, ids)


WRITERS: dict[str, Callable[..., Layout]] = {
    "coco": write_coco,
    "ade20k": write_ade20k,
    "cityscapes": write_cityscapes,
}


def _drawings(counts: dict[str, int], size: Size) -> list[tuple[str, list[Drawing]]]:
    return [(split, [draw(100 * (split == "val") + n, size) for n in range(many)]) for split, many in counts.items()]


def _measured(mask: Mask) -> dict[str, Any]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
    return {"area": int(mask.sum()), "bbox": [int(n) for n in box]}


def _coco_instance(image: int, category: int, iscrowd: int, mask: Mask) -> dict[str, Any]:
    """A polygon around a thing's box, so below what hides it, as COCO's may reach; run lengths for a crowd."""
    measured = _measured(mask)
    x, y, w, h = measured["bbox"]
    shape: Any = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    area = w * h
    if iscrowd:
        shape, area = {"size": list(mask.shape), "counts": _run_lengths(mask)}, measured["area"]
    row = {"image_id": image, "category_id": category, "iscrowd": iscrowd, "segmentation": shape}
    return row | {"area": area, "bbox": measured["bbox"]}


def _run_lengths(mask: Mask) -> list[int]:
    """COCO's: down the columns, zeros first."""
    flat = mask.ravel(order="F")
    borders = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths = np.diff([0, *borders, flat.size]).tolist()
    return [0, *lengths] if flat[0] else lengths


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps({"info": {"year": 2017}, "licenses": [], **content}))

"""A COCO-panoptic folder written from scratch: two images a split, crowd, void, string ids, instances."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.data.native.coco_panoptic import CocoPanoptic, ImageFolder, SplitFiles
from bench.data.native.panoptic_png import write_ids

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for tests.data.layouts: plain `pytest` has it not

CATEGORIES = [  # contiguous, sorted by id: grass 0, cat 1, dog 2
    {"id": 7, "name": "cat", "isthing": 1, "color": [220, 20, 60]},
    {"id": 3, "name": "grass", "isthing": 0, "color": [10, 200, 10]},
    {"id": 21, "name": "dog", "isthing": 1, "color": [0, 0, 142]},
]
SIZE = (40, 60)  # native height, width


@dataclass
class Folder:
    """One dataset on disk; change `content`, `instances` or the files, then `write` again."""

    root: Path
    split: str = "val"
    content: dict[str, Any] = field(default_factory=dict)
    instances: dict[str, Any] | None = None

    @property
    def json(self) -> Path:
        return self.root / "annotations" / f"panoptic_{self.split}.json"

    @property
    def pngs(self) -> Path:
        return self.json.with_suffix("")

    @property
    def images(self) -> Path:
        return self.root / self.split

    @staticmethod
    def ids() -> np.ndarray:
        """What the PNGs hold."""
        return native_ids()

    def annotate_instances(self, image: str | int) -> None:
        self.instances = toy_instances(image)

    def write(self) -> CocoPanoptic:
        self.json.write_text(json.dumps(self.content))
        path = self.json.with_name(f"instances_{self.split}.json")
        if self.instances is not None:
            path.write_text(json.dumps(self.instances))
        own = path if self.instances is not None else None
        return CocoPanoptic("toy", {self.split: SplitFiles(self.json, self.pngs, ImageFolder(self.images), own)})


def native_ids() -> np.ndarray:
    """Void above, grass below, a large cat, a dog of one pixel, a crowd of cats."""
    ids = np.zeros(SIZE, dtype=np.int64)
    ids[20:] = 300
    ids[10:30, 5:25] = 70000
    ids[0, 1] = 9
    ids[32:38, 40:56] = 5
    return ids


def make_folder(root: Path, split: str = "val", names: tuple[str | int, ...] = ("aachen_1", 139)) -> Folder:
    folder = Folder(root, split)
    folder.pngs.mkdir(parents=True)
    folder.images.mkdir(parents=True)
    ids = native_ids()
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for name in names:
        write_ids(folder.pngs / f"{name}.png", ids)
        picture = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        Image.fromarray(picture).save(folder.images / f"{name}.png")
        images.append({"id": name, "file_name": f"{name}.png", "height": SIZE[0], "width": SIZE[1]})
        infos = [
            {"id": 70000, "category_id": 7, "iscrowd": 0},
            {"id": 300, "category_id": 3, "iscrowd": 0},
            {"id": 9, "category_id": 21, "iscrowd": 0},
            {"id": 5, "category_id": 7, "iscrowd": 1},
        ]
        annotations.append({"image_id": name, "file_name": f"{name}.png", "segments_info": infos})
    folder.content = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    return folder


def toy_instances(image: str | int) -> dict[str, Any]:
    """A polygon cat 20 x 20, a crowd as plain run lengths, and a dog of one pixel; columns come first in COCO's RLE."""
    height, width = SIZE
    crowd = np.zeros(SIZE, dtype=np.uint8)
    crowd[:, 50:] = 1
    speck = [[1, 0, 2, 0, 2, 1, 1, 1]]
    return {
        "annotations": [
            {"image_id": image, "category_id": 7, "iscrowd": 0, "segmentation": [[5, 10, 25, 10, 25, 30, 5, 30]]},
            {
                "image_id": image,
                "category_id": 21,
                "iscrowd": 1,
                "segmentation": {"size": [height, width], "counts": [height * 50, height * 10]},
            },
            {"image_id": image, "category_id": 21, "iscrowd": 0, "segmentation": speck},
        ]
    }


@pytest.fixture(name="make_folder")
def make_folder_fixture() -> Callable[..., Folder]:
    return make_folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return make_folder(tmp_path / "toy")

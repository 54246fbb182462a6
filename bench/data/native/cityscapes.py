"""Reader of Cityscapes as its archives unpack: leftImg8bit and gtFine. Imports no torch.

`gtFine/<split>/<city>/<id>_gtFine_instanceIds.png` (16 bit): label id * 1000 + number for an object of its own, the
bare label id for all else. Read as cityscapesscripts' createPanopticImgs reads it: the 19 evaluated labels are the
categories, 8 of them things; a thing label without a number is a group, hence a crowd; all other labels are void.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.native.category_tables import table
from bench.data.native.coco_segments import Runs
from bench.data.native.label_folders import SPLITS, Files, LabelFolders, Listing, files_by_id, numbered, paired
from bench.data.native.pictures import opened
from bench.data.problem import FaultError, Problem
from bench.data.source import NoTruthError
from models.categories import Segment, Task

NUMBERED, BARE = "_gtFine_instanceIds.png", "_gtFine_labelIds.png"
LABELS = range(34)  # label ids, those that are not evaluated among them
LICENSE_PLATE = (255, 65535)  # label -1, in 8 and 16 bits
MODES = ("L", "P", "I", "I;16", "I;16B", "I;16L")


class Cityscapes(LabelFolders):
    """All tasks where there are instanceIds; the semantic task alone where there are only labelIds.

    Then each class of an image is one segment, and none is a thing: nobody counted its objects.
    """

    name = "cityscapes"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.regions = not any(has_labels(folder, split, NUMBERED) for split in SPLITS)
        self.form = f"Cityscapes gtFine {'labelIds' if self.regions else 'instanceIds'}"
        self.categories = table("cityscapes")

    def for_task(self, task: Task) -> Cityscapes:
        """labelIds and instanceIds are drawn from the same polygons: one truth serves every task."""
        if self.regions and task != "semantic":
            raise NoTruthError(
                self.name,
                f"the {task} task needs *{NUMBERED}, and {self.folder / 'gtFine'} has none for train or val",
                "unpack gtFine_trainvaltest.zip again; the semantic task runs without",
            )
        return self

    def _list(self, split: str) -> Listing:
        def found(kind: str, suffix: str) -> dict[str, Path]:
            return files_by_id(cities(self.folder / kind / split), suffix)

        kind, suffix = ("labelIds", BARE) if self.regions else ("instanceIds", NUMBERED)
        return paired(found("leftImg8bit", "_leftImg8bit.png"), [(f"{kind} PNG", found("gtFine", suffix))])

    def _read_labels(self, path: Path, id: str) -> NDArray[Any]:
        with opened(path, id) as picture:
            if picture.mode not in MODES:
                raise FaultError(
                    Problem(path, "format", f"is a picture of mode {picture.mode}, expected one channel", id)
                )
            return np.asarray(picture)

    def _truth(
        self, id: str, files: Files, labels: Sequence[NDArray[Any]], problems: list[Problem]
    ) -> tuple[NDArray[np.int32], dict[int, Segment]]:
        """Segments by ascending raw id, as createPanopticImgs lists them."""
        runs = Runs.of(labels[0])
        meaning = {}
        for code in runs.ids.tolist():
            bare = code < 1000
            label = code if bare else code // 1000
            index = self.categories.index_of.get(label)
            if index is not None:
                thing = self.categories.is_thing[index] and not self.regions
                meaning[code] = code, Segment(index, thing, thing and bare)
            elif label not in LABELS and code not in LICENSE_PLATE:
                problems.append(Problem(files.labels[0], "category", f"has the id {code}, of no label", id))
        return numbered(runs, meaning)


def cities(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def has_labels(folder: Path, split: str, suffix: str) -> bool:
    """Whether any city of the split has such a label PNG."""
    return any(True for city in cities(folder / "gtFine" / split) for _ in city.glob(f"*{suffix}"))

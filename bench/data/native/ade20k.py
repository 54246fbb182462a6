"""Reader of ADE20K as the MIT scene parsing benchmark gives it: the folder ADEChallengeData2016. Imports no torch.

`images/{training,validation}/*.jpg`; `annotations/...png`: 0 = other (void), 1 .. 150 = the lines of objectInfo150.txt;
`annotations_instance/...png` (Places Challenge 2017): R = instance category 1 .. 100, G = instance number, 0 = none.
CSAILVision/sceneparsing and CSAILVision/placeschallenge describe them.

The two annotations disagree at some pixels, so they serve for different tasks, as in the published practice
(facebookresearch/Mask2Former, datasets/prepare_ade20k_pan_seg.py):
- semantic: the semantic annotation alone, all 150 classes;
- panoptic and instance: the 50 stuff classes of the semantic annotation, the numbered instances over them. A pixel of
  a thing class that no instance covers is void.
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

LONG = {"train": "training", "val": "validation"}
INSTANCES = "annotations_instance"
_KIND, _NUMBER = 256, 65536  # a pixel's code: semantic label + 256 instance category + 65536 instance number


class Ade20k(LabelFolders):
    """Instance truth where the folder has `annotations_instance`; without it, or with `regions`, semantic truth only.

    Then each class of an image is one segment, and none is a thing: nobody counted its objects.
    """

    name = "ade20k"

    def __init__(self, folder: Path, regions: bool = False) -> None:
        super().__init__()
        self.folder = folder
        self.regions = regions or self.lacks_instances() is not None
        self.form = "ADE20K annotations" if self.regions else f"ADE20K annotations, {INSTANCES} over them"
        self.categories = table("ade20k")

    def lacks_instances(self) -> Path | None:
        """The first folder of instance annotations that is not there."""
        wanted = [self.folder / INSTANCES / LONG[split] for split in SPLITS]
        return next((folder for folder in wanted if not folder.is_dir()), None)

    def for_task(self, task: Task) -> Ade20k:
        if task == "semantic":
            return Ade20k(self.folder, regions=True)
        if lacking := self.lacks_instances():
            raise NoTruthError(
                self.name,
                f"the {task} task needs the instance annotation, and there is no {lacking}",
                f"fetch it with `bench data download {self.name}`; the semantic task runs without",
            )
        return Ade20k(self.folder)

    def _list(self, split: str) -> Listing:
        def found(kind: str, suffix: str) -> dict[str, Path]:
            return files_by_id([self.folder / kind / LONG[split]], suffix)

        labels = [("semantic annotation", found("annotations", ".png"))]
        if not self.regions:
            labels.append(("instance annotation", found(INSTANCES, ".png")))
        listing = paired(found("images", ".jpg"), labels)
        return Listing(listing.files, _other_classes(self.folder / "objectInfo150.txt") + listing.problems)

    def _read_labels(self, path: Path, id: str) -> NDArray[np.uint8]:
        wanted = ("RGB", "RGBA") if path.parent.parent.name == INSTANCES else ("L", "P")
        with opened(path, id) as picture:
            if picture.mode not in wanted:
                found = f"is a picture of mode {picture.mode}, expected {' or '.join(wanted)}"
                raise FaultError(Problem(path, "format", found, id))
            return np.asarray(picture, dtype=np.uint8)

    def _truth(
        self, id: str, files: Files, labels: Sequence[NDArray[Any]], problems: list[Problem]
    ) -> tuple[NDArray[np.int32], dict[int, Segment]]:
        """Stuff by ascending label, then instances by ascending number."""
        codes = labels[0].astype(np.int32)
        if not self.regions:
            objects = labels[1].astype(np.int32)
            codes += objects[..., 0] * _KIND + objects[..., 1] * _NUMBER
        runs = Runs.of(codes)
        found = runs.ids.tolist()
        is_thing = self.categories.is_thing
        if (largest := max(code % _KIND for code in found)) > len(is_thing):
            text = f"has the label {largest}, expected 0 (other) or 1 .. {len(is_thing)}"
            problems.append(Problem(files.labels[0], "category", text, id))
        instances = [] if self.regions else _instances(id, files.labels[1], found, problems)
        if problems:
            return codes, {}
        meaning = dict(instances)
        for code in found:
            label = code % _KIND
            if code < _NUMBER and label and (self.regions or not is_thing[label - 1]):
                meaning[code] = label, Segment(label - 1, False, False)
        return numbered(runs, meaning)


def _instances(
    id: str, path: Path, codes: Sequence[int], problems: list[Problem]
) -> list[tuple[int, tuple[int, Segment]]]:
    """What each code with an instance number means. The 100 instance categories are the 100 things in their order."""
    things = [index for index, thing in enumerate(table("ade20k").is_thing) if thing]
    kinds: dict[int, set[int]] = {}
    for code in codes:
        if code >= _NUMBER:
            kinds.setdefault(code // _NUMBER, set()).add(code // _KIND % _KIND)
    for number, found in kinds.items():
        if outside := sorted(kind for kind in found if not 1 <= kind <= len(things)):
            text = f"instance {number} has category {outside[0]}, expected 1 .. {len(things)}"
            problems.append(Problem(path, "category", text, id))
        elif len(found) > 1:
            text = f"instance {number} has more than one category: {', '.join(map(str, sorted(found)))}"
            problems.append(Problem(path, "category", text, id))
    if problems:
        return []
    kind_of = {number: min(found) for number, found in kinds.items()}
    return [
        (code, (code // _NUMBER + _KIND, Segment(things[kind_of[code // _NUMBER] - 1], True, False)))
        for code in codes
        if code >= _NUMBER
    ]


def _other_classes(path: Path) -> list[Problem]:
    """Whether the folder's own class list, where it has one, is that of this benchmark. Its first line is a header.

    Copies differ in separators and in the order of synonyms; one in common is enough.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    names = {}
    for line in lines:
        fields = line.replace(",", "\t", 4 if "\t" not in line else 0).split("\t")
        if fields[0].strip().isdigit():
            names[int(fields[0])] = {word.strip() for word in fields[-1].replace(";", ",").split(",")}
    entries = table("ade20k").entries
    differing = [e for e in entries if e.name not in names.get(e.id, set())]
    if not differing and len(names) == len(entries):
        return []
    what = f"{differing[0].id} is not {differing[0].name}" if differing else f"it has {len(names)} classes"
    return [Problem(path, "category", f"is not the list of the 150 benchmark classes: {what}")]

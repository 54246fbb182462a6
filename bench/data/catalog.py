"""The known datasets, where their files lie, and what to do where they do not. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.data.native.ade20k import LONG, Ade20k
from bench.data.native.category_tables import table
from bench.data.native.cityscapes import BARE, NUMBERED, Cityscapes, has_labels
from bench.data.native.coco_panoptic import CocoPanoptic, ImageFolder, SplitFiles
from bench.data.native.label_folders import SPLITS
from bench.data.native.scenes import Scenes
from bench.data.source import NoTruthError, Source
from bench.errors import UserError, unknown
from models.categories import Task

DATASETS = ("coco", "ade20k", "cityscapes", "scenes")


@dataclass(frozen=True)
class DataRoots:
    """Where the user keeps data: folders by dataset name, and one root below which the known layouts are sought."""

    paths: dict[str, Path] = field(default_factory=dict)
    root: Path | None = None


@dataclass(frozen=True)
class Missing:
    """A known dataset that is not here: what is missing and how to get it, one line each."""

    name: str
    what: str
    how: str


@dataclass(frozen=True)
class _Layout:
    """An official layout: the folders it may have below a root, how one is opened, and how to get it.

    `opened` gives the source, or in one line what the folder lacks.
    """

    folders: tuple[str, ...]
    opened: Callable[[Path], Source | str]
    how: str


def find(name: str, roots: DataRoots, task: Task | None = None) -> Source | Missing:
    """The dataset of this name, with the truth of `task` where one is given, or what is missing.

    Raises UserError for an unknown name, and for a path without the dataset or without that truth.
    """
    found = _find(name, roots)
    if task is None or isinstance(found, Missing):
        return found
    try:
        return found.for_task(task)
    except NoTruthError as error:
        if name in roots.paths:
            raise
        return Missing(name, error.what, error.how)


def _find(name: str, roots: DataRoots) -> Source | Missing:
    if name in roots.paths:
        if name == "scenes":
            raise UserError("scenes is drawn by the program; it takes no folder")
        return _at_path(name, roots.paths[name])
    if name == "scenes":
        return Scenes()
    if name not in LAYOUTS:
        raise unknown("dataset", name, (*DATASETS, *roots.paths))
    return _below_root(name, roots.root)


def _below_root(name: str, root: Path | None) -> Source | Missing:
    layout = LAYOUTS[name]
    if root is None:
        return Missing(name, "no data root is given", f"name it with --data-root or BENCH_DATA_ROOT; {layout.how}")
    folders = [root / folder for folder in layout.folders if (root / folder).is_dir()]
    if not folders:
        return Missing(name, f"there is no {' or '.join(str(root / f) for f in layout.folders)}", layout.how)
    tried = [_official(name, folder) for folder in folders]
    return next((found for found in tried if not isinstance(found, Missing)), tried[0])


def _official(name: str, folder: Path) -> Source | Missing:
    layout = LAYOUTS[name]
    found = layout.opened(folder)
    return Missing(name, found, layout.how) if isinstance(found, str) else found


def _at_path(name: str, path: Path) -> Source:
    if not path.is_dir():
        raise UserError(f"--dataset {name}={path}: there is no such folder")
    official = _official(name, path) if name in LAYOUTS else None
    if official is not None and not isinstance(official, Missing):
        return official
    try:
        expected = table(name) if name in LAYOUTS else None
        return CocoPanoptic(name, {split: _discover(path, split) for split in SPLITS}, expected)
    except UserError as error:
        reason = str(error) if official is None else f"{official.what}; {official.how}"
        raise UserError(f"--dataset {name}={path}: {reason}") from None


def _discover(path: Path, split: str) -> SplitFiles:
    """The files of one split of any COCO-panoptic folder, by the names in common use."""
    pattern = f"panoptic_*{split}*.json"
    places = [path / "annotations", path]
    found = next((hits for place in places if (hits := sorted(place.glob(pattern)))), [])
    if not found:
        raise UserError(f"no {pattern} in it or its annotations folder; expected COCO's panoptic form")
    if len(found) > 1:
        raise UserError(f"more than one {pattern}: {', '.join(hit.name for hit in found)}; leave one of them")
    panoptic = found[0]
    if not panoptic.with_suffix("").is_dir():
        raise UserError(f"no folder of panoptic PNGs at {panoptic.with_suffix('')}")
    rest = panoptic.stem.removeprefix("panoptic_")
    names = list(dict.fromkeys((rest, rest.rsplit("_", 1)[-1], split)))  # panoptic_things_val2017 -> val2017
    candidates = [base / name for name in names for base in (path, path / "images")]
    pictures = next((folder for folder in candidates if folder.is_dir()), None)
    if pictures is None:
        raise UserError(f"no images of {split}; expected one of {', '.join(str(folder) for folder in candidates)}")
    instances = (panoptic.with_name(f"instances_{name}.json") for name in names)
    own = next((json for json in instances if json.is_file()), None)
    return SplitFiles(panoptic, panoptic.with_suffix(""), ImageFolder(pictures), own)


def _coco(folder: Path) -> Source | str:
    def files(split: str) -> SplitFiles:
        annotations = folder / "annotations"
        stem, instances = f"panoptic_{split}2017", annotations / f"instances_{split}2017.json"
        beside = folder / stem  # where detectron2's users keep the PNGs
        pngs = beside if beside.is_dir() else annotations / stem
        own = instances if instances.is_file() else None
        return SplitFiles(annotations / f"{stem}.json", pngs, ImageFolder(folder / f"{split}2017"), own)

    return _panoptic("coco", files)


def _ade20k(folder: Path) -> Source | str:
    """The annotations as published come first, then somebody's panoptic json, then the semantic annotations alone."""
    wanted = [folder / kind / LONG[split] for kind in ("images", "annotations") for split in SPLITS]
    lacking = next((f"there is no {path}" for path in wanted if not path.is_dir()), None)
    if lacking is None and not (native := Ade20k(folder)).regions:
        return native

    def files(split: str) -> SplitFiles:
        stem = f"ade20k_panoptic_{split}"
        return SplitFiles(folder / f"{stem}.json", folder / stem, ImageFolder(folder / "images" / LONG[split]))

    converted = _panoptic("ade20k", files)
    return lacking or Ade20k(folder) if isinstance(converted, str) else converted


def _cityscapes(folder: Path) -> Source | str:
    """The label PNGs come first, then the panoptic json that cityscapesscripts makes of them: the same pixels."""
    pictures = [folder / "leftImg8bit" / split for split in SPLITS]
    if lacking := [path for path in pictures if not path.is_dir()]:
        return f"the images of {lacking[0].name} are not at {lacking[0]}"
    bare = [split for split in SPLITS if not has_labels(folder, split, NUMBERED)]
    if not bare:
        return Cityscapes(folder)

    def files(split: str) -> SplitFiles:
        stem = folder / "gtFine" / f"cityscapes_panoptic_{split}"
        return SplitFiles(stem.with_suffix(".json"), stem, ImageFolder(folder / "leftImg8bit" / split, by_city=True))

    converted = _panoptic("cityscapes", files)
    if isinstance(converted, str) and all(has_labels(folder, split, BARE) for split in SPLITS):
        return Cityscapes(folder)
    if isinstance(converted, str):
        return f"there is no *{NUMBERED} in {folder / 'gtFine' / bare[0]}/*"
    return converted


def _panoptic(name: str, files: Callable[[str], SplitFiles]) -> Source | str:
    splits = {split: files(split) for split in SPLITS}
    for split, one in splits.items():
        lacking = [path for path in (one.panoptic_json, one.panoptic_folder) if not path.exists()]
        if lacking:
            return f"there is no {lacking[0]}"
        if not one.images.folder.is_dir():
            return f"the images of {split} are not at {one.images.folder}"
    return CocoPanoptic(name, splits, table(name))


LAYOUTS = {
    "coco": _Layout(
        ("coco",),
        _coco,
        "run `bench data download coco`, or unpack train2017, val2017, annotations_trainval2017, "
        "panoptic_annotations_trainval2017 and the two PNG archives within it into <data root>/coco",
    ),
    "ade20k": _Layout(
        ("ade20k", "ADEChallengeData2016"),
        _ade20k,
        "run `bench data download ade20k`, or unpack ADEChallengeData2016 of the MIT scene parsing benchmark into "
        "<data root> and annotations_instance of the Places Challenge 2017 into it",
    ),
    "cityscapes": _Layout(
        ("cityscapes",),
        _cityscapes,
        "make an account at cityscapes-dataset.com, download gtFine_trainvaltest.zip and leftImg8bit_trainvaltest.zip, "
        "and unpack both into <data root>/cityscapes; `bench data download cityscapes` tells every step",
    ),
}

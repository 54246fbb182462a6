"""The known datasets, where their files lie, and what to do where they do not. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.data.coco_panoptic import CocoPanoptic, ImageFolder, SplitFiles
from bench.data.scenes import Scenes
from bench.data.source import Source
from bench.errors import UserError, unknown

DATASETS = ("coco", "ade20k", "cityscapes", "scenes")
SPLITS = ("train", "val")


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
    """An official layout: folders it may have below a root, its splits inside, and how to get it."""

    folders: tuple[str, ...]
    files: Callable[[Path, str], SplitFiles]
    how: str
    native: str = ""  # a pattern that is there when the dataset is, but not yet in panoptic form
    convert: str = ""


def find(name: str, roots: DataRoots) -> Source | Missing:
    """The dataset of this name, or what is missing. Raises UserError for an unknown name or a path without it."""
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
    splits = {split: layout.files(folder, split) for split in SPLITS}
    for split, files in splits.items():
        lacking = [path for path in (files.panoptic_json, files.panoptic_folder) if not path.exists()]
        if lacking and layout.native and next(folder.glob(layout.native), None) is not None:
            return Missing(name, f"{folder} is the native layout, its panoptic form lacks {lacking[0]}", layout.convert)
        if lacking:
            return Missing(name, f"there is no {lacking[0]}", layout.how)
        if not files.images.folder.is_dir():
            return Missing(name, f"the images of {split} are not at {files.images.folder}", layout.how)
    return CocoPanoptic(name, splits)


def _at_path(name: str, path: Path) -> Source:
    if not path.is_dir():
        raise UserError(f"--dataset {name}={path}: there is no such folder")
    official = _official(name, path) if name in LAYOUTS else None
    if official is not None and not isinstance(official, Missing):
        return official
    try:
        return CocoPanoptic(name, {split: _discover(path, split) for split in SPLITS})
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


def _coco(folder: Path, split: str) -> SplitFiles:
    annotations = folder / "annotations"
    instances = annotations / f"instances_{split}2017.json"
    return SplitFiles(
        annotations / f"panoptic_{split}2017.json",
        annotations / f"panoptic_{split}2017",
        ImageFolder(folder / f"{split}2017"),
        instances if instances.is_file() else None,
    )


def _ade20k(folder: Path, split: str) -> SplitFiles:
    stem = f"ade20k_panoptic_{split}"
    pictures = folder / "images" / {"train": "training", "val": "validation"}[split]
    return SplitFiles(folder / f"{stem}.json", folder / stem, ImageFolder(pictures))


def _cityscapes(folder: Path, split: str) -> SplitFiles:
    stem = folder / "gtFine" / f"cityscapes_panoptic_{split}"
    pictures = folder / "leftImg8bit" / split
    return SplitFiles(stem.with_suffix(".json"), stem, ImageFolder(pictures, by_city=True))


LAYOUTS = {
    "coco": _Layout(
        ("coco",),
        _coco,
        "from cocodataset.org unpack train2017, val2017, annotations_trainval2017, panoptic_annotations_trainval2017 "
        "(and the two PNG archives within it) into <data root>/coco",
    ),
    "ade20k": _Layout(
        ("ade20k", "ADEChallengeData2016"),
        _ade20k,
        "get ADEChallengeData2016 from the MIT scene parsing benchmark into <data root>, then make the panoptic json",
        "annotations/*/*.png",
        "the panoptic json is needed: make it with prepare_ade20k_pan_seg.py of the Mask2Former repository",
    ),
    "cityscapes": _Layout(
        ("cityscapes",),
        _cityscapes,
        "from cityscapes-dataset.com (with an account) unpack gtFine_trainvaltest and leftImg8bit_trainvaltest into "
        "<data root>/cityscapes, then run cityscapesscripts' createPanopticImgs",
        "gtFine/*/*/*_gtFine_instanceIds.png",
        "the panoptic json is needed: make it with cityscapesscripts' createPanopticImgs (csCreatePanopticImgs)",
    ),
}

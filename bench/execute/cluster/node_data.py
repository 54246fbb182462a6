"""The prepared data of a run on the machine that executes it: where the driver's are not seen there, they are made of
that machine's own files, and refused where they are not what the spec names. Imports no torch.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.cell import Cell
from bench.data.catalog import DataRoots, Missing, find
from bench.data.intact import assure
from bench.data.prepared import Prepared, load, prepare
from bench.data.preparing.assembling import MANIFEST
from bench.errors import UserError
from bench.files import sha256_of
from bench.spec import RunSpec


@dataclass(frozen=True)
class _Split:
    """A prepared split that a spec names: the hash of its truth, of `percent` of its images, and of its pixels."""

    split: str
    size: tuple[int, int]
    limit: int | None
    truth: str | None
    pixels: str | None
    percent: int = 100

    def check(self, found: Prepared) -> None:
        """Raises UserError."""
        if (found.fraction_hash(self.percent), found.manifest["pixel_hash"]) != (self.truth, self.pixels):
            raise UserError(
                f"{found.folder} is not the {self.split} split that was planned (another sha256): "
                f"its {found.dataset} has other files; copy the driver's dataset there"
            )


def with_data(cell: Cell, roots: DataRoots, prepared: Path, processes: int) -> Cell:
    """The cell with folders of this machine. `roots`: the driver's; `prepared`: where to make what is not here.

    Raises UserError where a dataset or a file of weights is not here, or is not the one of the spec.
    """
    _check_weights(cell)
    here = roots_here(roots)
    planned = [folder for folder in (cell.train, cell.val, *cell.others) if folder is not None]
    found: dict[Path, Path] = {}
    for folder, split in zip(planned, _splits(cell), strict=True):
        whole = _found(folder) or _made(cell.spec, split, here, prepared, processes)
        split.check(whole)
        found[folder] = whole.folder
    assure(found.values())
    return replace(
        cell,
        train=found[cell.train] if cell.train else None,
        val=found[cell.val] if cell.val else None,
        others=tuple(found[folder] for folder in cell.others),
        roots=here if cell.roots else None,
    )


def absolute(cell: Cell) -> Cell:
    """The cell with folders that mean the same in a process elsewhere."""
    return replace(
        cell,
        train=cell.train.resolve() if cell.train else None,
        val=cell.val.resolve() if cell.val else None,
        others=tuple(folder.resolve() for folder in cell.others),
    )


def absolute_roots(roots: DataRoots) -> DataRoots:
    paths = {name: path.resolve() for name, path in roots.paths.items()}
    return DataRoots(paths, roots.root.resolve() if roots.root else None)


def roots_here(roots: DataRoots) -> DataRoots:
    """The driver's folders as far as they are on this machine too; else its own BENCH_DATA_ROOT."""
    own = os.environ.get("BENCH_DATA_ROOT")
    candidates = (roots.root, Path(own) if own else None)
    root = next((path for path in candidates if path is not None and path.is_dir()), None)
    return DataRoots({name: path for name, path in roots.paths.items() if path.is_dir()}, root)


def _splits(cell: Cell) -> Sequence[_Split]:
    """What is behind the cell's folders: train, where it has one, val, others."""
    spec, budget = cell.spec, cell.spec.budget
    train = _Split(
        "train", spec.size, budget.train_images, spec.train_hash, spec.train_pixels, percent=budget.train_percent
    )
    val = _Split("val", spec.size, budget.val_images, spec.val_hash, spec.val_pixels)
    others = [_Split("val", one.size, budget.val_images, one.val_hash, one.val_pixels) for one in spec.also_at]
    return [*([train] if cell.train else []), train if budget.held_out else val, *others]


def _found(folder: Path) -> Prepared | None:
    return load(folder) if (folder / MANIFEST).is_file() else None


def _made(spec: RunSpec, split: _Split, roots: DataRoots, prepared: Path, processes: int) -> Prepared:
    try:
        source = find(spec.dataset, roots, spec.task)
    except UserError as error:
        raise UserError(f"dataset {spec.dataset} is not there: {error}") from None
    if isinstance(source, Missing):
        raise UserError(f"dataset {source.name} is not there: {source.what}; {source.how}")
    return prepare(source, split.split, split.size, split.limit, prepared, processes=processes)


def _check_weights(cell: Cell) -> None:
    for option, name in cell.weights.items():
        path, digest = Path(name), str(cell.spec.options[option]).removeprefix("sha256:")
        if not path.is_file() or sha256_of(path) != digest:
            raise UserError(f"{option}: the file at {path} is not there, or is another; copy the driver's there")

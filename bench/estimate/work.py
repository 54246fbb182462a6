"""How much a run is, before it runs: its data, its steps, the images that it sees. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.cell import Cell, trains_by_steps
from bench.data.epochs import steps_per_epoch
from bench.data.native.category_tables import table
from bench.data.native.scenes import CATEGORIES, SIZES, Scenes
from bench.data.prepared import Prepared, load, prepared_bytes
from bench.data.preparing.shares import share_count
from bench.data.view import task_categories
from bench.settings import OFFICIAL_IMAGES
from bench.spec import NO_TRAINING, RunSpec
from models.categories import Categories
from models.registry import find

Opened = Mapping[Path, Prepared]


@dataclass(frozen=True)
class Work:
    """What one run does. Images are counted once for each pass. `steps`: of optimisation; none of a floor, which is
    fitted in one pass. `untrained`: images evaluated before training; `evaluated`: after it, at its own size;
    `other_sizes`: after it, at each of `also_at`. `exact`: whether the images were counted; else they are the official
    number, or the most that the profile takes.
    """

    steps: int
    trained: int
    untrained: int
    evaluated: int
    other_sizes: int
    exact: bool

    @property
    def evaluations(self) -> int:
        """All images that are evaluated."""
        return self.untrained + self.evaluated + self.other_sizes


@dataclass(frozen=True)
class Data:
    """What is known of one dataset at one size before it is prepared, or after."""

    train: int | None
    val: int | None
    exact: bool
    categories: Categories | None


def opened(cells: Iterable[Cell]) -> Opened:
    """Every prepared split of a plan."""
    return {folder: load(folder) for folder in {f for cell in cells for f in (cell.train, cell.val) if f}}


def data_of(cell: Cell, prepared: Opened) -> Data:
    """Of data that is not prepared, the official numbers and categories."""
    spec = cell.spec
    whole = (SIZES["train"], SIZES["val"]) if spec.dataset == Scenes.name else OFFICIAL_IMAGES.get(spec.dataset)
    limits = (spec.budget.train_images, spec.budget.val_images)
    train, val = (
        len(prepared[folder]) if folder else min((n for n in (limit, of) if n is not None), default=None)
        for folder, limit, of in zip((cell.train, cell.val), limits, whole or (None, None), strict=True)
    )
    needs = (cell.train, cell.val) if spec.train_hash != NO_TRAINING else (cell.val,)
    return Data(train, val, spec.dataset == Scenes.name or all(needs), _categories(cell, prepared))


def _categories(cell: Cell, prepared: Opened) -> Categories | None:
    """Those of the run's task; None of somebody's own data before it is prepared."""
    name = cell.spec.dataset
    if cell.val is not None:
        found = prepared[cell.val].categories
    elif name == Scenes.name:
        found = CATEGORIES
    elif name in OFFICIAL_IMAGES:
        found = table(name)
    else:
        return None
    return task_categories(found, cell.spec.task)


def work_of(spec: RunSpec, data: Data) -> Work | None:
    """None where nobody knows how many images there are."""
    network = find(spec.model)
    if data.val is None or (network.is_network and data.train is None):
        return None
    images = share_count(data.train or 0, spec.budget.train_percent)
    steps, trained = 0, images if network.is_floor else 0
    if trains_by_steps(spec):
        steps = steps_per_epoch(images, spec.recipe.batch_size, drop_last=True) * spec.recipe.epochs
        trained = steps * min(spec.recipe.batch_size, images)
    untrained = data.val if trains_by_steps(spec) else 0
    return Work(steps, trained, untrained, data.val, data.val * len(spec.also_at), data.exact)


def preparation_bytes(cells: Iterable[Cell], prepared: Opened) -> int:
    """Disk that data needs which is not prepared yet, each split and size once; what nobody knows is left out."""
    needed: dict[tuple[str, str, tuple[int, int], int | None], int] = {}
    for cell in cells:
        spec, data = cell.spec, data_of(cell, prepared)
        limits = (spec.budget.train_images, spec.budget.val_images)
        lacking = [("val", other.size, limits[1], data.val) for other in spec.also_at if other.val_hash is None]
        if cell.val is None:
            lacking.append(("val", spec.size, limits[1], data.val))
        if cell.train is None and spec.train_hash != NO_TRAINING:
            lacking.append(("train", spec.size, limits[0], data.train))
        for split, size, limit, images in lacking:
            needed[spec.dataset, split, size, limit] = prepared_bytes(images or 0, size)
    return sum(needed.values())

"""Suite x profile x data found -> the runs, each with its state. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from bench.cell import Cell, looked_up, with_times
from bench.data.catalog import DataRoots, Missing, find
from bench.data.prepared import Prepared, check_disjoint, existing, prepare_sizes
from bench.data.source import Source
from bench.errors import UserError, unknown
from bench.files import sha256_of
from bench.settings import epochs_of, other_sizes, sizes_of
from bench.spec import (
    NO_TRAINING,
    Budget,
    ModelEntry,
    NormStatistics,
    OtherSize,
    Percent,
    Profile,
    Recipe,
    RunSpec,
    Suite,
    size_text,
)
from bench.store import Store
from bench.train.recipes import recipe_for
from models.registry import REGISTRY, Entry, UnknownNameError, full_options
from models.registry import find as find_model

EMBEDDED = "scenes"  # runs in a column of its own where none of a suite's datasets is here
PREPARE = "`bench data prepare`, or `bench plan --slurm` with the options of this command"
Progress = Callable[[str, int, int], None]  # (what, done, of)


@dataclass(frozen=True)
class Choice:
    """What the user asked for. Empty tuples leave it to the suite."""

    suite: Suite
    profile: Profile
    roots: DataRoots
    prepared: Path
    models: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    more_sizes: tuple[tuple[int, int], ...] = ()  # prepared in the same pass, for other suites


@dataclass(frozen=True)
class Plan:
    """`absent`: the runs on datasets that are `missing`. They cannot be executed; how much they are can be told."""

    cells: tuple[Cell, ...]
    skipped: tuple[str, ...]  # why a network of the suite has no run at a size
    missing: dict[str, Missing]  # the suite's datasets that are not here
    sources: dict[str, Source]
    absent: tuple[Cell, ...] = ()


def make_plan(choice: Choice, store: Store, prepare_data: Progress | None = None) -> Plan:
    """Every run of the suite. With `prepare_data`, preparations are made first; without, such runs are pending."""
    names = choice.datasets or choice.suite.datasets
    for name in choice.roots.paths:
        if name not in names:
            raise unknown("dataset", name, names, f"--dataset; suite {choice.suite.name} and --datasets have it not")
    found = {name: find(name, choice.roots, choice.suite.task) for name in dict.fromkeys(names)}
    missing = {name: entry for name, entry in found.items() if isinstance(entry, Missing)}
    sources = {name: entry for name, entry in found.items() if not isinstance(entry, Missing)}
    if not sources and not choice.datasets:
        embedded = find(EMBEDDED, choice.roots)
        assert not isinstance(embedded, Missing)
        sources = {EMBEDDED: embedded}
    rows = _rows(choice)
    sizes = sizes_of(choice.suite, choice.profile)
    wanted = tuple(dict.fromkeys((*sizes, *choice.more_sizes)))
    data = {name: _data(choice, rows, source, wanted, prepare_data) for name, source in sources.items()}
    cells = [cell for name, of_it in data.items() for cell in _cells(choice, rows, name, of_it, store)]
    nothing = dict.fromkeys(sizes, _Data(None, None))
    absent = tuple(cell for name in missing for cell in _cells(choice, rows, name, nothing, store))
    reasons = (row.network.refusal(size, row.options) for row in rows for size in sizes)
    skipped = tuple(dict.fromkeys([*_thinned(choice), *(reason for reason in reasons if reason)]))
    return Plan(tuple(with_times(cells, store)), skipped, missing, sources, absent)


def make_plans(choices: Sequence[Choice], store: Store, prepare_data: Progress | None = None) -> Plan:
    """The runs of several suites, each once. Their sizes are prepared in one pass over a dataset."""
    sizes = tuple(dict.fromkeys(size for choice in choices for size in sizes_of(choice.suite, choice.profile)))
    plans = [make_plan(replace(choice, more_sizes=sizes), store, prepare_data) for choice in choices]
    return merged(plans)


def merged(plans: Sequence[Plan]) -> Plan:
    """One plan of several; what two of them have in common stands where it comes first."""
    return Plan(
        cells=_once(cell for plan in plans for cell in plan.cells),
        skipped=tuple(dict.fromkeys(reason for plan in plans for reason in plan.skipped)),
        missing={name: entry for plan in plans for name, entry in plan.missing.items()},
        sources={name: source for plan in plans for name, source in plan.sources.items()},
        absent=_once(cell for plan in plans for cell in plan.absent),
    )


def _once(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    found: dict[str, Cell] = {}
    for cell in cells:
        found.setdefault(cell.spec.canonical(), cell)
    return tuple(found.values())


def only_runs(plan: Plan, run_ids: Sequence[str]) -> Plan:
    """The part of a plan that has these runs, and what is said of nothing else. Raises UserError for an unknown id."""
    known = {cell.spec.run_id: cell for cell in plan.cells if not cell.spec.is_pending}
    for run_id in (run_id for run_id in run_ids if run_id not in known):
        if pending := len(plan.cells) - len(known):
            raise UserError(f"unknown run '{run_id}'; {pending} have no id before their data is prepared: {PREPARE}")
        raise unknown("run", run_id, known, "this suite and profile")
    cells = tuple(cell for run_id, cell in known.items() if run_id in run_ids)
    return replace(plan, cells=cells, skipped=(), missing={}, absent=())


def _thinned(choice: Choice) -> list[str]:
    suite, profile = choice.suite, choice.profile
    taken, of = len(suite.entries(profile)), len(suite.models)
    return [f"{of - taken} of the {of} points of {suite.name}: the profile {profile.name} takes {taken}"] * (taken < of)


@dataclass(frozen=True)
class _Row:
    """A row of the suite's table: a network, a floor or an oracle, under all its options."""

    network: Entry
    options: Mapping[str, Any]
    weights: Mapping[str, str]
    recipe: Recipe
    seeds: tuple[int, ...]
    norm_statistics: NormStatistics

    @property
    def is_trained(self) -> bool:
        return self.network.is_network


def _rows(choice: Choice) -> list[_Row]:
    """Floors first."""
    suite = choice.suite
    by_name: dict[str, list[ModelEntry]] = {}
    for entry in suite.entries(choice.profile):
        by_name.setdefault(entry.name, []).append(entry)
    models = [e for name in choice.models for e in by_name.get(name, [ModelEntry(name=name)])] or list(
        suite.entries(choice.profile)
    )
    floors = [ModelEntry(name=name) for name, entry in REGISTRY.items() if entry.is_floor and suite.floors]
    entries = floors + [e for n, e in enumerate(models) if e not in floors and e not in models[:n]]
    return [_row(choice, entry) for entry in entries]


def _row(choice: Choice, entry: ModelEntry) -> _Row:
    suite, profile = choice.suite, choice.profile
    network = _find_model(entry.name)
    options, weights = _options(entry, profile)
    recipe = recipe_for(network, options, profile, suite.task, entry.recipe)
    if network.is_network and not network.is_floor:
        recipe = recipe.model_copy(update={"epochs": epochs_of(suite, profile)})
    seeds = tuple(dict.fromkeys(choice.seeds or suite.seeds[: profile.max_seeds]))
    chance = network.is_network and not network.is_floor
    return _Row(network, options, weights, recipe, seeds if chance else (0,), entry.norm_statistics)


def _find_model(name: str) -> Entry:
    try:
        return find_model(name)
    except UnknownNameError as error:
        raise UserError(str(error)) from None


@dataclass(frozen=True)
class _Data:
    """The splits at one size, as far as they are prepared. `train` is None, too, where no row is trained."""

    train: Prepared | None
    val: Prepared | None


def _data(
    choice: Choice,
    rows: Sequence[_Row],
    source: Source,
    sizes: Sequence[tuple[int, int]],
    progress: Progress | None,
) -> dict[tuple[int, int], _Data]:
    """The prepared splits of one dataset by size, each split read once for all sizes. Raises UserError."""
    train: Sequence[Prepared | None] = [None] * len(sizes)
    if any(row.is_trained for row in rows):
        train = _prepared(choice, source, "train", sizes, choice.profile.train_images, progress)
    val = _prepared(choice, source, "val", sizes, choice.profile.val_images, progress)
    for one, other in zip(train, val, strict=True):
        if one and other:
            check_disjoint(one, other)
    return {size: _Data(one, other) for size, one, other in zip(sizes, train, val, strict=True)}


def _prepared(
    choice: Choice,
    source: Source,
    split: str,
    sizes: Sequence[tuple[int, int]],
    limit: int | None,
    progress: Progress | None,
) -> Sequence[Prepared | None]:
    have = [existing(source, split, size, limit, choice.prepared) for size in sizes]
    lacking = [size for size, one in zip(sizes, have, strict=True) if one is None]
    if not lacking or progress is None:
        return have
    what = f"preparing {source.name} {split} at {', '.join(map(size_text, lacking))}"
    made = iter(prepare_sizes(source, split, lacking, limit, choice.prepared, partial(progress, what)))
    return [next(made) if one is None else one for one in have]


def _cells(
    choice: Choice, rows: Sequence[_Row], dataset: str, data: Mapping[tuple[int, int], _Data], store: Store
) -> list[Cell]:
    """Every run on one dataset."""
    return [
        _cell(choice, row, dataset, size, data, percent, seed, store)
        for size in sizes_of(choice.suite, choice.profile)
        for row in rows
        if not row.network.refusal(size, row.options)
        for percent, seed in product(choice.suite.train_percent if row.is_trained else (100,), row.seeds)
    ]


def _cell(
    choice: Choice,
    row: _Row,
    dataset: str,
    size: tuple[int, int],
    by_size: Mapping[tuple[int, int], _Data],
    percent: Percent,
    seed: int,
    store: Store,
) -> Cell:
    oracle = not row.is_trained
    train, val = by_size[size].train, by_size[size].val
    further = other_sizes(choice.suite, choice.profile, row.network, row.options, size)
    others = {other: by_size[other].val for other in further}
    spec = RunSpec(
        model=row.network.name,
        options=dict(row.options),
        task=choice.suite.task,
        dataset=dataset,
        size=size,
        budget=Budget(
            train_images=None if oracle else choice.profile.train_images,
            val_images=choice.profile.val_images,
            train_percent=percent,
        ),
        train_hash=NO_TRAINING if oracle else train.fraction_hash(percent) if train else None,
        val_hash=val.split_hash if val else None,
        train_pixels=NO_TRAINING if oracle else train.manifest["pixel_hash"] if train else None,
        val_pixels=val.manifest["pixel_hash"] if val else None,
        recipe=row.recipe,
        precision="float32" if oracle else "mixed",
        profile=choice.profile.name,
        seed=seed,
        also_at=tuple(_other_size(other, found) for other, found in others.items()),
        norm_statistics=row.norm_statistics,
        protocol="native" if oracle else "standard",
    )
    cell = Cell(
        spec=spec,
        status=None,
        train=train.folder if train and not oracle else None,
        val=val.folder if val else None,
        others=tuple(found.folder for found in others.values() if found),
        weights=row.weights,
        roots=choice.roots if oracle else None,
    )
    return looked_up(cell, store)


def _other_size(size: tuple[int, int], val: Prepared | None) -> OtherSize:
    known = (val.split_hash, val.manifest["pixel_hash"]) if val else (None, None)
    return OtherSize(size=size, val_hash=known[0], val_pixels=known[1])


def _options(entry: ModelEntry, profile: Profile) -> tuple[dict[str, Any], dict[str, str]]:
    """All options of a network, and the files that stand behind digests: a path would not identify the weights."""
    registered = _find_model(entry.name)
    given = dict(entry.options)
    if "backbone_weights" in registered.options:
        given.setdefault("backbone_weights", profile.backbone_weights)
    try:
        options = full_options(entry.name, given)
    except UnknownNameError as error:
        raise UserError(str(error)) from None
    weights = {}
    path = options.get("backbone_weights", "none")
    if path not in ("none", "imagenet"):
        if not Path(path).is_file():
            raise UserError(
                f"backbone_weights of {entry.name}: no file at {path}; give none, imagenet, or the path of a state dict"
            )
        weights["backbone_weights"] = str(Path(path).resolve())
        options["backbone_weights"] = "sha256:" + sha256_of(Path(path))
    return options, weights

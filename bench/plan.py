"""Suite x profile x data found -> the runs, each with its state. Imports no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from bench.data.catalog import DataRoots, Missing, find
from bench.data.prepared import Prepared, check_disjoint, existing, prepare
from bench.data.source import Source
from bench.errors import UserError, unknown
from bench.spec import NO_TRAINING, Budget, ModelEntry, Profile, RunSpec, Suite, invalid
from bench.store import Status, Store
from bench.train.recipes import recipe_for
from models.registry import REGISTRY, UnknownNameError, full_options
from models.registry import find as find_model

HERE = Path(__file__).parent
EMBEDDED = "scenes"  # runs in a column of its own where none of a suite's datasets is here
T = TypeVar("T", bound=BaseModel)
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


@dataclass(frozen=True)
class Cell:
    """One run of a plan. An oracle has no `train`. `weights`: files named by a digest in the spec, by option.
    `seconds`: from a past run.
    """

    spec: RunSpec
    status: Status | None
    train: Path | None = None  # prepared folders; None before the data is prepared
    val: Path | None = None
    weights: Mapping[str, str] = field(default_factory=dict)
    seconds: float | None = None
    roots: DataRoots | None = None  # of an oracle, which reads the dataset's own files

    @property
    def state(self) -> str:
        """done, failed, diverged, missing, or pending where the data is not prepared yet."""
        if self.status is not None:
            return self.status.state
        return "pending" if self.spec.is_pending else "missing"


@dataclass(frozen=True)
class Plan:
    cells: tuple[Cell, ...]
    skipped: tuple[str, ...]  # why a network of the suite has no run at a size
    missing: dict[str, Missing]  # the suite's datasets that are not here
    sources: dict[str, Source]


def load_named(kind: str, name: str, model: type[T]) -> T:
    """bench/<kind>s/<name>.yaml, or the file itself where `name` is a path. Raises UserError."""
    folder = HERE / f"{kind}s"
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    path = Path(name) if name.endswith((".yaml", ".yml")) else folder / f"{name}.yaml"
    if not path.is_file():
        if path.suffix and "/" in name:
            raise UserError(f"no {kind} file at {name}; give a path to a YAML file or one of: {', '.join(known)}")
        raise unknown(kind, name, known)
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, ValueError, OSError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: a {kind} is a mapping of keys; see bench/{kind}s/{known[0]}.yaml")
    try:
        loaded = model.model_validate(content)
    except ValidationError as error:
        raise invalid(error, str(path), model) from None
    given = str(content.get("name"))
    if given in known and path.resolve().parent != folder and load_named(kind, given, model) != loaded:
        raise UserError(
            f"{path}: the name {given} belongs to bench/{kind}s/{given}.yaml; give this {kind} another name"
        )
    return loaded


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
    sizes = tuple(dict.fromkeys(choice.profile.fit_size(size) for size in choice.suite.sizes))
    cells = [
        cell
        for source in sources.values()
        for size in sizes
        for cell in _column(choice, rows, source, size, store, prepare_data)
    ]
    reasons = (_refusal(entry, size, choice.profile) for entry, _ in rows for size in sizes)
    skipped = tuple(dict.fromkeys(reason for reason in reasons if reason))
    return Plan(tuple(_with_times(cells, store)), skipped, missing, sources)


def _refusal(entry: ModelEntry, size: tuple[int, int], profile: Profile) -> str | None:
    options, _ = _options(entry, profile)
    reason: str | None = _find_model(entry.name).refusal(size, options)
    return reason


def _rows(choice: Choice) -> list[tuple[ModelEntry, tuple[int, ...]]]:
    """The rows of the table with their seeds: floors first, once each, since no chance is in them."""
    suite, profile = choice.suite, choice.profile
    seeds = choice.seeds or suite.seeds[: profile.max_seeds]
    by_name: dict[str, list[ModelEntry]] = {}
    for entry in suite.models:
        by_name.setdefault(entry.name, []).append(entry)
    models = [e for name in choice.models for e in by_name.get(name, [ModelEntry(name=name)])] or list(suite.models)
    floors = [ModelEntry(name=name) for name, entry in REGISTRY.items() if entry.is_floor and suite.floors]
    entries = floors + [e for n, e in enumerate(models) if e not in floors and e not in models[:n]]
    chance = {e.name for e in entries if _find_model(e.name).is_network and not _find_model(e.name).is_floor}
    return [(e, tuple(dict.fromkeys(seeds)) if e.name in chance else (0,)) for e in entries]


def _find_model(name: str) -> Any:
    try:
        return find_model(name)
    except UnknownNameError as error:
        raise UserError(str(error)) from None


def _column(
    choice: Choice,
    rows: list[tuple[ModelEntry, tuple[int, ...]]],
    source: Source,
    size: tuple[int, int],
    store: Store,
    progress: Progress | None,
) -> list[Cell]:
    """The runs on one dataset at one size."""
    limits = {"train": choice.profile.train_images, "val": choice.profile.val_images}
    train = None
    if any(_find_model(entry.name).is_network for entry, _ in rows):
        train = _prepared(choice, source, "train", size, limits["train"], progress)
    val = _prepared(choice, source, "val", size, limits["val"], progress)
    if train and val:
        check_disjoint(train, val)
    cells = []
    for entry, seeds in rows:
        if _refusal(entry, size, choice.profile):
            continue
        oracle = not _find_model(entry.name).is_network
        options, weights = _options(entry, choice.profile)
        recipe = recipe_for(_find_model(entry.name), options, choice.profile, choice.suite.task, entry.recipe)
        for percent, seed in product((100,) if oracle else choice.suite.train_percent, seeds):
            spec = RunSpec(
                model=entry.name,
                options=options,
                task=choice.suite.task,
                dataset=source.name,
                size=size,
                budget=Budget(
                    train_images=None if oracle else limits["train"],
                    val_images=limits["val"],
                    train_percent=percent,
                ),
                train_hash=NO_TRAINING if oracle else train.fraction_hash(percent) if train else None,
                val_hash=val.split_hash if val else None,
                train_pixels=NO_TRAINING if oracle else train.manifest["pixel_hash"] if train else None,
                val_pixels=val.manifest["pixel_hash"] if val else None,
                recipe=recipe,
                precision="float32" if oracle else "mixed",
                profile=choice.profile.name,
                seed=seed,
                protocol="native" if oracle else "standard",
            )
            cells.append(
                Cell(
                    spec=spec,
                    status=store.whole(spec.run_id),
                    train=train.folder if train and not oracle else None,
                    val=val.folder if val else None,
                    weights=weights,
                    roots=choice.roots if oracle else None,
                )
            )
    return cells


def _prepared(
    choice: Choice, source: Source, split: str, size: tuple[int, int], limit: int | None, progress: Progress | None
) -> Prepared | None:
    have = existing(source, split, size, limit, choice.prepared)
    if have or progress is None:
        return have
    what = f"preparing {source.name} {split} at {size[0]}x{size[1]}"
    return prepare(source, split, size, limit, choice.prepared, lambda done, of: progress(what, done, of))


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
        options["backbone_weights"] = "sha256:" + hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return options, weights


def _with_times(cells: Sequence[Cell], store: Store) -> list[Cell]:
    """Each run with the mean time of finished runs that differ in nothing but the seed, where there are any."""
    times: dict[str, list[float]] = {}
    for run_id in store.run_ids():
        try:
            record = store.record(run_id)
        except UserError:
            continue  # a damaged record tells no time; the report names it
        seconds = record.attempt.get("seconds_total")
        if record.status.state == "done" and seconds is not None:
            times.setdefault(_kind(record.spec), []).append(seconds)
    return [replace(c, seconds=sum(t) / len(t)) if (t := times.get(_kind(c.spec))) else c for c in cells]


def _kind(spec: RunSpec) -> str:
    return spec.model_copy(update={"seed": 0}).canonical()

"""Which records may share a table, a column, a cell.

A table holds one profile, size and protocol; a column one split besides; a cell one setting: what differs in
anything but the seed is never averaged.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from bench.spec import Budget, Profile, RunSpec, Suite, size_text
from bench.store import Record
from bench.train.recipes import NAMED, recipe_for
from models.registry import ENTRIES, REGISTRY

PROFILES = Path(__file__).parents[1] / "profiles"
ORDER = ("paper", "full", "quick", "smoke")  # the highest first; profiles of a user's own come last
WHOLE = Budget.model_validate({})  # every image of both splits
PROSE: Any = {"seed": True, "recipe": {"source"}}  # what makes no other setting
FLOORS = tuple(entry.name for entry in ENTRIES if entry.is_floor)
ORACLES = tuple(entry.name for entry in ENTRIES if not entry.is_network)


@dataclass(frozen=True, order=True)
class SectionKey:
    """What all numbers of one table have in common."""

    rank: int
    profile: str
    size: tuple[int, int]
    protocol: str
    protocol_version: int
    percent: int = 100  # of the training split

    @property
    def name(self) -> str:
        part = "" if self.percent == 100 else f"-{self.percent}percent"
        return f"{self.profile}-{size_text(self.size)}{part}-{self.protocol}-v{self.protocol_version}"


@dataclass(frozen=True, order=True)
class Split:
    """One dataset under one hash of its validation split: the owner of a group of columns."""

    rank: int
    dataset: str
    val_hash: str

    @property
    def short(self) -> str:
        return self.val_hash[:8]

    def holds(self, spec: RunSpec) -> bool:
        return (spec.dataset, spec.val_hash or "unknown") == (self.dataset, self.val_hash)


@cache
def profiles() -> Mapping[str, Profile]:
    """The profiles that come with the program, by name."""
    found = [Profile.model_validate(yaml.safe_load(path.read_bytes())) for path in sorted(PROFILES.glob("*.yaml"))]
    return {profile.name: profile for profile in found}


def profile_named(name: str) -> Profile:
    """The profile; one that this program does not know never counts as a reproduction."""
    label = f"{name}: a profile this program does not know, not a reproduction"
    stranger = {"name": name, "summary": "", "label": label, "reproduction": False, "epochs": 0}
    return profiles().get(name) or Profile.model_validate(stranger)


def networks(suite: Suite) -> tuple[str, ...]:
    return tuple(dict.fromkeys(entry.name for entry in suite.models))


def guests(suite: Suite, records: Iterable[Record]) -> tuple[str, ...]:
    """Networks that ran under the same conditions without being the suite's."""
    ran = {record.spec.model for record in records} - {*networks(suite), *FLOORS}
    return tuple(name for name in REGISTRY if name in ran)


def floors(suite: Suite) -> tuple[str, ...]:
    return FLOORS if suite.floors else ()


def belongs(record: Record, suite: Suite) -> bool:
    """Whether a run has a place in the suite's tables: its task, a size and a part of the training data of its grid,
    and one of its networks with the same options, or another registered network as it comes.
    """
    spec = record.spec
    sizes = {profile_named(spec.profile).fit_size(size) for size in suite.sizes}
    if spec.task != suite.task or spec.size not in sizes or spec.budget.train_percent not in suite.train_percent:
        return False
    if spec.model in FLOORS:
        return suite.floors
    if spec.model in ORACLES and spec.model not in networks(suite):
        return False  # no guest: it is scored at another size
    asked = [entry.options for entry in suite.models if entry.name == spec.model]
    return any(_same_options(spec, options) for options in asked or [{}])


def _same_options(spec: RunSpec, asked: Mapping[str, Any]) -> bool:
    """The suite's options and the defaults of the rest. Where the backbone starts from is the profile's business, and
    a file of weights stands in the spec by its digest: two starts are two settings, not two networks.
    """
    entry = REGISTRY.get(spec.model)
    wanted = {**(entry.options if entry else {}), **asked}
    keys = {*wanted, *spec.options} - {"backbone_weights"}
    return all(spec.options.get(key, wanted.get(key)) == wanted.get(key) for key in keys)


def sections(records: Iterable[Record]) -> list[tuple[SectionKey, list[Record]]]:
    """The records by what a table holds constant, the highest profile first. Only done ones open a section."""
    groups: dict[SectionKey, list[Record]] = defaultdict(list)
    for record in records:
        groups[section_key(record.spec)].append(record)
    return [(key, groups[key]) for key in sorted(groups) if any(r.status.state == "done" for r in groups[key])]


def section_key(spec: RunSpec) -> SectionKey:
    rank = ORDER.index(spec.profile) if spec.profile in ORDER else len(ORDER)
    return SectionKey(rank, spec.profile, spec.size, spec.protocol, spec.protocol_version, spec.budget.train_percent)


def splits(records: Iterable[Record], datasets: Sequence[str]) -> list[Split]:
    """The splits with a finished run: the suite's datasets in its order, then others by name."""
    found = {(r.spec.dataset, r.spec.val_hash or "unknown") for r in records if r.status.state == "done"}
    rank = {dataset: i for i, dataset in enumerate(datasets)}
    return sorted(Split(rank.get(dataset, len(rank)), dataset, val_hash) for dataset, val_hash in found)


def settings(records: Iterable[Record]) -> list[list[Record]]:
    """Finished runs of one network on one split, parted by everything but the seed.

    Whole splits come first, then today's recipe, then the setting with most seeds; inside, by seed.
    """
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[_setting(record.spec)].append(record)

    def order(item: tuple[str, list[Record]]) -> tuple[bool, bool, int, int, str]:
        name, group = item
        spec = group[0].spec
        return spec.budget != WHOLE, not _of_today(spec), -spec.recipe_version, -len(group), name

    return [sorted(group, key=lambda r: r.spec.seed) for _, group in sorted(groups.items(), key=order)]


def _of_today(spec: RunSpec) -> bool:
    """Whether the recipe is the one that the program would use now, by default or by the same name."""
    entry, profile = REGISTRY.get(spec.model), profile_named(spec.profile)
    if entry is None or spec.profile not in ORDER:
        return True
    names = (None, spec.recipe.name) if spec.recipe.name in NAMED else (None,)
    now = (recipe_for(entry, spec.options, profile, spec.task, name) for name in names)
    return any(spec.recipe.model_dump(exclude={"source"}) == r.model_dump(exclude={"source"}) for r in now)


def _setting(spec: RunSpec) -> str:
    return json.dumps(spec.model_dump(mode="json", exclude=PROSE), sort_keys=True)


def what_differs(spec: RunSpec, other: RunSpec) -> str:
    """'recipe.lr 0.001 instead of 0.0003': the keys in which two settings differ."""
    mine, theirs = (_flat(s.model_dump(mode="json", exclude=PROSE)) for s in (spec, other))
    keys = sorted(key for key in {*mine, *theirs} if mine.get(key) != theirs.get(key))
    return ", ".join(f"{key} {mine.get(key)} instead of {theirs.get(key)}" for key in keys)


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        inner = _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
        flat.update(inner)
    return flat

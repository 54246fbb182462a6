"""Finished runs by what decides their numbers: a setting is everything but the seed. No torch."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from bench.record import Record
from bench.spec import Budget, Profile, RunSpec, Suite
from bench.train.recipes import NAMED, TUNED, recipe_for, tuned
from models.registry import REGISTRY, Entry

PROFILES = Path(__file__).parent / "profiles"
ORDER = ("paper", "full", "quick", "smoke")  # the highest first; profiles of a user's own come last
WHOLE = Budget.model_validate({})  # every image of both splits
PROSE: Any = {"seed": True, "recipe": {"source"}}  # what makes no other setting
# the datasets' own splits, whole: (train, val)
OFFICIAL_IMAGES = {"coco": (118_287, 5000), "ade20k": (20_210, 2000), "cityscapes": (2975, 500)}


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


def sizes_of(suite: Suite, profile: Profile) -> tuple[tuple[int, int], ...]:
    """(height, width) of the suite's runs under a profile."""
    trained = any(REGISTRY[entry.name].is_network for entry in suite.models if entry.name in REGISTRY)
    return tuple(dict.fromkeys(profile.fit_size(size, trained) for size in suite.sizes))


def other_sizes(
    suite: Suite, profile: Profile, network: Entry, options: Mapping[str, Any], size: tuple[int, int]
) -> list[tuple[int, int]]:
    """Where a network that is trained at this size is evaluated, too: of a suite across sizes, from the largest."""
    sizes = sizes_of(suite, profile)
    if not suite.across or not network.is_network or network.is_floor or size != largest(sizes):
        return []
    return [other for other in sizes if other != size and not network.refusal(other, options)]


def largest(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The one with the most pixels; of several the first."""
    return max(sizes, key=lambda size: size[0] * size[1])


def epochs_of(suite: Suite, profile: Profile) -> int:
    """How long its networks are trained under a profile."""
    return min(profile.epochs, suite.epochs or profile.epochs)


def settings(records: Iterable[Record]) -> list[list[Record]]:
    """Finished runs of one network on one split, parted by everything but the seed.

    Whole splits come first, then the recipes' own rates, today's recipe, the longest training, the setting with most
    seeds; inside, by seed.
    """
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[_setting(record.spec)].append(record)

    def order(item: tuple[str, list[Record]]) -> tuple[bool, bool, bool, int, int, int, str]:
        name, group = item
        spec = group[0].spec
        is_tuned = spec.recipe.tuning is not None
        version, epochs = -spec.recipe_version, -spec.recipe.epochs
        return spec.budget != WHOLE, is_tuned, not _of_today(spec), version, epochs, -len(group), name

    return [sorted(group, key=lambda r: r.spec.seed) for _, group in sorted(groups.items(), key=order)]


def _of_today(spec: RunSpec) -> bool:
    """Whether the recipe is the one that the program would use now, by default or by the same name. A suite may train
    for fewer epochs than the profile says.
    """
    entry, profile = REGISTRY.get(spec.model), profile_named(spec.profile)
    if entry is None or spec.profile not in ORDER:
        return True
    tuning, own_name = spec.recipe.tuning, spec.recipe.name.removesuffix(TUNED)
    names = (None, own_name) if own_name in NAMED else (None,)
    own = (recipe_for(entry, spec.options, profile, spec.task, name) for name in names)
    now = (tuned(recipe, tuning) if tuning else recipe for recipe in own)
    mine, *theirs = (recipe.model_dump(exclude={"source", "epochs"}) for recipe in (spec.recipe, *now))
    return spec.recipe.epochs <= profile.epochs and mine in theirs


def _setting(spec: RunSpec) -> str:
    return json.dumps(spec.model_dump(mode="json", exclude=PROSE), sort_keys=True)


def what_differs(spec: RunSpec, other: RunSpec) -> str:
    """'recipe.lr 0.001 instead of 0.0003': the keys in which two settings differ."""
    return ", ".join(f"{key} {mine} instead of {theirs}" for key, (mine, theirs) in differences(spec, other).items())


def differences(spec: RunSpec, other: RunSpec) -> dict[str, tuple[Any, Any]]:
    """Key with dots -> (its value, the other's), for each in which two settings differ; by name."""
    mine, theirs = (_flat(s.model_dump(mode="json", exclude=PROSE)) for s in (spec, other))
    keys = sorted(key for key in {*mine, *theirs} if mine.get(key) != theirs.get(key))
    return {key: (mine.get(key), theirs.get(key)) for key in keys}


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        inner = _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
        flat.update(inner)
    return flat

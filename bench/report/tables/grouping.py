"""Which records may share a table, a column, a cell.

A table holds one profile, size and protocol; a column one split besides; a cell one setting: what differs in
anything but the seed is never averaged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.record import Record
from bench.settings import ORDER, epochs_of, other_sizes, profile_named, profiles, sizes_of
from bench.spec import RunSpec, Suite, size_text
from models.registry import ENTRIES, REGISTRY

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
    tuned: bool = False  # whether each network's rate was searched

    @property
    def name(self) -> str:
        part = "" if self.percent == 100 else f"-{self.percent}percent"
        part += "-tuned" if self.tuned else ""
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
    and one of its networks with the same options, or another registered network as it comes. A candidate of a search
    has none: it was not evaluated on the validation split.
    """
    spec = record.spec
    if spec.budget.held_out:
        return False
    profile = profile_named(spec.profile)
    if (
        spec.task != suite.task
        or spec.size not in sizes_of(suite, profile)
        or spec.budget.train_percent not in suite.train_percent
    ):
        return False
    if spec.model in FLOORS:
        return suite.floors
    entry = REGISTRY.get(spec.model)
    if entry and bool(spec.also_at) != bool(other_sizes(suite, profile, entry, spec.options, spec.size)):
        return False  # its twin is the suite's
    if spec.model not in networks(suite) and (spec.model in ORACLES or not _takes_guests(suite)):
        return False  # an oracle is scored at another size
    if spec.model not in ORACLES and not _trained_as_long(spec, suite):
        return False
    asked = [entry.options for entry in suite.models if entry.name == spec.model]
    return any(same_options(spec, options) for options in asked or [{}])


def _trained_as_long(spec: RunSpec, suite: Suite) -> bool:
    """No shorter than the suite's own under the profile, and no longer than its cap. What a profile of a user's own
    says is not known here: of its runs only those beyond the cap are out.
    """
    epochs = spec.recipe.epochs
    if spec.profile not in profiles():
        return suite.epochs is None or epochs <= suite.epochs
    due = epochs_of(suite, profile_named(spec.profile))
    return epochs >= due and (suite.epochs is None or epochs == due)


def _takes_guests(suite: Suite) -> bool:
    """Whether other registered networks stand below its own. Of the panoptic exhibits only Table 4 has them: the others
    would repeat every row of it. Nor has a sweep over sizes.
    """
    return suite.exhibit in (None, "table4") or (suite.task != "panoptic" and not suite.across)


def same_options(spec: RunSpec, asked: Mapping[str, Any]) -> bool:
    """The suite's options and the defaults of the rest. Where the backbone starts from is the profile's business, and
    a file of weights stands in the spec by its digest: two starts are two settings, not two networks.
    """
    entry = REGISTRY.get(spec.model)
    wanted = {**(entry.options if entry else {}), **asked}
    keys = {*wanted, *spec.options} - {"backbone_weights"}
    return all(spec.options.get(key, wanted.get(key)) == wanted.get(key) for key in keys)


def sections(records: Iterable[Record]) -> list[tuple[SectionKey, list[Record]]]:
    """The records by what a table holds constant, the highest profile first. Only done ones open a section; floors
    have no rate, so they stand in the section of the tuned too, and open none of their own beside it.
    """
    groups: dict[SectionKey, list[Record]] = defaultdict(list)
    for record in records:
        groups[section_key(record.spec)].append(record)
    for key in [key for key in groups if key.tuned]:
        untuned = replace(key, tuned=False)
        shared = [record for record in groups.get(untuned, ()) if record.spec.model in FLOORS]
        groups[key] += shared
        if shared and len(shared) == len(groups[untuned]):
            del groups[untuned]
    return [(key, groups[key]) for key in sorted(groups) if any(r.status.state == "done" for r in groups[key])]


def section_key(spec: RunSpec) -> SectionKey:
    rank = ORDER.index(spec.profile) if spec.profile in ORDER else len(ORDER)
    protocol = spec.protocol, spec.protocol_version
    tuned = spec.recipe.tuning is not None
    return SectionKey(rank, spec.profile, spec.size, *protocol, spec.budget.train_percent, tuned)


def splits(records: Iterable[Record], datasets: Sequence[str]) -> list[Split]:
    """The splits with a finished run: the suite's datasets in its order, then others by name."""
    found = {(r.spec.dataset, r.spec.val_hash or "unknown") for r in records if r.status.state == "done"}
    rank = {dataset: i for i, dataset in enumerate(datasets)}
    return sorted(Split(rank.get(dataset, len(rank)), dataset, val_hash) for dataset, val_hash in found)

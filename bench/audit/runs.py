"""Which finished runs may speak for a printed number, and under which conditions several numbers are compared.

Only runs on the claim's own dataset, size and task, trained and evaluated on the whole official splits for as long as
a reproduction's profile says. All runs behind one claim have the profile, the versions of the code, the way of tuning,
the data and, where they have a backbone, what it starts from in common.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.audit.ruling import LackingError
from bench.errors import UserError
from bench.record import Record
from bench.settings import OFFICIAL_IMAGES, ORDER, profile_named, settings
from bench.spec import Budget, RunSpec, size_text
from bench.store import Store
from models.registry import REGISTRY, full_options

MIN_SEEDS = 3
START = "backbone_weights"  # where a backbone starts from is a condition, and makes no other network

Network = tuple[str, tuple[tuple[str, Any], ...]]  # the builder and its options
Data = tuple[str, str]  # the hashes of a split's truth and pixels


@dataclass(frozen=True)
class Wanted:
    """What must have been run. `network` is what is built, whatever its registered name."""

    model: str
    label: str
    network: Network
    dataset: str
    size: tuple[int, int]
    task: str
    percent: int

    @property
    def place(self) -> str:
        share = "" if self.percent == 100 else f", {self.percent} % of the training data"
        return f"{self.task} on {self.dataset} at {size_text(self.size)}{share}"


def network(model: str, options: Mapping[str, Any]) -> Network:
    """Two registered names with one builder and the same options are one network."""
    kept = {name: value for name, value in full_options(model, options).items() if name != START}
    return REGISTRY[model].builder, tuple(sorted(kept.items()))


def reproductions(store: Store) -> tuple[list[Record], dict[str, str]]:
    """The finished runs under a profile whose numbers count as a reproduction, and what is wrong with those of them
    that cannot be read.
    """
    names = [name for name in ORDER if profile_named(name).reproduction]
    found, damaged = [], {}
    for run_id in store.run_ids():
        if any(f"-{name}-" in run_id for name in names):  # a part of every run's id: the others need not be read
            try:
                found.append(store.record(run_id))
            except UserError as error:
                damaged[run_id] = str(error).replace(str(store.root), store.root.name)
    return [r for r in found if r.status.state == "done" and r.spec.profile in names], damaged


def fits(record: Record, asked: Wanted) -> bool:
    spec, metrics = record.spec, record.metrics
    if metrics is None or spec.model not in REGISTRY or spec.dataset not in OFFICIAL_IMAGES:
        return False
    train, val = OFFICIAL_IMAGES[spec.dataset]
    return (
        (spec.dataset, spec.size, spec.task) == (asked.dataset, asked.size, asked.task)
        and spec.protocol == "standard"
        and spec.budget == Budget.model_validate({"train_percent": asked.percent})
        and spec.recipe.epochs == profile_named(spec.profile).epochs
        and (metrics.train_images, metrics.final.images) == (train * asked.percent // 100, val)
        and network(spec.model, spec.options) == asked.network
    )


def choose(records: Iterable[Record], asked: Sequence[Wanted]) -> dict[Wanted, list[Record]]:
    """For each wanted network the runs of one setting, at least MIN_SEEDS, all under the same conditions.

    Raises LackingError with how many seeds there are.
    """
    given = list(records)
    fitting = {one: [record for record in given if fits(record, one)] for one in asked}
    ranked = sorted((record.spec for group in fitting.values() for record in group), key=_rank)
    for conditions in dict.fromkeys(map(_conditions, ranked)):
        groups = {one: _settings(fitting[one], conditions) for one in asked}
        if chosen := _on_common_data(groups):
            return chosen
    raise LackingError("not run", _what_lacks(fitting))


def _conditions(spec: RunSpec) -> tuple[Any, ...]:
    """The last is what the backbone starts from, None without one."""
    tuning = spec.recipe.tuning
    search = tuning and (tuning.factors, tuning.metric, tuning.held_out, tuning.seed)
    return spec.profile, spec.recipe_version, spec.protocol_version, search, spec.options.get(START)


def _is_under(spec: RunSpec, conditions: tuple[Any, ...]) -> bool:
    """A network without a backbone goes with any start."""
    *same, start = _conditions(spec)
    return same == [*conditions[:-1]] and start in (None, conditions[-1])


def conditions_in_words(specs: Sequence[RunSpec]) -> tuple[str, ...]:
    """('profile full', 'rates tuned over 0.3, 1, 3 by PQ on 20 % of the training images, seed 0', 'backbones start from
    imagenet') of specs under the same conditions; what is usual or absent is not named.
    """
    words = [f"profile {specs[0].profile}"]
    if tuning := specs[0].recipe.tuning:
        factors = ", ".join(f"{factor:g}" for factor in tuning.factors)
        share = f"{tuning.held_out} % of the training images"
        words.append(f"rates tuned over {factors} by {tuning.metric} on {share}, seed {tuning.seed}")
    if starts := [str(start) for spec in specs if (start := spec.options.get(START))]:
        words.append(f"backbones start from {starts[0].replace('none', 'random weights')}")
    return tuple(words)


def _rank(spec: RunSpec) -> tuple[Any, ...]:
    """The longest training first, then today's code, tuned rates, and the profile's own start of a backbone."""
    start = spec.options.get(START)
    usual = start == profile_named(spec.profile).backbone_weights
    code = -spec.recipe_version, -spec.protocol_version
    return ORDER.index(spec.profile), *code, spec.recipe.tuning is None, not usual, repr(_conditions(spec))


def _settings(records: Iterable[Record], conditions: tuple[Any, ...]) -> list[list[Record]]:
    groups = settings(record for record in records if _is_under(record.spec, conditions))
    return [group for group in groups if len({record.spec.seed for record in group}) >= MIN_SEEDS]


def _on_common_data(groups: Mapping[Wanted, Sequence[list[Record]]]) -> dict[Wanted, list[Record]] | None:
    """The first setting of each on data that all of the same dataset and size share; None where one has none."""
    val: dict[Any, set[Data]] = {}
    train: dict[Any, set[Data]] = {}
    for one, found in groups.items():
        _keep(val, (one.dataset, one.size), {_val(group[0].spec) for group in found})
        _keep(train, (one.dataset, one.size, one.percent), {_train(group[0].spec) for group in found})
    chosen = {}
    for one, found in groups.items():
        ours = (
            min(val[one.dataset, one.size], default=None),
            min(train[one.dataset, one.size, one.percent], default=None),
        )
        same = [group for group in found if (_val(group[0].spec), _train(group[0].spec)) == ours]
        if not same:
            return None
        chosen[one] = same[0]
    return chosen


def _keep(shared: dict[Any, set[Data]], place: Any, have: set[Data]) -> None:
    shared[place] = shared.get(place, have) & have


def _val(spec: RunSpec) -> Data:
    return str(spec.val_hash), str(spec.val_pixels)


def _train(spec: RunSpec) -> Data:
    return str(spec.train_hash), str(spec.train_pixels)


def _what_lacks(fitting: Mapping[Wanted, Sequence[Record]]) -> str:
    """'needs 3 seeds of each, has: MaskAttn-UNet 0, U-Net 2 (panoptic on coco at 128x128)'."""
    seeds = {one: len({record.spec.seed for record in records}) for one, records in fitting.items()}
    if min(seeds.values()) >= MIN_SEEDS:
        return "the runs differ in profile, version of the code, tuning, backbone or data, and cannot be compared"
    places: dict[str, list[str]] = defaultdict(list)
    for one, count in seeds.items():
        places[one.place].append(f"{one.label} {count}")
    told = "; ".join(f"{', '.join(counts)} ({place})" for place, counts in places.items())
    return f"needs {MIN_SEEDS} seeds of each, has: {told}"

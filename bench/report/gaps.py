"""What a table lacks: each planned (network, dataset, seed) without a finished run, and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.record import Record
from bench.report.tables.grouping import Split, floors
from bench.report.tables.rows import row_of, suite_rows
from bench.settings import profile_named
from bench.spec import Suite

DEFAULT_PROFILE = "smoke"


class Missing(Protocol):
    """A dataset that is not there: what is missing, and how to get it."""

    @property
    def what(self) -> str: ...

    @property
    def how(self) -> str: ...


@dataclass(frozen=True)
class Gap:
    """Planned runs that are not done, for one reason. `times`: at how many sizes or parts of the data each lacks."""

    dataset: str
    models: tuple[str, ...]  # labels
    seeds: tuple[int, ...]
    reason: str
    how: str
    times: int = 1

    @property
    def runs(self) -> int:
        return len(self.models) * len(self.seeds) * self.times


def planned_seeds(suite: Suite, model: str, profile: str) -> tuple[int, ...]:
    """The seeds a profile leaves of the suite's; a floor has no randomness and runs once."""
    if model in floors(suite):
        return (0,)
    return suite.seeds[: profile_named(profile).max_seeds]


def find_gaps(
    suite: Suite,
    profile: str,
    records: Sequence[Record],
    splits: Sequence[Split],
    missing: Mapping[str, Missing],
    tuned: bool = False,
) -> list[Gap]:
    """The gaps of one table. `records` are the suite's under this profile and size, in any state; `tuned`: the table
    is of searched rates.
    """
    taken = suite.entries(profile_named(profile))  # of a sweep
    rows = [row for row in suite_rows(suite) if row.entry is None or row.entry in taken]
    how = command(suite, profile, tuned)
    planned: list[tuple[str, str | None]] = [(split.dataset, split.val_hash) for split in splits]
    planned += [(dataset, None) for dataset in suite.datasets if dataset not in {name for name, _ in planned}]
    several = {name for name, _ in planned if sum(name == other for other, _ in planned) > 1}
    index: dict[tuple[str, str, int], list[Record]] = defaultdict(list)
    for record in records:
        if row := row_of(rows, record.spec):
            index[row.key, record.spec.dataset, record.spec.seed].append(record)

    found: dict[tuple[str, str, str], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for dataset, val_hash in planned:
        name = f"{dataset}, split {val_hash[:8]}" if val_hash and dataset in several else dataset
        for row in rows:
            for seed in planned_seeds(suite, row.model, profile):
                ended = index[row.key, dataset, seed]
                candidates = [r for r in ended if val_hash is None or r.spec.val_hash in (val_hash, None)]
                why = _reason(candidates, dataset, how, missing)
                if why:
                    found[name, *why][row.label].append(seed)
    return [gap for key, labels in found.items() for gap in _gaps(*key, labels)]


def nothing_run(suite: Suite, records: Sequence[Record], missing: Mapping[str, Missing]) -> list[Gap]:
    """The gaps of a suite without a finished run: under the profiles that were tried, else the default one."""
    profiles = sorted({record.spec.profile for record in records}) or [DEFAULT_PROFILE]
    tried = [(profile, [r for r in records if r.spec.profile == profile]) for profile in profiles]
    return [gap for profile, group in tried for gap in find_gaps(suite, profile, group, (), missing)]


def command(suite: Suite, profile: str, tuned: bool = False) -> str:
    chosen = "" if profile == DEFAULT_PROFILE else f" --profile {profile}"
    return f"python -m bench run --suite {suite.name}{chosen}{' --tuned' if tuned else ''}"


def _reason(
    candidates: Iterable[Record], dataset: str, how: str, missing: Mapping[str, Missing]
) -> tuple[str, str] | None:
    """(reason, next step), or None where a run is done."""
    ended = sorted(candidates, key=lambda r: r.run_id)
    if any(record.status.state == "done" for record in ended):
        return None
    if ended:
        status = ended[-1].status
        return f"{status.state}: {status.reason or 'no reason recorded'}", how
    if dataset in missing:
        return f"missing dataset: {missing[dataset].what}", missing[dataset].how
    return "not run", how


def _gaps(dataset: str, reason: str, how: str, labels: Mapping[str, Sequence[int]]) -> list[Gap]:
    """One gap for all the networks that lack the same seeds."""
    by_seeds: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for label, seeds in labels.items():
        by_seeds[tuple(seeds)].append(label)
    return [Gap(dataset, tuple(labels), seeds, reason, how) for seeds, labels in by_seeds.items()]

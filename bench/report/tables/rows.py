"""The rows of a suite's comparison, in the suite's order: which runs each holds, and its name, which says what differs.

A network may stand in several rows, under other options or another recipe. Runs of one row that differ in anything but
the seed are settings of it; each but the first is a row of its own below it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.record import Record
from bench.report.tables.grouping import Split, floors, guests, same_options
from bench.report.tables.table import RowKind
from bench.settings import differences, settings, what_differs
from bench.spec import ModelEntry, RunSpec, Suite
from bench.train.recipes import TUNED, default_recipe
from models.registry import REGISTRY

START = "backbone_weights"  # an option that `same_options` leaves aside
MOST_TOLD = 3  # differences in a row's name; its note has all of them
LONGEST_VALUE = 32  # characters; a hash is told by its first

Settings = list[list[Record]]  # of one row on one split: the first setting, then others; inside, by seed


@dataclass(frozen=True)
class SuiteRow:
    """A floor, one entry of the suite's models, or a guest. `apart`: from the network's other rows ('mask=none')."""

    kind: RowKind
    model: str
    apart: str = ""
    entry: ModelEntry | None = None

    @property
    def label(self) -> str:
        return f"{label_of(self.model)}, {self.apart}" if self.apart else label_of(self.model)

    @property
    def key(self) -> str:
        return f"{self.model}/{self.apart}" if self.apart else self.model


@dataclass(frozen=True)
class Variant:
    """One line of a table: a row under one setting. `differs`: in words, from the first one."""

    row: SuiteRow
    number: int
    label: str
    runs: Mapping[Split, list[Record]]
    differs: str = ""

    @property
    def key(self) -> str:
        return f"{self.row.key}/{self.number}" if self.number else self.row.key


def label_of(model: str) -> str:
    return REGISTRY[model].label if model in REGISTRY else model


def suite_rows(suite: Suite, records: Iterable[Record] = ()) -> list[SuiteRow]:
    """Floors, the suite's entries, then the guests among the records."""
    entries = [entry for n, entry in enumerate(suite.models) if entry not in suite.models[:n]]
    rows = [SuiteRow("floor", model) for model in floors(suite)]
    rows += [SuiteRow("network", entry.name, _apart(suite, entry), entry) for entry in entries]
    return rows + [SuiteRow("guest", model) for model in guests(suite, records)]


def row_of(rows: Sequence[SuiteRow], spec: RunSpec) -> SuiteRow | None:
    """The one row that holds a run: that of its options; of several, the one that names its recipe or its weights,
    else the first that names none.
    """
    recipe = spec.recipe.name.removesuffix(TUNED)
    start = str(spec.options.get(START)).partition(":")[0]  # none, imagenet, or sha256 of a file

    def strangeness(row: SuiteRow) -> tuple[bool, bool, bool, bool]:
        named, begun = (row.entry.recipe, row.entry.options.get(START)) if row.entry else (None, None)
        begun = begun if begun in (None, "none", "imagenet") else "sha256"
        return named not in (None, recipe), begun not in (None, start), named is None, begun is None

    fitting = [row for row in rows if row.model == spec.model and same_options(spec, _asked(row))]
    return min(fitting, key=strangeness, default=None)


def variants(row: SuiteRow, groups: Mapping[Split, Settings]) -> list[Variant]:
    """The row under its first setting on each split, then under each other one that it was run with."""
    first = {split: found[0] for split, found in groups.items()}
    rest: dict[str, Variant] = {}
    for split, (own, *others) in groups.items():
        for other in others:
            differs = what_differs(other[0].spec, own[0].spec)
            label = f"{row.label}, {_in_short(other[0].spec, own[0].spec)}"
            known = rest.setdefault(differs, Variant(row, len(rest) + 1, label, {}, differs))
            rest[differs] = Variant(row, known.number, label, {**known.runs, split: other}, differs)
    return [Variant(row, 0, row.label, first), *rest.values()]


def by_row(rows: Sequence[SuiteRow], records: Iterable[Record]) -> dict[str, Settings]:
    """The runs of one split by the key of their row."""
    found: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if row := row_of(rows, record.spec):
            found[row.key].append(record)
    return {key: settings(runs) for key, runs in found.items()}


def _asked(row: SuiteRow) -> Mapping[str, Any]:
    return row.entry.options if row.entry else {}


def _apart(suite: Suite, entry: ModelEntry) -> str:
    """In which options, and whether in its recipe, an entry differs from the network's others."""
    siblings = [other for other in suite.models if other.name == entry.name]
    defaults = REGISTRY[entry.name].options if entry.name in REGISTRY else {}
    everyone = [{**defaults, **other.options} for other in siblings]
    mine = {**defaults, **entry.options}
    keys = [key for key in mine if any(options.get(key) != mine[key] for options in everyone)]
    parts = [f"{key}={mine[key]}" for key in keys]
    if any(other.recipe != entry.recipe for other in siblings):
        own = default_recipe(REGISTRY[entry.name], mine, suite.task).name
        parts.append(f"recipe={entry.recipe or own}")
    return ", ".join(parts)


def _in_short(spec: RunSpec, other: RunSpec) -> str:
    """'lr=0.01, batch_size=4': for a row's name."""
    found = [f"{key.rpartition('.')[2]}={_value(mine)}" for key, (mine, _) in differences(spec, other).items()]
    more = f" and {len(found) - MOST_TOLD} more" if len(found) > MOST_TOLD else ""
    return ", ".join(found[:MOST_TOLD]) + more


def _value(value: Any) -> str:
    text = str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE // 2]}…"

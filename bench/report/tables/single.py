"""For what shows one run and not a mean over seeds: of each row of a suite, under each setting, the lowest seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.record import Record
from bench.report.gaps import Gap, Missing, find_gaps
from bench.report.tables.grouping import SectionKey, Split, belongs, networks, sections, splits
from bench.report.tables.rows import by_row, suite_rows, variants
from bench.spec import Suite


@dataclass(frozen=True)
class Single:
    """The run that is shown of a row, and the row's name."""

    label: str
    record: Record


@dataclass(frozen=True)
class Part:
    """All that is shown of one dataset under one profile and size, in the suite's order."""

    key: SectionKey
    split: Split
    singles: tuple[Single, ...]
    gaps: tuple[Gap, ...]  # of all datasets, at the last one's part

    @property
    def name(self) -> str:
        return f"{self.key.name}-{self.split.dataset}-{self.split.short}"


def own_runs(suite: Suite, records: Sequence[Record]) -> list[Record]:
    """Those of the suite's rows, in any state; no guest stands beside them."""
    return [record for record in records if record.spec.model in networks(suite) and belongs(record, suite)]


def parts_of(suite: Suite, records: Sequence[Record], missing: Mapping[str, Missing]) -> list[Part]:
    """From the runs of `own_runs`, the highest profile first."""
    rows = suite_rows(suite)
    found = []
    for key, group in sections(records):
        where = splits(group, suite.datasets)
        gaps = tuple(find_gaps(suite, key.profile, group, where, missing, key.tuned))
        done = [record for record in group if record.status.state == "done"]
        for split in where:
            of_row = by_row(rows, [record for record in done if split.holds(record.spec)])
            lines = [line for row in rows if row.key in of_row for line in variants(row, {split: of_row[row.key]})]
            singles = tuple(Single(line.label, line.runs[split][0]) for line in lines)
            found.append(Part(key, split, singles, gaps if split == where[-1] else ()))
    return found

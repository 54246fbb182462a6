"""All that is shown for one suite, whichever way its tables are made. Every renderer takes this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.report.figures import Chart
from bench.report.gaps import Gap
from bench.report.grouping import floors, networks
from bench.report.table import Table
from bench.report.words import LEGEND, UNITS
from bench.spec import Suite, size_text
from bench.store import Record


@dataclass(frozen=True)
class Section:
    """Our table under one profile (and size), what it lacks, and perhaps the same as a figure."""

    table: Table
    gaps: tuple[Gap, ...]
    chart: Chart | None = None


@dataclass(frozen=True)
class Exhibit:
    """`printed` is the paper's own table where the suite has one; `legend` and `units` say how to read the tables."""

    suite: Suite
    sections: tuple[Section, ...]
    gaps: tuple[Gap, ...]  # of a suite without any finished run
    printed: Table | None
    records: tuple[Record, ...]
    notes: tuple[str, ...]
    legend: str = LEGEND
    units: str = UNITS

    @property
    def charts(self) -> tuple[Chart, ...]:
        return tuple(section.chart for section in self.sections if section.chart)


def left_out(suite: Suite, records: Sequence[Record], own: Sequence[Record]) -> tuple[str, ...]:
    """Finished runs of the suite's rows that its tables do not hold, as a note."""
    names = {*networks(suite), *floors(suite)}
    kept = {record.run_id for record in own}
    left = [r for r in records if r.spec.model in names and r.run_id not in kept and r.status.state == "done"]
    if not left:
        return ()
    sizes = ", ".join(sorted({size_text(record.spec.size) for record in left}))
    return (f"{len(left)} runs of these networks are left out: another size or other options ({sizes}).",)

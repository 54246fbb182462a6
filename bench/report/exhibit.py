"""All that is shown for one suite or one subject, whichever way its tables are made. Every renderer takes this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.record import Record
from bench.report.facts import Facts
from bench.report.gaps import Gap
from bench.report.tables.grouping import floors, networks
from bench.report.tables.table import Table
from bench.report.words import LEGEND, UNITS
from bench.spec import Suite, size_text

PRIVATE = "private"  # a folder of the report that git ignores


class Figure(Protocol):
    """A picture beside a table: a chart, a drawing, a grid of images. `name` of its files; `alt`: what is to be seen,
    for who does not see it.
    """

    @property
    def name(self) -> str: ...
    @property
    def alt(self) -> str: ...
    def draw(self) -> dict[str, bytes]:
        """The files by format: svg, png and pdf. Equal figures give equal bytes."""
        ...


@dataclass(frozen=True)
class Section:
    """Our table under one profile (and size), what it lacks, figures, and what there is to say of its rows. `lacking`:
    ids of pairs of runs whose interval over images it would show and no record has. `private`: figures that hold what
    may not be passed on; they are drawn into the folder PRIVATE of the report, and no page shows them.
    """

    table: Table
    gaps: tuple[Gap, ...]
    figures: tuple[Figure, ...] = ()
    facts: tuple[Facts, ...] = ()
    lacking: tuple[tuple[str, str], ...] = ()
    private: tuple[Figure, ...] = ()


@dataclass(frozen=True)
class Subject:
    """What stands in a suite's place where an exhibit is made from all records: `name` of its files, `title`, and the
    sentence shown while no record has its numbers, with what to run.
    """

    name: str
    title: str
    nothing: str


@dataclass(frozen=True)
class Exhibit:
    """`printed` is the paper's own table where the suite has one; `legend` and `units` say how to read the tables."""

    suite: Suite | Subject
    sections: tuple[Section, ...]
    gaps: tuple[Gap, ...]  # of a suite without any finished run
    printed: Table | None
    records: tuple[Record, ...]
    notes: tuple[str, ...]
    legend: str = LEGEND
    units: str = UNITS

    @property
    def of_suite(self) -> bool:
        return isinstance(self.suite, Suite)

    @property
    def nothing(self) -> str:
        """In the place of tables, where there are none."""
        return self.suite.nothing if isinstance(self.suite, Subject) else "No run of this suite is finished."

    @property
    def figures(self) -> tuple[Figure, ...]:
        return tuple(figure for section in self.sections for figure in section.figures)

    @property
    def private(self) -> tuple[Figure, ...]:
        return tuple(figure for section in self.sections for figure in section.private)


def left_out(suite: Suite, records: Sequence[Record], own: Sequence[Record]) -> tuple[str, ...]:
    """Finished runs of the suite's rows that its tables do not hold, as a note."""
    names = {*networks(suite), *floors(suite)}
    kept = {record.run_id for record in own}
    ended = [r for r in records if r.spec.model in names and r.status.state == "done" and not r.spec.budget.held_out]
    left = [record for record in ended if record.run_id not in kept]
    if not left:
        return ()
    sizes = ", ".join(sorted({size_text(record.spec.size) for record in left}))
    return (f"{len(left)} runs of these networks are left out: another size, options or training ({sizes}).",)

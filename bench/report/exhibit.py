"""All that is shown for one suite or one subject, whichever way its tables are made. Every renderer takes this."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.record import Record
from bench.report.facts import Facts
from bench.report.gaps import Gap
from bench.report.tables.grouping import same_options
from bench.report.tables.table import Table
from bench.report.words import LEGEND, UNITS
from bench.spec import RunSpec, Suite, size_text

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
    """Finished trainings that a reader would look for in the suite's tables and that these do not hold, as a note: its
    networks as it sets them, on its task and its parts of the training data, of the tables' dataset, profile and size.
    A suite without tables: of its datasets. All others are rows of other suites.
    """
    kept = {record.run_id for record in own}
    places = {(r.spec.dataset, r.spec.profile, r.spec.size) for r in own if r.status.state == "done"}
    left = [
        r for r in records if r.run_id not in kept and r.status.state == "done" and _expected(r.spec, suite, places)
    ]
    if not left:
        return ()
    sizes = ", ".join(sorted({size_text(record.spec.size) for record in left}))
    count = "1 run of these networks is" if len(left) == 1 else f"{len(left)} runs of these networks are"
    return (f"{count} left out: another size, training or evaluation ({sizes}).",)


def _expected(spec: RunSpec, suite: Suite, places: Collection[tuple[str, str, tuple[int, int]]]) -> bool:
    here = (spec.dataset, spec.profile, spec.size) in places if places else spec.dataset in suite.datasets
    asked = [entry.options for entry in suite.models if entry.name == spec.model]
    same = any(same_options(spec, options) for options in asked)
    part = spec.budget.train_percent in suite.train_percent and not spec.budget.held_out
    return here and same and part and spec.task == suite.task

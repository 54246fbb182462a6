"""Table 9 and Figures 6 and 7: the long-range statistics of each level, beside the controls that the paper lacks.

The paper's numbers stand beside ours under the rule of `columns.may_stand_beside`; they have a table of their own, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.paper.numbers import paper
from bench.record import Record
from bench.report.drawing.figures import Chart
from bench.report.drawing.level_charts import level_chart
from bench.report.exhibit import Exhibit, Section, left_out
from bench.report.gaps import Gap, Missing, find_gaps, nothing_run
from bench.report.notes.level_notes import notes_of, notes_of_printed
from bench.report.tables.columns import dataset_label, may_stand_beside
from bench.report.tables.grouping import SectionKey, Split, belongs, networks, sections, splits
from bench.report.tables.levels import (
    EXPONENTS,
    MODULES,
    PLACES,
    Found,
    Place,
    Source,
    network_sources,
    noise_sources,
    read_all,
)
from bench.report.tables.rows import SuiteRow, by_row, suite_rows
from bench.report.tables.table import PURE, Cell, Column, Row, RowKind, Table
from bench.settings import profile_named
from bench.spec import Suite, size_text
from bench.store import LONGRANGE

PAPERS = "table9"
DIGITS = 3
NAMES = {"Hurst": "Hurst (R/S)", "DFA": "DFA", "beta": "PSD β"}
LEVELS = {"table9": range(6), "figure6": range(3), "figure7": range(3, 6)}  # of an exhibit, by place
LEGEND = (
    "How far the features after each attention module remember themselves. A series is one channel of one image, read "
    "row by row; a number is the mean over the series of all seeds ± their standard deviation. Hurst is the slope of "
    "the rescaled range, DFA that of the detrended fluctuation, β that of the falling power spectrum. White noise has "
    "DFA 0.5 and β 0; its Hurst exponent by this estimator lies above 0.5, the more the shorter the series, so the row "
    "of white noise and not 0.5 is what to compare with. The controls are read alike: the network before training, the "
    "U-Net at the same places, white noise, and noise that a Gaussian of 1.4 pixels blurred. A map that is read row by "
    "row is like itself a row later, so the autocorrelation has peaks at multiples of its width. docs/longrange.md has "
    "the definitions and the measured bias."
)
UNITS = (
    "Exponents have no unit, and no value of them is better. Levels with fewer than 256 values are not measured. The "
    "paper states neither the estimators, nor how a map becomes a series, nor how many images it took."
)
PRINTED_LABEL = "the paper's numbers: one value each, no spread stated"

Rows = Sequence[tuple[SuiteRow, Sequence[Record]]]  # each with its runs under its first setting
Values = Mapping[tuple[int, str], float]  # (place, exponent) -> the paper's number


def build_exhibit(suite: Suite, records: Sequence[Record], missing: Mapping[str, Missing]) -> Exhibit:
    """From all records of a store; reads the statistics of the runs that it shows, and the paper's numbers."""
    own = [record for record in records if record.spec.model in networks(suite) and belongs(record, suite)]
    found: list[Section] = []
    for key, group in sections(own):
        here = splits(group, suite.datasets)
        gaps = tuple(find_gaps(suite, key.profile, group, here, missing, key.tuned))
        found += [_section(suite, key, split, group, () if n else gaps) for n, split in enumerate(here)]
    return Exhibit(
        suite=suite,
        sections=tuple(found),
        gaps=() if found else tuple(nothing_run(suite, own, missing)),
        printed=_printed(suite),
        records=tuple(own),
        notes=left_out(suite, records, own),
        legend=LEGEND,
        units=UNITS,
    )


def _section(suite: Suite, key: SectionKey, split: Split, records: Sequence[Record], gaps: tuple[Gap, ...]) -> Section:
    rows = _rows_on(suite, split, records)
    files = read_all(record for _, runs in rows for record in runs)
    sources, profile, levels = _sources(rows, files), profile_named(key.profile), LEVELS[suite.exhibit or PAPERS]
    values = _values() if _may_stand_beside(suite, key, split, rows) else {}
    where = f"{dataset_label(split.dataset)}, split {split.short}"
    table = Table(
        key=f"{suite.name}/{key.name}/{split.dataset}-{split.short}",
        title=f"Profile {profile.name}, {size_text(key.size)}, {where}",
        label=profile.label,
        profile=profile.name,
        size=size_text(key.size),
        protocol=f"{key.protocol}, version {key.protocol_version}",
        columns=tuple(_column(exponent, split, values) for exponent in EXPONENTS),
        rows=tuple(_row(source, number, values) for source in sources for number in _rows_of(source, levels)),
        notes=(*files.notes, *notes_of(sources)),
        row_head="Source and level",
    )
    charts: tuple[Chart, ...] = ()
    if suite.exhibit != PAPERS and any(source.places[level].found for source in sources for level in levels):
        told = f"{suite.name}, {table.title}; {table.label}"  # a figure leaves its page
        name = f"{suite.name}-{key.name}-{split.dataset}-{split.short}"
        charts = (level_chart(name, told, sources, levels, values),)
    return Section(table, gaps, charts)


def _rows_on(suite: Suite, split: Split, records: Sequence[Record]) -> Rows:
    """The rows with a finished run on a split; the network with the paper's modules first."""
    done = [record for record in records if record.status.state == "done" and split.holds(record.spec)]
    known = sorted(suite_rows(suite), key=lambda row: row.model != MODULES)
    runs = by_row(known, done)
    return [(row, runs[row.key][0]) for row in known if row.key in runs]


def _sources(rows: Rows, files: Found) -> list[Source]:
    """Each network trained and untrained, then noise in the shapes of the first one's levels."""
    found = []
    for row, runs in rows:
        if given := [(record.run_id, files.given[record.run_id]) for record in runs if record.run_id in files.given]:
            found.append((row, given))
    return [
        *(source for row, given in found for source in network_sources(row.label, row.model, given)),
        *(noise_sources(found[0][1]) if found else ()),
    ]


def _may_stand_beside(suite: Suite, key: SectionKey, split: Split, rows: Rows) -> bool:
    """By the rule of the table, for the figures too."""
    table = suite.model_copy(update={"exhibit": PAPERS})
    return may_stand_beside(table, key, split, [record for _, runs in rows for record in runs])


def _column(exponent: str, split: Split | None, values: Values) -> Column:
    """Of ours on a split, or of the paper's own table."""
    return Column(
        key=exponent if split else f"paper.{exponent}",
        group="exponents" if split else "COCO",
        metric=NAMES[exponent] if split else exponent,
        unit=PURE,
        better="higher",
        digits=DIGITS,
        paper_digits=DIGITS,
        dataset=split.dataset if split else "coco",
        split=split.short if split else None,
        printed=split is None,
        beside=split is not None and any(known == exponent for _, known in values),
    )


def _rows_of(source: Source, levels: range) -> list[int]:
    """The levels that have a row: noise has one a size."""
    if source.model:
        return list(levels)
    return list({source.places[number].size: number for number in reversed(levels)}.values())[::-1]


def _row(source: Source, number: int, values: Values) -> Row:
    place = source.places[number]
    cells = [_cell(place, exponent) for exponent in EXPONENTS]
    if source.trained and source.model == MODULES:
        own = [values.get((number, exponent)) for exponent in EXPONENTS]
        cells = [replace(cell, paper=value) for cell, value in zip(cells, own, strict=True)]
    kind: RowKind = "network" if source.trained else "untrained"
    label = f"{source.label}: {place.name} ({place.size})" if source.model else f"{source.label}: {place.size}"
    return Row(f"{source.label}/{place.name}", label, kind, source.model or source.label, tuple(cells))


def _cell(place: Place, exponent: str) -> Cell:
    if place.found is None:
        return Cell(notes=(place.reason or "not measured",))
    spread, runs = place.found.spread(exponent), place.found.runs
    lost = place.found.series - spread.n
    return Cell(
        value=spread.mean,
        sd=spread.sd,
        n=spread.n,
        runs=runs,
        notes=(f"{lost} of {place.found.series} series have none",) if lost else (),
        file=f"{runs[0]}/{LONGRANGE}" if len(runs) == 1 else None,
        of="series",
    )


def _values() -> dict[tuple[int, str], float]:
    """Table 9: its rows are named by their module, att1 first."""
    rows = {f"att{number + 1}": number for number in range(PLACES)}
    return {(rows[cell.row.split()[0]], cell.metric): cell.value for cell in paper().table(PAPERS).cells}


def _printed(suite: Suite) -> Table:
    """Table 9 as printed, the rows of the exhibit's levels."""
    source, values = paper().table(PAPERS), _values()
    exponents = [exponent for exponent in EXPONENTS if any(known == exponent for _, known in values)]
    rows = []
    for label, number in zip(source.rows, dict.fromkeys(place for place, _ in values), strict=True):
        cells = tuple(Cell(paper=values.get((number, exponent))) for exponent in exponents)
        if number in LEVELS[suite.exhibit or PAPERS]:
            rows.append(Row(f"paper/{label}", label, "paper", MODULES, cells))
    return Table(
        key=f"{PAPERS}/paper",
        title=f"The paper's Table {source.number}, as printed",
        columns=tuple(_column(exponent, None, values) for exponent in exponents),
        rows=tuple(rows),
        label=PRINTED_LABEL,
        notes=tuple(notes_of_printed(values)),
        row_head="Level",
    )

"""Sections of one suite as one: sizes side by side, or parts of the training data below each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.report.drawing.curves import CURVES, joined_curves
from bench.report.drawing.figures import Chart
from bench.report.exhibit import Figure, Section
from bench.report.exhibits.comparison import Keyed
from bench.report.facts import Facts
from bench.report.gaps import Gap, Missing, find_gaps
from bench.report.tables.grouping import SectionKey, splits
from bench.report.tables.table import Cell, Column, Row, Table
from bench.settings import profile_named, sizes_of, what_differs
from bench.spec import RunSpec, Suite, size_text

Named = tuple[str, Section]  # by the size or the part that it is of
VARIES = ("size", "train_hash", "val_hash", "train_pixels", "val_pixels", "also_at")  # of a spec, from size to size


def over_sizes(found: Sequence[Keyed]) -> list[list[Keyed]]:
    """The sections that differ in nothing but their size, in their order."""
    return _groups([(replace(keyed.key, size=(0, 0)), keyed) for keyed in found])


def over_parts(found: Sequence[Keyed]) -> list[list[Keyed]]:
    """Those that differ in nothing but the part of the training data."""
    return _groups([(replace(keyed.key, percent=0), keyed) for keyed in found])


def _groups(found: Sequence[tuple[SectionKey, Keyed]]) -> list[list[Keyed]]:
    groups: dict[SectionKey, list[Keyed]] = defaultdict(list)
    for key, keyed in found:
        groups[key].append(keyed)
    return list(groups.values())


def side_by_side(named: Sequence[Named], key: str, title: str) -> Section:
    """One table with the columns of all, grouped by name; each keeps its marks. A row may lack columns."""
    tables = [section.table for _, section in named]
    rows = {_same(row): row for table in reversed(tables) for row in table.rows}
    order = dict.fromkeys(_same(row) for table in tables for row in table.rows)
    columns = [
        replace(column, key=f"{name}.{column.key}", group=_group(name, column))
        for name, section in named
        for column in section.table.columns
    ]
    table = replace(
        tables[0],
        key=key,
        title=title,
        size=None,
        columns=tuple(columns),
        rows=tuple(replace(rows[name], cells=_cells(name, tables)) for name in order),
        notes=_notes([(name, section.table.notes) for name, section in named]),
    )
    return _with_rest(table, named)


def _group(name: str, column: Column) -> str:
    return column.group if name in column.group else f"{name}: {column.group}"


def _same(row: Row) -> tuple[str, str]:
    """What a row is at every size: its label, too, since a network's second settings are told apart by it."""
    return row.key, row.label


def _cells(name: tuple[str, str], tables: Sequence[Table]) -> tuple[Cell, ...]:
    cells: list[Cell] = []
    for table in tables:
        found = next((row for row in table.rows if _same(row) == name), None)
        cells += found.cells if found else [Cell()] * len(table.columns)
    return tuple(cells)


def stacked(named: Sequence[Named], key: str, title: str) -> Section:
    """One table with the rows of all, each under its name. The columns are those of all: a cell may be empty."""
    tables = [section.table for _, section in named]
    alike: dict[str, list[Column]] = defaultdict(list)
    for column in (column for table in tables for column in table.columns):
        alike[column.key].append(column)
    columns = [
        replace(same[0], beside=any(c.beside for c in same), difference=any(c.difference for c in same))
        for same in alike.values()
    ]
    order = list(alike)
    rows = [
        replace(row, key=f"{name}/{row.key}", label=f"{name}: {row.label}", cells=_at(order, section.table, row))
        for name, section in named
        for row in section.table.rows
    ]
    notes = _notes([(name, section.table.notes) for name, section in named])
    table = replace(tables[0], key=key, title=title, columns=tuple(columns), rows=tuple(rows), notes=notes)
    return _with_rest(table, named)


def _at(order: Sequence[str], table: Table, row: Row) -> tuple[Cell, ...]:
    by_key = {column.key: cell for column, cell in zip(table.columns, row.cells, strict=True)}
    return tuple(by_key.get(key, Cell()) for key in order)


def _with_rest(table: Table, named: Sequence[Named]) -> Section:
    """The section of a joined table, with the figures, facts and gaps of all."""
    sections = [section for _, section in named]
    return Section(
        table=table,
        gaps=tuple(joined_gaps([(name, section.gaps) for name, section in named])),
        figures=_figures(table, named),
        facts=_facts(named),
        lacking=tuple(pair for section in sections for pair in section.lacking),
    )


def _figures(table: Table, named: Sequence[Named]) -> tuple[Figure, ...]:
    """Their learning curves in one chart, the others as they are."""
    curves, others = [], []
    for section_name, section in named:
        for figure in section.figures:
            if isinstance(figure, Chart) and figure.name.endswith(CURVES):
                curves.append((section_name, figure))
            else:
                others.append(figure)
    told = f"{table.key.partition('/')[0]}; {table.label}"
    return (*others, *joined_curves(table.key.replace("/", "-"), told, curves))


def _notes(named: Sequence[tuple[str, Sequence[str]]]) -> tuple[str, ...]:
    """What all say is said once, the rest with where it holds."""
    where: dict[str, list[str]] = defaultdict(list)
    for name, notes in named:
        for note in notes:
            where[note].append(name)
    return tuple(note if len(names) == len(named) else f"{', '.join(names)}: {note}" for note, names in where.items())


def _facts(named: Sequence[Named]) -> tuple[Facts, ...]:
    """Facts of one title and heads as one: a line that all have once, the others with where they hold."""
    alike: dict[tuple[str, tuple[str, ...]], dict[str, Facts]] = defaultdict(dict)
    for name, section in named:
        for facts in section.facts:
            alike[facts.title, facts.heads][name] = facts
    return tuple(_joined_facts(found, everywhere=len(found) == len(named)) for found in alike.values())


def _joined_facts(found: Mapping[str, Facts], everywhere: bool) -> Facts:
    where: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, facts in found.items():
        for line in facts.lines:
            where[line].append(name)
    told = {line: everywhere and len(names) == len(found) for line, names in where.items()}
    lines = [line if told[line] else (f"{', '.join(where[line])}: {line[0]}", *line[1:]) for line in where]
    notes = dict.fromkeys(note for facts in found.values() for note in facts.notes)
    intervals = sum(facts.intervals for facts in found.values())
    return replace(next(iter(found.values())), lines=tuple(lines), notes=tuple(notes), intervals=intervals)


def unlike(named: Sequence[tuple[str, Keyed]]) -> tuple[str, ...]:
    """Notes: the rows that were not trained alike at every size or on every part of the data."""
    first: dict[tuple[str, str], tuple[str, RunSpec]] = {}
    notes: dict[str, None] = {}
    for name, keyed in named:
        specs = {record.run_id: record.spec for record in keyed.records}
        for row in (row for row in keyed.section.table.rows if row.kind == "network"):
            runs = dict.fromkeys(run for cell in row.cells for run in cell.runs[:1])  # all of a cell are of one setting
            for spec in (specs[run] for run in runs if run in specs):
                where, other = first.setdefault((row.label, spec.dataset), (name, spec))
                budget = other.budget.model_copy(update={"train_percent": spec.budget.train_percent})
                alike = other.model_copy(update={key: getattr(spec, key) for key in VARIES} | {"budget": budget})
                if differs := what_differs(spec, alike):
                    told = f"{row.label} on {spec.dataset}: at {name} another setting than at {where}: {differs}."
                    notes[f"Not a fair comparison. {told}"] = None
    return tuple(notes)


def joined_gaps(named: Sequence[tuple[str, Sequence[Gap]]]) -> list[Gap]:
    """What lacks everywhere is said once, the rest with where it lacks."""
    found: dict[Gap, list[str]] = defaultdict(list)
    for name, gaps in named:
        for gap in gaps:
            found[gap].append(name)
    return [
        replace(
            gap, times=len(at), dataset=gap.dataset if len(at) == len(named) else f"{gap.dataset} at {', '.join(at)}"
        )
        for gap, at in found.items()
    ]


def gaps_of(
    suite: Suite, group: Sequence[Keyed], planned: Sequence[tuple[str, Section | None]], missing: Mapping[str, Missing]
) -> tuple[Gap, ...]:
    """What each planned size or part lacks: of one that was not run at all, every run on all the datasets."""
    key = group[0].key
    here = splits([record for keyed in group for record in keyed.records], suite.datasets)
    datasets = {split.dataset: split for split in here}.values()
    nothing = find_gaps(suite, key.profile, (), tuple(datasets), missing, key.tuned)
    return tuple(joined_gaps([(name, section.gaps if section else nothing) for name, section in planned]))


def sizes_side_by_side(suite: Suite, found: Sequence[Keyed], missing: Mapping[str, Missing]) -> list[Section]:
    """A section a profile: every size of the suite that was run, from the largest; the others are gaps."""
    sections = []
    for group in over_sizes(found):
        key, sizes = group[0].key, {keyed.key.size: keyed.section for keyed in group}
        falling = sorted(group, key=lambda keyed: -keyed.key.size[0] * keyed.key.size[1])
        apart = unlike([(size_text(keyed.key.size), keyed) for keyed in falling])
        order = sorted({*sizes_of(suite, profile_named(key.profile)), *sizes}, key=lambda s: (-s[0] * s[1], s))
        planned = [(size_text(size), sizes.get(size)) for size in order]
        first, own = group[0].section.table, f"-{size_text(key.size)}"
        section = side_by_side(
            [(name, section) for name, section in planned if section],
            f"{suite.name}/{key.name.replace(own, '')}",
            first.title.replace(f", {size_text(key.size)}", ""),
        )
        table = replace(section.table, notes=(*apart, *section.table.notes))
        sections.append(replace(section, table=table, gaps=gaps_of(suite, group, planned, missing)))
    return sections

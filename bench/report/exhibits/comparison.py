"""The comparison of networks on panoptic segmentation: our records joined with the paper's Table 4.

The paper's numbers stand beside ours only where a comparison is due (see `columns.may_stand_beside`). Everywhere
else they keep to a table of their own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.paper.numbers import cells_of, paper, paper_value
from bench.record import Record
from bench.report.drawing.curves import convergence, learning_curves
from bench.report.drawing.tradeoff import tradeoffs
from bench.report.exhibit import Exhibit, Section, left_out
from bench.report.gaps import Missing, find_gaps, nothing_run
from bench.report.notes.conditions import at_the_edge, conditions, unequal
from bench.report.notes.contrasts import contrasts
from bench.report.notes.over_images import over_images
from bench.report.notes.remarks import about
from bench.report.notes.searches import searches
from bench.report.tables.cells import cost_cell, score_cell
from bench.report.tables.columns import COSTS, dataset_label, section_columns
from bench.report.tables.grouping import SectionKey, Split, belongs, guests, networks, sections, splits
from bench.report.tables.printed import printed_table
from bench.report.tables.rows import Settings, SuiteRow, Variant, by_row, label_of, suite_rows, variants
from bench.report.tables.table import Cell, Column, Row, RowKind, Table, with_marks
from bench.report.words import LEGEND
from bench.settings import profile_named, what_differs
from bench.spec import Suite, size_text

DATA = ("dataset", "train_hash", "val_hash", "train_pixels", "val_pixels")  # of a spec
FROM_SCRATCH = (
    "DETR and Mask2Former start from random weights here. From there they need hundreds of epochs before they find "
    "masks, so rows near zero tell of the budget, not of the networks."
)
LINES: tuple[tuple[RowKind, RowKind], ...] = (  # of a table, and the rows that they come from
    ("floor", "floor"),
    ("untrained", "network"),
    ("network", "network"),
    ("guest", "guest"),
)
ONE_SEED = "one seed: this mark cannot tell a difference from noise"

Cells = Mapping[Split, Mapping[str, Settings]]  # split -> key of a row -> settings -> seeds


@dataclass(frozen=True)
class Keyed:
    """A section with what its table holds constant, and its runs in any state."""

    key: SectionKey
    records: Sequence[Record]
    section: Section


# what an exhibit makes of the sections of its suite
Arrange = Callable[[Suite, Sequence[Keyed], Mapping[str, Missing]], Sequence[Section]]


def as_they_are(_suite: Suite, found: Sequence[Keyed], _missing: Mapping[str, Missing]) -> Sequence[Section]:
    return [keyed.section for keyed in found]


def build_exhibit(
    suite: Suite, records: Sequence[Record], missing: Mapping[str, Missing], arrange: Arrange = as_they_are
) -> Exhibit:
    """The tables of a suite from all records of a store. Pure: reads no file but the paper's numbers."""
    own = [record for record in records if belongs(record, suite)]
    source = paper().tables.get(suite.exhibit or "")
    candidates = [record for record in records if record.spec.budget.held_out]
    opened = [(key, group) for key, group in sections(own) if _opens(suite, group)]
    found = [Keyed(key, group, _section(suite, key, group, candidates, missing)) for key, group in opened]
    shown = {record.run_id for _, group in opened for record in group}
    return Exhibit(
        suite=suite,
        sections=tuple(arrange(suite, found, missing)),
        gaps=() if found else tuple(nothing_run(suite, own, missing)),
        printed=printed_table(source) if source else None,
        records=tuple(r for r in own if r.run_id in shown or r.spec.model in networks(suite)),
        notes=left_out(suite, records, own),
        legend=" ".join(filter(None, (about(suite.exhibit or ""), LEGEND))),
    )


def _opens(suite: Suite, records: Sequence[Record]) -> bool:
    """Guests alone are no table of this suite."""
    ran = [record for record in records if record.status.state == "done"]
    return any(record.spec.model in networks(suite) for record in ran) or not guests(suite, ran)


def _section(
    suite: Suite,
    key: SectionKey,
    records: Sequence[Record],
    candidates: Sequence[Record],
    missing: Mapping[str, Missing],
) -> Section:
    """`candidates`: the runs of searches, whichever suite's."""
    found = splits(records, suite.datasets)
    done = [record for record in records if record.status.state == "done"]
    rows = suite_rows(suite, done)
    cells = {split: by_row(rows, [r for r in done if split.holds(r.spec)]) for split in found}
    lines = _lines(rows, cells)
    table = _table(suite, key, cells, lines)
    trained = [variant for kind, variant in lines if kind in ("network", "guest") and variant.runs]
    notes = [*unequal(trained), *at_the_edge(trained), *_notes(suite, table, done, found), *_differing(rows, cells)]
    if any(record.spec.options.get("backbone_weights") == "none" for record in done):
        notes.insert(0, FROM_SCRATCH)
    told = f"{suite.name}, {size_text(key.size)}{_part(key)}; {table.label}"  # a figure leaves its page
    pairs = over_images(suite, trained)
    ways = conditions(trained, suite.exhibit)
    told_of_rows = contrasts(suite, trained), pairs.facts, ways, searches(trained, candidates)
    return Section(
        table=replace(table, notes=(*notes, *convergence(trained), *pairs.notes)),
        gaps=tuple(find_gaps(suite, key.profile, records, found, missing, key.tuned)),
        figures=(
            *tradeoffs(f"{suite.name}-{key.name}-tradeoff", told, suite.task, trained),
            *learning_curves(f"{suite.name}-{key.name}-curves", told, trained),
        ),
        facts=tuple(filter(None, told_of_rows)),
        lacking=pairs.lacking,
    )


def _table(suite: Suite, key: SectionKey, cells: Cells, lines: Sequence[tuple[RowKind, Variant]]) -> Table:
    """With its marks, without its notes."""
    first = {split: [r for settings in by_key.values() for r in settings[0]] for split, by_key in cells.items()}
    columns = section_columns(suite, key, first)
    profile = profile_named(key.profile)
    table = Table(
        key=f"{suite.name}/{key.name}",
        title=f"Profile {profile.name}, {size_text(key.size)}{_part(key)}",
        label=profile.label,
        profile=profile.name,
        size=size_text(key.size),
        protocol=f"{key.protocol}, version {key.protocol_version}",
        columns=columns,
        rows=tuple(row for row in (_row(suite, key, *line, columns) for line in lines) if _has_any(row)),
    )
    return _note_single_seeds(with_marks(table))


def _part(key: SectionKey) -> str:
    share = "" if key.percent == 100 else f", {key.percent} % of the training images"
    return f"{share}, learning rates searched" if key.tuned else share


def _has_any(row: Row) -> bool:
    return any(c.value is not None or c.paper is not None or c.runs for c in row.cells)


def _differing(rows: Sequence[SuiteRow], cells: Cells) -> list[str]:
    """A row that holds different settings on different datasets: that is said, with what differs."""
    notes = []
    for row in rows:
        specs = [by_key[row.key][0][0].spec for by_key in cells.values() if row.key in by_key]
        for spec in specs[1:]:
            data = {key: getattr(specs[0], key) for key in DATA}
            if differs := what_differs(spec.model_copy(update=data), specs[0]):
                notes.append(f"{row.label}: on {spec.dataset} another setting than on {specs[0].dataset}: {differs}.")
    return notes


def _lines(rows: Sequence[SuiteRow], cells: Cells) -> list[tuple[RowKind, Variant]]:
    """Floors, each network untrained, the networks, the guests; another setting of a network is a line of its own."""
    lines: list[tuple[RowKind, Variant]] = []
    for kind, of in LINES:
        for row in (row for row in rows if row.kind == of):
            groups = {split: by_key[row.key] for split, by_key in cells.items() if row.key in by_key}
            lines += [(kind, variant) for variant in variants(row, groups) if kind != "untrained" or not variant.number]
    return lines


def _row(suite: Suite, key: SectionKey, kind: RowKind, variant: Variant, columns: Sequence[Column]) -> Row:
    row = variant.row
    by_column = {(split.dataset, split.short): split for split in variant.runs}
    cells = []
    for column in columns:
        if column.metric in COSTS:
            cell = cost_cell(column, {} if kind == "untrained" else variant.runs)
        else:
            split = by_column.get((column.dataset or "", column.split or ""))
            cell = score_cell(column.metric, kind, variant.runs[split] if split else (), column.reading)
            if split and variant.number:
                cell = replace(cell, notes=(*cell.notes, f"another setting: {variant.differs}"))
        if kind == "network" and not variant.number and column.beside:
            cell = replace(cell, paper=_paper(suite, key, column, row))
        cells.append(cell)
    shown: RowKind = "setting" if kind == "network" and variant.number else kind
    label = f"{variant.label}{', untrained' if kind == 'untrained' else ''}"
    return Row(f"{kind}/{variant.key}", label, shown, row.model, tuple(cells))


def _paper(suite: Suite, key: SectionKey, column: Column, row: SuiteRow) -> float | None:
    """Of a network that stands in several rows, only the one as it comes is the paper's."""
    if row.apart and row.entry and row.entry.options:
        return None
    dataset, size = (None, None) if column.metric in COSTS else (column.dataset, key.size)
    cell = paper_value(suite.exhibit or "", row.model, dataset, column.metric, size, key.percent)
    return cell.value if cell else None


def _note_single_seeds(table: Table) -> Table:
    """A mark that rests on one seed says so."""

    def noted(column: Column, cell: Cell) -> Cell:
        single = cell.mark and column.unit == "%" and cell.n < 2
        return replace(cell, notes=(*cell.notes, ONE_SEED)) if single else cell

    rows = [
        replace(row, cells=tuple(noted(column, cell) for column, cell in zip(table.columns, row.cells, strict=True)))
        for row in table.rows
    ]
    return replace(table, rows=tuple(rows))


def _notes(suite: Suite, table: Table, done: Sequence[Record], found: Sequence[Split]) -> list[str]:
    """What a reader must know of the table as a whole; then each cell's own notes, with the row it is in."""
    notes = []
    cells = [(row, column, cell) for row in table.rows for column, cell in zip(table.columns, row.cells, strict=True)]
    if any(ONE_SEED in cell.notes for _, _, cell in cells):
        notes.append("Marks that rest on one seed go by value alone: they cannot tell a difference from noise.")
    if unplanned := [row.label for row in table.rows if row.kind in ("guest", "setting")]:
        notes.append(f"Not planned by this suite, so without marks and not weighed by them: {', '.join(unplanned)}.")
    for split in found:
        mine = [record for record in done if split.holds(record.spec)]
        where = f"{dataset_label(split.dataset)}, split {split.short},"
        notes += _mixed("devices", where, mine, _device)
        notes += _mixed("instance truths", where, mine, _instance_truth)
    notes += _groupings(done)
    if profile_named(table.profile or "").reproduction:
        printed = {cell.metric for cell in cells_of(suite.exhibit or "")} - {*COSTS}
        apart = dict.fromkeys(c.group for c in table.columns if c.metric in printed and not c.beside)
        why = "not the paper's dataset, its size or the whole split"
        notes += [f"{group}: not beside the paper's numbers ({why})." for group in apart]
    own: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row, column, cell in cells:
        where = column.metric if column.metric in COSTS else f"{dataset_label(column.dataset or '')} {column.metric}"
        for note in (note for note in cell.notes if note != ONE_SEED):
            own[row.label, note].append(where)
    return notes + [f"{label} ({', '.join(places)}): {note}." for (label, note), places in own.items()]


def _groupings(records: Sequence[Record]) -> list[str]:
    """How instances were read out of pixel embeddings: the paper does not say, and PQ and AP depend on it."""
    names: dict[str, set[str]] = defaultdict(set)
    for record in records:
        if record.spec.task != "semantic" and "grouping" in record.spec.options:
            names[record.spec.options["grouping"]].add(label_of(record.spec.model))
    return [
        f"Pixels become instances by the grouping '{name}', ours, since the paper names none: {', '.join(sorted(who))}."
        for name, who in sorted(names.items())
    ]


def _mixed(what: str, where: str, records: Sequence[Record], of: Callable[[Record], str]) -> list[str]:
    groups: dict[str, set[str]] = defaultdict(set)
    for record in records:
        groups[of(record)].add(label_of(record.spec.model))
    if len(groups) < 2:
        return []
    parts = "; ".join(f"{name}: {', '.join(sorted(groups[name]))}" for name in sorted(groups))
    return [f"The runs on {where} come from different {what}. {parts}."]


def _device(record: Record) -> str:
    return str(record.attempt.get("device") or "not recorded")


def _instance_truth(record: Record) -> str:
    return record.metrics.final.instance_truth if record.metrics else "not recorded"

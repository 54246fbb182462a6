"""The comparison of networks on panoptic segmentation: our records joined with the paper's Table 4.

The paper's numbers stand beside ours only where a comparison is due (see `columns.may_stand_beside`). Everywhere
else they keep to a table of their own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from bench.paper.numbers import paper, paper_value
from bench.report.cells import cost_cell, score_cell
from bench.report.columns import COSTS, dataset_label, section_columns
from bench.report.exhibit import Exhibit, Section, left_out
from bench.report.gaps import Missing, find_gaps, label_of, nothing_run
from bench.report.grouping import (
    SectionKey,
    Split,
    belongs,
    floors,
    guests,
    networks,
    profile_named,
    sections,
    settings,
    splits,
    what_differs,
)
from bench.report.printed import printed_table
from bench.report.table import Cell, Column, Row, RowKind, Table, with_marks
from bench.spec import Suite, size_text
from bench.store import Record

DATA = ("dataset", "train_hash", "val_hash", "train_pixels", "val_pixels")  # of a spec
FROM_SCRATCH = (
    "DETR and Mask2Former start from random weights here. From there they need hundreds of epochs before they find "
    "masks, so rows near zero tell of the budget, not of the networks."
)
ONE_SEED = "one seed: this mark cannot tell a difference from noise"

Cells = Mapping[Split, Mapping[str, list[list[Record]]]]  # split -> network -> settings -> seeds


def build_exhibit(suite: Suite, records: Sequence[Record], missing: Mapping[str, Missing]) -> Exhibit:
    """The tables of a suite from all records of a store. Pure: reads no file but the paper's numbers."""
    own = [record for record in records if belongs(record, suite)]
    source = paper().tables.get(suite.exhibit or "")
    found = tuple(_section(suite, key, group, missing) for key, group in sections(own))
    return Exhibit(
        suite=suite,
        sections=found,
        gaps=() if found else tuple(nothing_run(suite, own, missing)),
        printed=printed_table(source) if source else None,
        records=tuple(own),
        notes=left_out(suite, records, own),
    )


def _section(suite: Suite, key: SectionKey, records: Sequence[Record], missing: Mapping[str, Missing]) -> Section:
    found = splits(records, suite.datasets)
    done = [record for record in records if record.status.state == "done"]
    cells = {split: _by_model([r for r in done if split.holds(r.spec)]) for split in found}
    first = {split: [r for groups in models.values() for r in groups[0]] for split, models in cells.items()}
    columns = section_columns(suite, key, first)
    profile = profile_named(key.profile)
    table = Table(
        key=f"{suite.name}/{key.name}",
        title=f"Profile {profile.name}, {size_text(key.size)}{_percent(key.percent)}",
        label=profile.label,
        profile=profile.name,
        size=size_text(key.size),
        protocol=f"{key.protocol}, version {key.protocol_version}",
        columns=columns,
        rows=tuple(_rows(suite, columns, cells)),
    )
    table = _note_single_seeds(with_marks(table))
    gaps = find_gaps(suite, key.profile, records, found, missing)
    notes = [*_notes(table, done, found), *_differing(cells)]
    if any(record.spec.options.get("backbone_weights") == "none" for record in done):
        notes.insert(0, FROM_SCRATCH)
    return Section(replace(table, notes=tuple(notes)), tuple(gaps))


def _percent(percent: int) -> str:
    return "" if percent == 100 else f", {percent} % of the training images"


def _differing(cells: Cells) -> list[str]:
    """A network whose row holds different settings on different datasets: that is said, with what differs."""
    notes = []
    for model in dict.fromkeys(model for models in cells.values() for model in models):
        first, *rest = (models[model][0][0].spec for models in cells.values() if model in models)
        data = {key: getattr(first, key) for key in DATA}
        for spec in rest:
            if differs := what_differs(spec.model_copy(update=data), first):
                notes.append(
                    f"{label_of(model)}: on {spec.dataset} another setting than on {first.dataset}: {differs}."
                )
    return notes


def _by_model(records: Sequence[Record]) -> dict[str, list[list[Record]]]:
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[record.spec.model].append(record)
    return {model: settings(group) for model, group in groups.items()}


def _rows(suite: Suite, columns: Sequence[Column], cells: Cells) -> list[Row]:
    """Floors, each network untrained, the networks, the guests; a second setting of a network is a row of its own."""
    planned: list[tuple[RowKind, str]] = [("floor", model) for model in floors(suite)]
    planned += [("untrained", model) for model in networks(suite)]
    planned += [("network", model) for model in networks(suite)]
    ran = (record for models in cells.values() for settings_ in models.values() for record in settings_[0])
    planned += [("guest", model) for model in guests(suite, ran)]
    rows = []
    for kind, model in planned:
        groups = {split: models[model] for split, models in cells.items() if model in models}
        variants = 1 if kind == "untrained" else max(map(len, groups.values()), default=1)
        for variant in range(variants):
            rows.append(_row(suite, kind, model, variant, columns, groups))
    return [row for row in rows if any(c.value is not None or c.paper is not None or c.runs for c in row.cells)]


def _row(
    suite: Suite,
    kind: RowKind,
    model: str,
    variant: int,
    columns: Sequence[Column],
    groups: Mapping[Split, list[list[Record]]],
) -> Row:
    chosen = {split: settings_[variant] for split, settings_ in groups.items() if len(settings_) > variant}
    by_column = {(split.dataset, split.short): split for split in chosen}
    first = {split: settings_[0] for split, settings_ in groups.items()}
    cells = []
    for column in columns:
        if column.metric in COSTS:
            cell = cost_cell(column, {} if kind == "untrained" else chosen)
        else:
            split = by_column.get((column.dataset or "", column.split or ""))
            cell = score_cell(column.metric, kind, chosen[split] if split else ())
            if split and variant:
                differs = what_differs(chosen[split][0].spec, first[split][0].spec)
                cell = replace(cell, notes=(*cell.notes, f"another setting: {differs}"))
        if kind == "network" and not variant and column.beside:
            cell = replace(cell, paper=_paper(suite, column, model))
        cells.append(cell)
    label = f"{label_of(model)}{', untrained' if kind == 'untrained' else ''}"
    if not variant:
        return Row(f"{kind}/{model}", label, kind, model, tuple(cells))
    shown: RowKind = "setting" if kind == "network" else kind
    return Row(f"{kind}/{model}/{variant}", f"{label}, setting {variant + 1}", shown, model, tuple(cells))


def _paper(suite: Suite, column: Column, model: str) -> float | None:
    dataset = None if column.metric in COSTS else column.dataset
    cell = paper_value(suite.exhibit or "", model, dataset, column.metric)
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


def _notes(table: Table, done: Sequence[Record], found: Sequence[Split]) -> list[str]:
    """What a reader must know of the table as a whole; then each cell's own notes, with the row it is in."""
    notes = []
    cells = [(row, column, cell) for row in table.rows for column, cell in zip(table.columns, row.cells, strict=True)]
    if any(ONE_SEED in cell.notes for _, _, cell in cells):
        notes.append("Marks that rest on one seed go by value alone: they cannot tell a difference from noise.")
    for split in found:
        mine = [record for record in done if split.holds(record.spec)]
        where = f"{dataset_label(split.dataset)}, split {split.short},"
        notes += _mixed("devices", where, mine, _device)
        notes += _mixed("instance truths", where, mine, _instance_truth)
    notes += _groupings(done)
    if profile_named(table.profile or "").reproduction:
        apart = dict.fromkeys(c.group for c in table.columns if c.unit == "%" and not c.beside)
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

"""How far the protocol alone moves each number: the same predictions under every reading of the paper's metrics.

A row is one network under one setting, a table one profile and one protocol of the truth (at the input's size, or
native for the oracles). Only here do numbers of different protocols stand side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.protocols import AT, BATCHES
from bench.record import Record
from bench.report.exhibit import Exhibit, Section, Subject
from bench.report.exhibits.oracle import SMALL, WHOLE
from bench.report.exhibits.shape import shape_table
from bench.report.tables.columns import SCORE, dataset_label
from bench.report.tables.grouping import FLOORS, ORACLES, section_key
from bench.report.tables.rows import label_of
from bench.report.tables.table import Cell, Column, Row, RowKind, Table, summarise
from bench.settings import profile_named, settings
from bench.spec import size_text

SUBJECT = Subject(
    name="protocols",
    title="What the protocol alone moves",
    nothing="No finished run holds these numbers yet: `python -m bench run` makes some, and `python -m bench evaluate "
    "--all` adds them to older runs from their kept weights.",
)
LEGEND = (
    "Every number of a row comes from the same predictions and the same truth; only the reading of the metric differs. "
    "`standard` is what all other tables hold. The paper's text reads AP@k as one IoU threshold k/100 and, in one "
    "place, mIoU over stuff alone; the released code averages mIoU over batches, caps the detections of an image at "
    "30, 50, 70 or 100, and takes connected components of the class map as objects, stuff too. Its batches have 1, 8 "
    "or 14 images, by script. Its mistakes are not repeated: void is no class here, and no object."
)
UNITS = (
    "In the tables of protocols mIoU and AP are percentages; what moved is in percentage points (pp): the reading "
    "minus `standard`, run by run, then the mean. IoU .50 is COCO's AP50. A cap of 100 is what `standard` has. "
    "Components rank by the mean score of the network's own segments below them."
)


@dataclass(frozen=True)
class _Reading:
    """One number of a record: `protocol` None is `standard`, its scores proper."""

    title: str
    key: str
    protocol: str | None = None


MIOU = (
    _Reading("standard", "miou"),
    _Reading("paper-text: stuff alone", "miou_stuff", "paper-text"),
    _Reading("paper-text: things alone", "miou_thing", "paper-text"),
    *(_Reading(f"released: batches of {n}", f"miou_batch{n}", "released") for n in BATCHES),
)
THRESHOLDS = (
    _Reading("standard", "ap"),
    *(_Reading(f"paper-text: IoU {k / 100:.2f}", f"ap_iou{k}", "paper-text") for k in AT),
    _Reading("released: IoU .30 to .95", "ap_iou30to95", "released"),
)
CAPS = (
    _Reading("standard", "ap"),
    *(_Reading(f"released: {k} detections", f"ap_max{k}", "released") for k in AT[:-1]),
    _Reading("released: components of all classes", "ap_components_max100", "released"),
    _Reading("released: components of things", "ap_components_thing_max100", "released"),
)
TOPICS = {  # of each table: its key -> its title, the metric, the readings
    "miou": ("mIoU", "mIoU", MIOU),
    "ap-thresholds": ("AP by IoU threshold", "AP", THRESHOLDS),
    "ap-detections": ("AP by detections", "AP", CAPS),
}


def build_exhibit(records: Sequence[Record], _results: Path) -> Exhibit:
    """From all records of a store but a search's candidates. Those without these numbers are counted in a note."""
    done = [record for record in records if record.metrics and not record.spec.budget.held_out]
    having = [record for record in done if record.metrics and record.metrics.protocols]
    keys = sorted({_key(record) for record in having})
    tables = [table for key in keys for table in _tables(key, [r for r in having if _key(r) == key])]
    lacking = len(done) - len(having)
    note = f"{lacking} finished runs hold no other protocol yet: `python -m bench evaluate --all` adds it."
    return Exhibit(
        suite=SUBJECT,
        sections=tuple(Section(table, ()) for table in tables),
        gaps=(),
        printed=None,
        records=tuple(having),
        notes=(note,) if having and lacking else (),
        legend=LEGEND,
        units=UNITS,
    )


Key = tuple[int, str, bool, str, int]  # rank, profile, whether of the oracles, protocol of the truth, its version


def _key(record: Record) -> Key:
    key = section_key(record.spec)
    return key.rank, key.profile, key.protocol == "native", key.protocol, key.protocol_version


def _tables(key: Key, records: Sequence[Record]) -> list[Table]:
    _, name, of_oracles, protocol, version = key
    profile, rows = profile_named(name), _named(settings(records))
    where, label = f"Profile {name}", profile.label
    if of_oracles:  # nothing trained them, so the profile's own label would not be true
        where, label = f"Profile {name}, native truth", f"{name}: {WHOLE if profile.reproduction else SMALL}"
    start = f"{SUBJECT.name}/{name}-{protocol}-v{version}"
    found = [
        Table(
            key=f"{start}/{topic}",
            title=f"{where}: {title}",
            label=label,
            profile=name,
            protocol=f"{protocol}, version {version}, beside the readings in the heads",
            columns=tuple(_column(metric, reading, moved) for reading, moved in _shown(readings)),
            rows=tuple(_row(label, group, readings) for label, group in rows),
            row_head="Dataset, size, network",
        )
        for topic, (title, metric, readings) in TOPICS.items()
    ]
    found = [table for table in found if any(c.value is not None for row in table.rows for c in row.cells)]
    shape = shape_table(f"{start}/shape", where, label, rows)
    return [*found, shape] if shape else found


def _shown(readings: Sequence[_Reading]) -> list[tuple[_Reading, bool]]:
    """The columns of a table: every number, then how far it lies from the first, which is `standard`."""
    return [*((reading, False) for reading in readings), *((reading, True) for reading in readings[1:])]


def _named(groups: Sequence[Sequence[Record]]) -> list[tuple[str, Sequence[Record]]]:
    """Each setting with its row's label, by dataset, size and network; equal labels are numbered."""
    order = sorted(groups, key=lambda group: (group[0].spec.dataset, group[0].spec.size, _kind(group[0])))
    labels: dict[str, int] = {}
    named = []
    for group in order:
        spec = group[0].spec
        part = "" if spec.budget.train_percent == 100 else f", {spec.budget.train_percent} % of the training images"
        part += ", tuned rate" if spec.recipe.tuning else ""
        label = f"{dataset_label(spec.dataset)} {size_text(spec.size)}: {label_of(spec.model)}, {spec.task}{part}"
        labels[label] = labels.get(label, 0) + 1
        named.append((label if labels[label] == 1 else f"{label}, setting {labels[label]}", group))
    return named


def _kind(record: Record) -> RowKind:
    if record.spec.model in FLOORS:
        return "floor"
    return "oracle" if record.spec.model in ORACLES else "network"


def _row(label: str, records: Sequence[Record], readings: Sequence[_Reading]) -> Row:
    spec = records[0].spec
    cells = tuple(_cell(records, reading, readings[0] if moved else None) for reading, moved in _shown(readings))
    split = (spec.val_hash or "")[:8]
    return Row(f"{label}/{split}", label, _kind(records[0]), spec.model, cells, spec.dataset, split)


def _cell(records: Sequence[Record], reading: _Reading, start: _Reading | None) -> Cell:
    """Over the seeds; with `start`, of the differences to it."""
    values = []
    for record in records:
        value, base = _value(record, reading), _value(record, start) if start else 0.0
        values.append((record.run_id, None if value is None or base is None else value - base))
    return summarise(values, 100.0)


def _value(record: Record, reading: _Reading) -> float | None:
    assert record.metrics is not None
    assert record.metrics.protocols is not None
    if reading.protocol is None:
        value: float | None = getattr(record.metrics.final, reading.key)
        return value
    return record.metrics.protocols.get(reading.protocol, {}).get(reading.key)


def _column(metric: str, reading: _Reading, moved: bool) -> Column:
    return Column(
        key=f"{metric}.{reading.title}{'.moved' if moved else ''}",
        group=f"{metric} moved" if moved else metric,
        metric=reading.title,
        unit="pp" if moved else SCORE.unit,
        better=SCORE.better,
        digits=SCORE.digits,
        paper_digits=SCORE.paper_digits,
    )

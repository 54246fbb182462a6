"""Table 2: AP@k in both readings, and which of them has the shape of the paper's numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench.record import Record
from bench.report.exhibit import Exhibit, Section
from bench.report.exhibits.comparison import Keyed
from bench.report.exhibits.comparison import build_exhibit as compare
from bench.report.exhibits.shape import shape_table
from bench.report.gaps import Missing
from bench.report.tables.columns import dataset_label
from bench.report.tables.grouping import FLOORS
from bench.report.tables.rows import label_of
from bench.settings import settings
from bench.spec import Suite, size_text


def build_exhibit(suite: Suite, records: Sequence[Record], missing: Mapping[str, Missing]) -> Exhibit:
    return compare(suite, records, missing, _with_shapes)


def _with_shapes(_suite: Suite, found: Sequence[Keyed], _missing: Mapping[str, Missing]) -> list[Section]:
    return [section for keyed in found for section in (keyed.section, *_shape(keyed))]


def _shape(keyed: Keyed) -> Iterator[Section]:
    """None where no network finds anything at k = 30."""
    table = keyed.section.table
    if shape := shape_table(f"{table.key}/shape", table.title, table.label, _named(keyed.records)):
        yield Section(shape, ())


def _named(records: Sequence[Record]) -> list[tuple[str, Sequence[Record]]]:
    """Each setting of each network, with its row's label."""
    networks = [r for r in records if r.spec.model not in FLOORS and r.metrics and r.metrics.protocols]
    labels: dict[str, int] = {}
    named: list[tuple[str, Sequence[Record]]] = []
    for runs in settings(networks):
        spec = runs[0].spec
        label = f"{dataset_label(spec.dataset)} {size_text(spec.size)}: {label_of(spec.model)}"
        labels[label] = labels.get(label, 0) + 1
        named.append((label if labels[label] == 1 else f"{label}, setting {labels[label]}", runs))
    return named

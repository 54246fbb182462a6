"""Tables 5, 6 and 7 as bars: the networks side by side, the paper hatched where it may stand beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.record import Record
from bench.report.drawing.figures import Axis, Chart, Line, Panel
from bench.report.exhibit import Exhibit, Section
from bench.report.exhibits.comparison import Keyed
from bench.report.exhibits.comparison import build_exhibit as compare
from bench.report.gaps import Missing
from bench.report.tables.columns import dataset_label, metrics_of
from bench.report.tables.table import Table
from bench.spec import Suite

ROW_HEIGHT = 2.2  # inches


def build_exhibit(suite: Suite, records: Sequence[Record], missing: Mapping[str, Missing]) -> Exhibit:
    return compare(suite, records, missing, sections_with_bars)


def sections_with_bars(suite: Suite, found: Sequence[Keyed], _missing: Mapping[str, Missing]) -> list[Section]:
    sections = [keyed.section for keyed in found]
    return [replace(section, figures=(*bars(suite, section.table), *section.figures)) for section in sections]


def bars(suite: Suite, table: Table) -> tuple[Chart, ...]:
    """A panel a score, a group of bars a split; none where no network has a score."""
    groups = list(dict.fromkeys((c.dataset, c.split) for c in table.columns if c.metric in metrics_of(suite)))
    panels = [Panel("", f"{m} (%)", _lines(table, m, groups), x=_axis(groups), bars=True) for m in metrics_of(suite)]
    drawn = tuple(panel for panel in panels if panel.lines)
    if not drawn:
        return ()
    chart = Chart(
        name=f"{table.key.replace('/', '-')}-bars",
        alt=f"Scores of the networks side by side: {', '.join(metrics_of(suite))}; the numbers are in the table",
        title=f"{suite.name}, {table.size}; {table.label}",
        x_label="",
        ticks=(),
        rows=(drawn,),
        row_height=ROW_HEIGHT,
    )
    return (chart,)


def _axis(groups: Sequence[tuple[str | None, str | None]]) -> Axis:
    return Axis("", tuple((float(n), dataset_label(dataset or "")) for n, (dataset, _) in enumerate(groups)))


def _lines(table: Table, metric: str, groups: Sequence[tuple[str | None, str | None]]) -> tuple[Line, ...]:
    """Ours, then the paper's."""
    ours, printed = [], []
    for row in (row for row in table.rows if row.kind == "network"):
        cells = {
            (c.dataset, c.split): cell for c, cell in zip(table.columns, row.cells, strict=True) if c.metric == metric
        }
        known = [(float(n), cells[g]) for n, g in enumerate(groups) if g in cells and cells[g].value is not None]
        paper = tuple((float(n), cells[g].paper or 0.0) for n, g in enumerate(groups) if g in cells and cells[g].paper)
        if known:
            points = tuple((x, cell.value or 0.0) for x, cell in known)
            ours.append(Line(row.label, points, method=row.model, errors=tuple(cell.sd or 0.0 for _, cell in known)))
        if paper:
            printed.append(Line(f"{row.label}, the paper", paper, printed=True, method=row.model))
    return (*ours, *printed)

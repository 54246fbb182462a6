"""Table 6: whether the modules of the two halves add up to those of both, or do more together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.paper.numbers import paper_value
from bench.record import Record
from bench.report.exhibit import Exhibit, Section
from bench.report.exhibits.bars import sections_with_bars
from bench.report.exhibits.comparison import Keyed
from bench.report.exhibits.comparison import build_exhibit as compare
from bench.report.facts import Facts
from bench.report.gaps import Missing
from bench.report.tables.columns import SCORES
from bench.report.tables.table import NONE, Cell, Table, number
from bench.spec import Suite

FULL, ENCODER, DECODER, BARE = TERMS = (
    "maskattn-unet",
    "maskattn-unet-encoder",
    "maskattn-unet-decoder",
    "maskattn-unet-none",
)
PRINTED_IN = {FULL: "table5", BARE: "table5", ENCODER: "table6", DECODER: "table6"}
TITLE = "Interaction of the two halves"
DUE = 2  # standard deviations
EXPLAINED = (
    "Full network - (encoder alone + decoder alone - no modules), in percentage points: 0 where the gains of the "
    "halves add up. The standard deviation is that of one such sum over seeds, the root of the sum of the four rows' "
    f"variances; 'synergy' or 'overlap' is said where the term is beyond {DUE} of them."
)


def build_exhibit(suite: Suite, records: Sequence[Record], missing: Mapping[str, Missing]) -> Exhibit:
    return compare(suite, records, missing, _with_interaction)


def _with_interaction(suite: Suite, found: Sequence[Keyed], missing: Mapping[str, Missing]) -> list[Section]:
    sections = sections_with_bars(suite, found, missing)
    return [replace(one, facts=(*filter(None, [interaction(one.table)]), *one.facts)) for one in sections]


def interaction(table: Table) -> Facts | None:
    """A line a split, and the paper's; None where the four rows are not all there."""
    rows = {row.model: row for row in table.rows if row.kind == "network"}
    if not rows.keys() >= {*TERMS}:
        return None
    metrics = [column.metric for column in table.columns if column.metric in SCORES["panoptic"]]
    splits = dict.fromkeys(column.group for column in table.columns if column.metric in metrics)
    lines = []
    for group in splits:
        at = {c.metric: j for j, c in enumerate(table.columns) if c.group == group}
        lines.append((group, *(_ours([rows[model].cells[at[m]] for model in TERMS]) for m in dict.fromkeys(metrics))))
    printed = ("the paper, as printed", *(_printed(metric) for metric in dict.fromkeys(metrics)))
    heads = ("Data", *(f"{metric} (pp)" for metric in dict.fromkeys(metrics)))
    return Facts(TITLE, heads, (*lines, printed), (EXPLAINED,))


def _ours(cells: Sequence[Cell]) -> str:
    """Of the cells of full, encoder, decoder and bare, in percent."""
    values = [cell.value for cell in cells if cell.value is not None]
    if len(values) < len(TERMS):
        return NONE
    term = _term(*values)
    if any(cell.sd is None for cell in cells):
        return f"{_points(term)}: one seed, cannot tell"
    spread = math.sqrt(sum((cell.sd or 0.0) ** 2 for cell in cells))
    said = "cannot tell" if abs(term) <= DUE * spread else "synergy" if term > 0 else "overlap"
    return f"{_points(term)} ± {number(spread, 1)}: {said}"


def _printed(metric: str) -> str:
    cells = [paper_value(PRINTED_IN[model], model, "coco", metric) for model in TERMS]
    values = [cell.value for cell in cells if cell is not None]
    return f"{_points(_term(*values))}: one value each" if len(values) == len(TERMS) else NONE


def _term(full: float, encoder: float, decoder: float, bare: float) -> float:
    return full - (encoder + decoder - bare)


def _points(value: float) -> str:
    return number(value, 1, signed=True)

"""compare: two finished runs, metric by metric, with intervals over images and, where several were run, over seeds."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from bench.commands.options import print_json, terminal
from bench.commands.progress import advancing
from bench.display import percent
from bench.errors import OK, UserError
from bench.evaluate.paired import Comparison, keep
from bench.intervals import CONFIDENCE, RESAMPLES, Difference, Interval, Metric, interval_path, read_interval
from bench.pairs import is_current, points, why_no_pair
from bench.record import ClassScores, Record
from bench.report.notes.contrasts import FEWEST_SEEDS, verdict, welch_margin
from bench.report.notes.over_images import TELLS, difference_text
from bench.report.tables.cells import score_cell
from bench.report.tables.table import Cell, number
from bench.settings import differences, settings, what_differs
from bench.store import REDO, Store

SHOWN = {"miou": "mIoU", "pq": "PQ", "sq": "SQ", "rq": "RQ", "ap": "AP", "ap50": "AP50", "ap75": "AP75", "ar": "AR"}
MOST_CLASSES = 5
FEWEST_RESAMPLES = 100  # the ends of the interval are the 2.5 % on either side


def compare(options: argparse.Namespace) -> int:
    store = Store(options.results)
    if not store.root.is_dir():
        raise UserError(f"no results at {store.root}; `python -m bench run --suite table4` makes some")
    if options.resamples < FEWEST_RESAMPLES:
        raise UserError(f"--resamples {options.resamples}: an interval takes at least {FEWEST_RESAMPLES}")
    one, other = (_record(store, text) for text in options.runs)
    if reason := why_no_pair(one, other):
        raise UserError(reason)
    found = Comparing(one, other, _interval(store, one, other, options.resamples), _over_seeds(store, one, other))
    if options.json:
        print_json(found.content())
    else:
        _show(found)
    return OK


@dataclass(frozen=True)
class Comparing:
    """`seeds`: by metric the two settings' cells over their seeds; empty where the runs are of one setting."""

    one: Record
    other: Record
    interval: Interval
    seeds: Mapping[Metric, tuple[Cell, Cell]]

    @property
    def differences(self) -> Mapping[Metric, Difference]:
        return self.interval.seen_from(self.one.run_id)

    def scores(self) -> dict[str, tuple[float | None, float | None]]:
        """Both runs' fractions by metric, of what at least one of them has."""
        mine, theirs = (record.metrics.final.model_dump() for record in (self.one, self.other) if record.metrics)
        return {name: (mine[key], theirs[key]) for key, name in SHOWN.items() if {mine[key], theirs[key]} != {None}}

    def classes(self) -> list[tuple[str, str, float, float]]:
        """(name, IoU or AP, first, second) of the classes that differ most, fractions; AP where IoU does not exist."""
        mine, theirs = (record.metrics.classes for record in (self.one, self.other) if record.metrics)
        metric = "IoU" if any(row.iou is not None for row in (*mine, *theirs)) else "AP"
        pairs = [(a.name, metric, _of(a, metric), _of(b, metric)) for a, b in zip(mine, theirs, strict=True)]
        there = [(name, of, a, b) for name, of, a, b in pairs if a is not None and b is not None]
        return sorted(there, key=lambda row: -abs(row[2] - row[3]))[:MOST_CLASSES]

    def content(self) -> dict[str, Any]:
        """Scores are fractions, differences percentage points, the first minus the second."""
        return {
            "runs": [self.one.run_id, self.other.run_id],
            "differs": {key: list(pair) for key, pair in differences(self.one.spec, self.other.spec).items()},
            "scores": {name: list(pair) for name, pair in self.scores().items()},
            "over_images": {
                "images": self.interval.images,
                "resamples": self.interval.resamples,
                "seed": self.interval.seed,
                "confidence": CONFIDENCE,
                "differences": {metric: value.model_dump() for metric, value in self.differences.items()},
            },
            "over_seeds": {metric: _seed_content(*cells) for metric, cells in self.seeds.items()},
            "classes": [{"name": name, "metric": of, "scores": [a, b]} for name, of, a, b in self.classes()],
        }


def _of(row: ClassScores, metric: str) -> float | None:
    return row.iou if metric == "IoU" else row.ap


def _record(store: Store, text: str) -> Record:
    """The run of this id, or of the only one that begins so."""
    known = store.run_ids()
    found = [text] if text in known else [run_id for run_id in known if run_id.startswith(text)]
    if len(found) > 1:
        raise UserError(f"{len(found)} runs begin with '{text}': {', '.join(found)}; give more of the id")
    if not found:
        raise _unknown(text, known, store)
    record = store.look(found[0])
    if not isinstance(record, Record):
        raise UserError(f"{record.reason}; {REDO}" if record else f"{found[0]}: it has no record any more")
    return record


def _unknown(text: str, known: Sequence[str], store: Store) -> UserError:
    begun = {run_id[: len(text)]: run_id for run_id in reversed(known)}
    near = difflib.get_close_matches(text, begun, n=1)
    hint = f"did you mean '{begun[near[0]]}'?" if near else f"it has {len(known)}, each the name of its folder"
    return UserError(f"unknown run '{text}' in {store.root}; {hint}")


def _interval(store: Store, one: Record, other: Record, resamples: int) -> Interval:
    """The one that is kept, as long as it is current; else computed, and kept."""
    path = interval_path(store.root, one.run_id, other.run_id)
    first, second = sorted((one, other), key=lambda record: record.run_id)
    if resamples == RESAMPLES and path.exists():
        try:
            if is_current(found := read_interval(path), first, second):
                return found
        except UserError:
            pass  # it is computed again, and written over
    with advancing(terminal(stderr=True)) as advance:  # the JSON is alone on the standard output
        computed = Comparison(advance, resamples).interval(one, other)
    try:
        keep(store.root, computed)
    except (UserError, OSError) as error:  # a store that is only to be read
        terminal(stderr=True).print(f"the interval is not kept: {error}")
    return computed


def _over_seeds(store: Store, one: Record, other: Record) -> dict[Metric, tuple[Cell, Cell]]:
    """Of all finished runs that differ from the two in nothing but the seed."""
    if not differences(one.spec, other.spec):
        return {}
    records = [record for run_id in store.run_ids() if (record := store.ended(run_id)) and record.metrics]
    groups = {record.run_id: group for group in settings(records) for record in group}
    mine, theirs = (groups[record.run_id] for record in (one, other))
    return {m: (score_cell(m, "network", mine), score_cell(m, "network", theirs)) for m in points(one, other)}


def _seed_content(one: Cell, other: Cell) -> dict[str, Any]:
    told = min(one.n, other.n) >= FEWEST_SEEDS and one.value is not None and other.value is not None
    margin = welch_margin(one, other) if told else None
    points = None if one.value is None or other.value is None else one.value - other.value
    return {"runs": [list(one.runs), list(other.runs)], "points": points, "margin": margin}


def _show(found: Comparing) -> None:
    console, interval = terminal(), found.interval
    for place, record in enumerate((found.one, found.other), start=1):
        console.print(f"{place}  {record.run_id}")
    differs = what_differs(found.one.spec, found.other.spec)
    console.print(f"1 has {differs}" if differs else "they differ in nothing but the seed")
    console.print(_scores_table(found))
    console.print(
        f"over images: {100 * CONFIDENCE:g} % of {interval.resamples:,} resamples of the {interval.images:,} images, "
        f"the same for both (paired bootstrap, seed {interval.seed}). {TELLS}"
    )
    if rows := found.classes():
        console.print(_classes_table(rows))


def _scores_table(found: Comparing) -> Table:
    counts = " and ".join(str(cell.n) for cell in next(iter(found.seeds.values()), ()))
    heads = ("", "1 (%)", "2 (%)", "1 minus 2 over images (pp)", f"over seeds ({counts} runs, pp)" if counts else "")
    table = _table(heads)
    over_images = dict[str, Difference](found.differences.items())
    over_seeds = dict[str, tuple[Cell, Cell]](found.seeds.items())
    for name, (mine, theirs) in found.scores().items():
        difference, cells = over_images.get(name), over_seeds.get(name)
        points = _points(mine, theirs) if difference is None else difference_text(difference)
        table.add_row(name, percent(mine), percent(theirs), points, verdict(*cells) if cells else "")
    return table


def _classes_table(rows: Sequence[tuple[str, str, float, float]]) -> Table:
    table = _table((f"classes that differ most in {rows[0][1]}", "1 (%)", "2 (%)", "1 minus 2 (pp)"))
    for name, _, mine, theirs in rows:
        table.add_row(name, percent(mine), percent(theirs), _points(mine, theirs))
    return table


def _table(heads: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, head in enumerate(heads):
        table.add_column(head, justify="left" if place in (0, 4) else "right")
    return table


def _points(one: float | None, other: float | None) -> str:
    return "-" if one is None or other is None else number(100 * (one - other), 1, signed=True)

"""Two records and the interval that is kept between them: whether they are a pair, and whether it is still theirs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.intact import IMAGES
from bench.intervals import RESAMPLES, SAME, SEED, VERSION, Difference, Interval, Metric, Side
from bench.record import Record


def why_no_pair(one: Record, other: Record) -> str | None:
    """Why two runs have no difference over the images of one split; None where they have."""
    if one.run_id == other.run_id:
        return f"{one.run_id} is given twice; two runs are compared"
    for record in (one, other):
        if record.metrics is None:
            return f"{record.run_id} {record.status.state}: it has no numbers"
    for what, mine, theirs in (
        ("tasks", one.spec.task, other.spec.task),
        ("protocols", _protocol(one), _protocol(other)),
        ("validation splits", _split(one), _split(other)),
        ("instance truths", _instance_truth(one), _instance_truth(other)),
    ):
        if mine != theirs:
            return f"{one.run_id} and {other.run_id} are of two {what}: {mine} and {theirs}"
    return None


def _protocol(record: Record) -> str:
    return f"{record.spec.protocol}, version {record.spec.protocol_version}"


def _split(record: Record) -> str:
    """A held-out part of the training split has that split's hash."""
    held_out = record.spec.budget.held_out
    return f"{record.spec.val_hash}{f', {held_out} % held out' if held_out else ''}"


def _instance_truth(record: Record) -> str:
    assert record.metrics is not None
    return record.metrics.final.instance_truth


def points(one: Record, other: Record) -> dict[Metric, float]:
    """The first minus the second by metrics.json, in percentage points; the metrics that both have."""
    mine, theirs = scores_of(one), scores_of(other)
    return {metric: 100 * (mine[metric] - theirs[metric]) for metric in mine if metric in theirs}


def scores_of(record: Record) -> dict[Metric, float]:
    """Fractions, of the metrics that a run has."""
    assert record.metrics is not None
    final = record.metrics.final
    values: dict[Metric, float | None] = {"mIoU": final.miou, "PQ": final.pq, "AP": final.ap}
    return {metric: value for metric, value in values.items() if value is not None}


def side(record: Record) -> Side:
    return Side(run_id=record.run_id, images_sha256=(record.status.files or {}).get(IMAGES))


def is_current(interval: Interval, first: Record, second: Record) -> bool:
    """Whether it is what would be computed today: from the same images.parquet, and by the numbers of metrics.json."""
    made_as = (interval.version, interval.resamples, interval.seed) == (VERSION, RESAMPLES, SEED)
    if not made_as or (interval.first, interval.second) != (side(first), side(second)) or why_no_pair(first, second):
        return False
    today = points(first, second)
    kept = {metric: difference.points for metric, difference in interval.metrics.items()}
    return kept.keys() == today.keys() and all(abs(kept[metric] - today[metric]) <= SAME for metric in today)


def with_intervals(records: Sequence[Record], intervals: Sequence[Interval]) -> list[Record]:
    """The records, each with the current intervals that it is the first side of."""
    by_id = {record.run_id: record for record in records}
    found: dict[str, list[Interval]] = defaultdict(list)
    for interval in intervals:
        one, other = (by_id.get(run_id) for run_id in interval.pair)
        if one and other and is_current(interval, one, other):
            found[one.run_id].append(interval)
    return [replace(record, intervals=tuple(found[record.run_id])) for record in records]


def between(one: Record, other: Record) -> Mapping[Metric, Difference] | None:
    """The first minus the second, of the interval that one of the records has; None where neither has it."""
    pair = tuple(sorted((one.run_id, other.run_id)))
    kept = (interval for record in (one, other) for interval in record.intervals if interval.pair == pair)
    found = next(kept, None)
    return found.seen_from(one.run_id) if found else None

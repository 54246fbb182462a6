"""From two records to the interval of their difference, computed from images.parquet and kept in results/intervals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench.disk import require
from bench.errors import UserError
from bench.evaluate.bootstrap import Resampled, differences, resample
from bench.evaluate.outcomes import RunOutcomes, read_outcomes
from bench.evaluate.recompute import SAME, UNREADABLE
from bench.files import write_json
from bench.intact import IMAGES
from bench.intervals import FOLDER, RESAMPLES, SEED, VERSION, Interval, interval_path
from bench.pairs import scores_of, side, why_no_pair
from bench.record import Record
from bench.store import REMOVE, changed_files

Advance = Callable[[str, int, int], None]  # what is being done, how much of it, of how much
INTERVAL_BYTES = 2_000


class Comparison:
    """Computes intervals; each run is resampled once, whatever the number of its pairs."""

    def __init__(self, advance: Advance, resamples: int = RESAMPLES) -> None:
        self.number, self.advance = resamples, advance
        self._known: dict[str, tuple[RunOutcomes, Resampled]] = {}

    def interval(self, one: Record, other: Record) -> Interval:
        """The sides are in the order of their ids. Raises UserError where the runs are no pair, where images.parquet of
        one is not here or not as it was written, or where it does not give the recorded numbers.
        """
        if reason := why_no_pair(one, other):
            raise UserError(reason)
        for record in (one, other):
            check_images(record)
        first, second = sorted((one, other), key=lambda record: record.run_id)
        mine, theirs = (self._resampled(record) for record in (first, second))
        if (mine[0].images, mine[0].thresholds) != (theirs[0].images, theirs[0].thresholds):
            raise UserError(f"images.parquet of {one.run_id} and {other.run_id} hold other images or IoU thresholds")
        return Interval(
            version=VERSION,
            first=side(first),
            second=side(second),
            images=len(mine[0].images),
            resamples=self.number,
            seed=SEED,
            metrics=differences(mine[1], theirs[1]),
        )

    def _resampled(self, record: Record) -> tuple[RunOutcomes, Resampled]:
        if record.run_id not in self._known:
            outcomes = _outcomes(record)
            said = f"resampling {record.run_id}"
            drawn = resample(outcomes, self.number, SEED, lambda done, of: self.advance(said, done, of))
            _confirm(record, drawn)
            self._known[record.run_id] = RunOutcomes(outcomes.images, outcomes.thresholds, ()), drawn
        return self._known[record.run_id]


def keep(results: Path, interval: Interval) -> None:
    """Only one of RESAMPLES resamples is kept. Raises UserError where it cannot be written."""
    if interval.resamples == RESAMPLES:
        require(results / FOLDER, INTERVAL_BYTES, "the interval")
        write_json(interval_path(results, *interval.pair), interval.model_dump(mode="json"))


def check_images(record: Record) -> None:
    """Raises UserError where images.parquet of a run is not here, or not as it was written, with the next step."""
    path = record.folder / IMAGES
    if not path.is_file():
        again = f"`python -m bench evaluate {record.run_id}` writes it again" if record.weights.is_file() else REMOVE
        raise UserError(f"{path} is not here, and an interval over images is computed from it; {again}")
    if changed_files(record.folder, record.status, (IMAGES,)):
        raise UserError(f"{path} is not as it was written (another sha256); {REMOVE}")


def _outcomes(record: Record) -> RunOutcomes:
    path = record.folder / IMAGES
    try:
        return read_outcomes(path)
    except UNREADABLE as error:
        raise UserError(f"{path} cannot be read ({' '.join(str(error).split())}); {REMOVE}") from None


def _confirm(record: Record, drawn: Resampled) -> None:
    """Raises UserError where the split as it is gives other numbers than metrics.json."""
    recorded = dict[str, float](scores_of(record).items())
    for metric, value in drawn.point.items():
        said = recorded.get(metric)
        if (said is None) != (value != value) or (said is not None and abs(said - value) > SAME):
            raise UserError(
                f"{record.run_id}: metrics.json says {metric} {said}, images.parquet gives {value}; {REMOVE}"
            )

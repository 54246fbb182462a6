"""How far each difference between two rows depends on the images: the intervals that are kept in results/intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.intervals import CONFIDENCE, RESAMPLES, Difference, Metric
from bench.pairs import between, why_no_pair
from bench.record import Record
from bench.report.facts import Facts
from bench.report.notes.contrasts import interval_text, pairs_against
from bench.report.tables.columns import SCORES, dataset_label
from bench.report.tables.rows import Variant
from bench.report.tables.table import NONE
from bench.spec import ModelEntry, Suite

TITLE = "Differences over images"
DIGITS = 2  # an end of an interval at +0.04 is no zero
PROPOSED = "maskattn-unet"  # what the others are set against where the suite does not say
TELLS = (
    "The interval tells how far a difference depends on which images were tested on; how far it depends on the seed of "
    "the training, only several seeds tell."
)
EXPLAINED = (
    "Each run minus the one of the same seed that it is set against, in percentage points (pp), with the interval of "
    f"{100 * CONFIDENCE:g} % over {RESAMPLES:,} resamples of the validation images, the same for both (paired "
    f"bootstrap): 'higher' or 'lower' where it leaves out zero, else 'tie'. {TELLS}"
)


@dataclass(frozen=True)
class OverImages:
    """`lacking`: ids of the pairs without an interval; `notes`: which rows those are."""

    facts: Facts | None
    lacking: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Pair:
    """Two rows' runs of one split and seed, in the words of a line."""

    rows: tuple[str, str]
    data: str
    one: Record
    other: Record


def over_images(suite: Suite, lines: Sequence[Variant]) -> OverImages:
    """A line a pair of rows, split and seed. The rows are set against those that the suite says, else against the
    proposed network where it is one of them.
    """
    pairs = [pair for pair in _pairs(suite, lines) if why_no_pair(pair.one, pair.other) is None]
    kept = [(pair, _texts(found)) for pair in pairs if (found := between(pair.one, pair.other)) is not None]
    lacking = [pair for pair in pairs if between(pair.one, pair.other) is None]
    return OverImages(
        facts=_facts(suite, kept) if kept else None,
        lacking=tuple((pair.one.run_id, pair.other.run_id) for pair in lacking),
        notes=_not_computed(lacking),
    )


def difference_text(difference: Difference) -> str:
    """'+0.41 (-0.80 to +1.62): tie'"""
    return interval_text(difference.points, difference.low, difference.high, difference.verdict, DIGITS)


def _texts(found: Mapping[Metric, Difference]) -> dict[str, str]:
    return {metric: difference_text(difference) for metric, difference in found.items()}


def _facts(suite: Suite, kept: Sequence[tuple[_Pair, Mapping[str, str]]]) -> Facts:
    metrics = SCORES[suite.task]
    lines = tuple(
        (*pair.rows, pair.data, str(pair.one.spec.seed), *(texts.get(metric, NONE) for metric in metrics))
        for pair, texts in kept
    )
    heads = ("Row", "Against", "Data", "Seed", *(f"{metric} (pp)" for metric in metrics))
    shown = sum(text != NONE for line in lines for text in line[4:])
    return Facts(TITLE, heads, lines, (EXPLAINED,), shown)


def _pairs(suite: Suite, lines: Sequence[Variant]) -> Iterator[_Pair]:
    for one, other in pairs_against(suite.against or _proposed(suite), lines):
        for split, runs in one.runs.items():
            by_seed = {record.spec.seed: record for record in other.runs.get(split, ())}
            for record in runs:
                if match := by_seed.get(record.spec.seed):
                    yield _Pair((one.label, other.label), dataset_label(split.dataset), record, match)


def _proposed(suite: Suite) -> tuple[ModelEntry, ...]:
    """The first row of the proposed network."""
    return tuple(entry for entry in suite.models if entry.name == PROPOSED)[:1]


def _not_computed(lacking: Sequence[_Pair]) -> tuple[str, ...]:
    if not lacking:
        return ()
    named = dict.fromkeys(f"{pair.rows[0]} against {pair.rows[1]} ({pair.data})" for pair in lacking)
    how = "`python -m bench report` computes them where images.parquet of both runs is at hand"
    return (f"Differences over images not computed: {'; '.join(named)}; {how}.",)

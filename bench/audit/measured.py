"""Layer 3: the records in results/. A claim's operation is applied to means over seeds, and judged by an interval.

The interval is Welch's: networks are trained independently, a common seed number gives two of them only the order of
the images in common, and pairing three seeds would leave two degrees of freedom. Where seeds do correlate, Welch's
interval is the wider one. For expressions other than a difference its variance is the first-order one (the slopes).
Several comparisons of one claim share the 5 % (Bonferroni).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bench.audit.claims import Statement, Test
from bench.audit.operands import MEASURED, OtherLayerError, Printed
from bench.audit.operations import Comparison, relation_words
from bench.audit.quantity import Quantity, amount, difference, plain
from bench.audit.ruling import LackingError, Ruling, Verdict
from bench.audit.runs import MIN_SEEDS, Wanted, choose, conditions_in_words
from bench.audit.scores import Score, is_score, score_of
from bench.audit.suites import next_step
from bench.errors import UserError
from bench.record import Record
from bench.spec import Suite
from bench.student import t_quantile

ERROR = 0.05  # of a claim as a whole
MARGIN = 1.0  # points (percent of a relative change) within which a measured number is the printed one; ours


@dataclass(frozen=True)
class Sample:
    """One score over its seeds, in percent."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def variance_of_mean(self) -> float:
        return statistics.variance(self.values) / len(self.values)


def judge(statement: Statement, printed: Printed, records: Sequence[Record], suites: Sequence[Suite]) -> Ruling | None:
    """None for a statement about no score, or where one and the same measurement stands on both sides."""
    test: Test = statement.measured or statement
    names = [name for name in test.names if is_score(name, printed)]
    try:
        scores = {name: score_of(name, printed) for name in names}
        if not scores or not _compared(test, scores, {}, printed):
            return None
        ruling = _measure(test, scores, printed, records, suites, 0.0 if statement.measured else _slack(names))
        note = statement.measured.note if statement.measured else ""
        return ruling.model_copy(update={"evidence": f"{ruling.evidence} ({note})"}) if note else ruling
    except OtherLayerError:
        return None
    except LackingError as lacking:
        return lacking.ruling("measured")


def _slack(names: Sequence[str]) -> float:
    """A claim that names measurements itself gives its own tolerance."""
    return 0.0 if any(MEASURED.fullmatch(name) for name in names) else MARGIN


def _measure(
    test: Test,
    scores: Mapping[str, Score],
    printed: Printed,
    records: Sequence[Record],
    suites: Sequence[Suite],
    slack: float,
) -> Ruling:
    asked = list(dict.fromkeys(score.wanted for score in scores.values()))
    try:
        chosen = choose(records, asked)
        samples = {score: _sample(score, chosen[score.wanted]) for score in scores.values()}
    except LackingError as lacking:
        command, cannot = next_step(asked, {score.exhibit for score in scores.values()}, suites)
        none = f"; no suite of this program runs {cannot.label}, {cannot.place}, yet" if cannot else ""
        raise LackingError("not run", lacking.evidence + none, command) from None
    try:
        comparisons = _compared(test, scores, samples, printed, slack)
    except UserError as error:  # a ratio to a measured 0
        return Ruling(layer="measured", verdict="undefined", evidence=f"{error} ({_seeds(chosen)})", runs=_ids(chosen))
    return _ruling(comparisons, {_key(score): sample for score, sample in samples.items()}, chosen)


def _compared(
    test: Test, scores: Mapping[str, Score], samples: Mapping[Score, Sample], printed: Printed, slack: float = 0.0
) -> list[Comparison]:
    """The comparisons that a measurement can decide: those in which it does not cancel. `slack` widens '=' alone.
    Without samples, all scores are taken as 1.
    """

    def lookup(name: str) -> Quantity:
        if name not in scores:
            return printed.lookup(name)
        score = scores[name]
        mean = samples[score].mean if samples else 1.0
        return Quantity(mean, "%", plain(mean), score.wanted.label, {_key(score): 1.0})

    made = [one for one in test.comparisons(lookup) if any(difference([one.left, one.right]).slopes.values())]
    return [replace(one, tolerance=max(one.tolerance, slack)) if one.relation == "=" else one for one in made]


def _key(score: Score) -> str:
    """Equal for two printed numbers that are one measurement."""
    one = score.wanted
    return repr((one.network, one.dataset, one.size, one.task, one.percent, score.metric))


def _sample(score: Score, runs: Sequence[Record]) -> Sample:
    known = tuple(value for run in runs if (value := score.of(run)) is not None)
    if len(known) < MIN_SEEDS:
        had = f"{len(known)} of {len(runs)} runs of {score.wanted.label} have {score.metric}"
        raise LackingError("not run", f"needs {MIN_SEEDS} seeds of each; {had}")
    return Sample(known)


def interval(quantity: Quantity, samples: Mapping[str, Sample], level: float) -> tuple[float, float]:
    """Of an expression of independent samples, with Satterthwaite's degrees of freedom."""
    parts = [
        (slope**2 * samples[key].variance_of_mean, len(samples[key].values) - 1)
        for key, slope in quantity.slopes.items()
    ]
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return quantity.value, quantity.value
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    half = t_quantile((1 + level) / 2, freedom) * math.sqrt(variance)
    return quantity.value - half, quantity.value + half


def decide(comparison: Comparison, low: float, high: float) -> bool | None:
    """Whether the statement is true, from the interval of left minus right; None where it holds both answers."""
    wide = comparison.tolerance
    if comparison.relation == "=":
        inside, outside = -wide <= low and high <= wide, high < -wide or low > wide
        return True if inside else False if outside else None
    if comparison.relation in ("<", "<="):
        low, high = -high, -low
    if comparison.relation in ("<=", ">="):
        return True if low >= -wide else False if high < -wide else None
    return True if low > 0 else False if high < 0 else None


def _ruling(
    comparisons: Sequence[Comparison], samples: Mapping[str, Sample], chosen: Mapping[Wanted, Sequence[Record]]
) -> Ruling:
    level = 1 - ERROR / len(comparisons)
    answers, lines = [], []
    for one in comparisons:
        low, high = interval(difference([one.left, one.right]), samples, level)
        answers.append(decide(one, low, high))
        lines.append(_line(one, low, high, answers[-1], level))
    verdict: Verdict = "not reproduced" if False in answers else "tie" if None in answers else "reproduced"
    worst = False if verdict == "not reproduced" else None if verdict == "tie" else True
    deciding = [line for line, answer in zip(lines, answers, strict=True) if answer is worst]
    more = f"; and {len(lines) - len(deciding)} more" if len(lines) > len(deciding) else ""
    evidence = f"{'; '.join(deciding)}{more} ({_seeds(chosen)})"
    return Ruling(layer="measured", verdict=verdict, evidence=evidence, runs=_ids(chosen))


def _ids(chosen: Mapping[Wanted, Sequence[Record]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(run.run_id for group in chosen.values() for run in group))


def _line(one: Comparison, low: float, high: float, answer: bool | None, level: float) -> str:
    """'39.4 − 33.8 = 5.6 points, 95 % interval 4.9 to 6.3 points, is above 5 points'."""
    shown, edge = (difference([one.left, one.right]), 0.0) if one.right.slopes else (one.left, one.right.value)
    offset = 0.0 if one.right.slopes else edge
    said = f"{relation_words(one, answer is not False)} {amount(edge, shown.unit)}"
    if answer is None:
        said = f"which does not decide whether it {said}"
    span = f"{plain(low + offset)} to {amount(high + offset, shown.unit)}"
    return f"{shown}, {100 * level:.3g} % interval {span}, {said}"


def _seeds(chosen: Mapping[Wanted, Sequence[Record]]) -> str:
    """'MaskAttn-UNet 3 seeds, U-Net 3 seeds; profile full', with how they were tuned and where backbones start from."""
    counts = ", ".join(f"{one.label} {len(runs)} seeds" for one, runs in chosen.items())
    return "; ".join((counts, *conditions_in_words([runs[0].spec for runs in chosen.values()])))

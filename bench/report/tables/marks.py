"""Best and second-best marks, computed from the numbers and never typed (the paper's own table has five wrong ones).

A difference within noise is a tie, and so are two numbers that print alike: both get the mark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower"]
Mark = Literal["best", "second"]


@dataclass(frozen=True)
class Candidate:
    """A number that may be marked: the mean over `n` seeds and its standard deviation (None for one seed)."""

    value: float | None
    sd: float | None = None
    n: int = 1


@dataclass(frozen=True)
class Marked:
    mark: Mark | None = None
    tie: bool = False


UNMARKED = Marked()


def pooled_sd(first: Candidate, second: Candidate) -> float | None:
    """The two standard deviations as one; None unless both have at least two seeds."""
    if first.sd is None or second.sd is None or first.n < 2 or second.n < 2:
        return None
    squares = (first.n - 1) * first.sd**2 + (second.n - 1) * second.sd**2
    return math.sqrt(squares / (first.n + second.n - 2))


def is_tie(first: Candidate, second: Candidate, digits: int) -> bool:
    """Whether two numbers print alike or differ by less than the pooled standard deviation of their seeds."""
    if first.value is None or second.value is None:
        return False
    if f"{first.value:.{digits}f}" == f"{second.value:.{digits}f}":
        return True
    noise = pooled_sd(first, second)
    return noise is not None and abs(first.value - second.value) < noise


def compute_marks(candidates: Sequence[Candidate], better: Better, digits: int) -> list[Marked]:
    """One answer a candidate, in order.

    'best' goes to the first and to all that tie with it; 'second' to the first of the rest and to what ties with
    that one; a number alone in its column has no mark. `digits` is how many decimals the column prints.

    >>> [marked.mark for marked in compute_marks([Candidate(4), Candidate(86), Candidate(11)], "lower", 0)]
    ['best', None, 'second']
    """
    marks = [UNMARKED] * len(candidates)
    sign = -1 if better == "higher" else 1
    left = [i for i, candidate in enumerate(candidates) if candidate.value is not None]
    if len(left) < 2:  # nothing to be better than
        return marks
    left.sort(key=lambda i: sign * (candidates[i].value or 0.0))
    kinds: tuple[Mark, ...] = ("best", "second")
    for kind in kinds:
        if not left:
            break
        equal = [i for i in left if i == left[0] or is_tie(candidates[left[0]], candidates[i], digits)]
        for i in equal:
            marks[i] = Marked(kind, tie=len(equal) > 1)
        left = [i for i in left if i not in equal]
    return marks

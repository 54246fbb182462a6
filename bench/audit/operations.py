"""The operations that a claim may name: each turns operands into comparisons, and a comparison is true or not.

What an operation means is the same in every layer; the layers put other numbers in the operands' places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from bench.audit.quantity import (
    Quantity,
    amount_as,
    check_comparable,
    constant,
    difference,
    percent_change,
    plain,
    total,
)

Relation = Literal["=", "<", "<=", ">", ">="]
WORDS: Mapping[Relation, tuple[str, str]] = {  # (where it is true, where it is not)
    "=": ("is", "is not"),  # with a tolerance: within it, not within it
    "<": ("is below", "is not below"),
    "<=": ("is at most", "is above"),
    ">": ("is above", "is not above"),
    ">=": ("is at least", "is below"),
}
NOISE = 1e-9  # of the floats; the printed numbers have at most four decimals
SHOWN = 3  # comparisons spelt out in one line of evidence
MARKS: Mapping[int, str] = {1: "bold", 2: "underline"}  # by rank; the rest have none
MARKED: Mapping[str, str] = {"bold": "bold", "underline": "underlined", "none": "unmarked"}


@dataclass(frozen=True)
class Comparison:
    """`left` `relation` `right`. `tolerance` widens '=', '<=' and '>='; `text` replaces the generated sentence."""

    left: Quantity
    relation: Relation
    right: Quantity
    tolerance: float = 0.0
    text: str = ""

    def __post_init__(self) -> None:
        check_comparable(self.left, self.right)

    @property
    def holds(self) -> bool:
        gap, wide = self.left.value - self.right.value, self.tolerance + NOISE
        truths = {"=": abs(gap) <= wide, "<": gap < -NOISE, "<=": gap <= wide, ">": gap > NOISE, ">=": gap >= -wide}
        return truths[self.relation]

    def __str__(self) -> str:
        if self.text:
            return self.text
        which = ", which" if self.left.is_computed else ""
        return f"{self.left}{which} {relation_words(self, self.holds)} {self._right()}"

    def _right(self) -> str:
        """A bare number takes the left side's unit."""
        return str(self.right) if self.right.unit else amount_as(self.right, self.left.unit)


def relation_words(comparison: Comparison, holds: bool) -> str:
    """'is above', 'is not within 0.5 of', 'is at least, with 2 to spare,'."""
    words = WORDS[comparison.relation][0 if holds else 1]
    if not comparison.tolerance or "=" not in comparison.relation:
        return words
    margin = plain(comparison.tolerance)
    if comparison.relation == "=":
        return f"{words} within {margin} of"
    return f"{words} (give or take {margin})"


@dataclass(frozen=True)
class Given:
    """What a claim states beside its operands."""

    stated: tuple[float, ...] = ()
    tolerance: float = 0.0
    elsewhere: tuple[Quantity, ...] = ()  # the same facts at another place of the paper

    @property
    def number(self) -> Quantity:
        return constant(self.stated[0])


@dataclass(frozen=True)
class Operation:
    """`operands` is how many it takes: a number, '1+' for one or more, '2+', 'pairs' for an even number, 'any'."""

    meaning: str
    operands: int | Literal["1+", "2+", "pairs", "any"]
    stated: Literal["none", "one", "each"]
    compare: Callable[[Sequence[Quantity], Given], list[Comparison]]

    def complaint(self, operands: int, stated: int) -> str | None:
        """What is wrong with these counts of operands and stated numbers; None where they fit."""
        wanted = self.operands
        if wanted == "pairs" and (operands == 0 or operands % 2):
            return f"takes operands in pairs, got {operands}"
        if wanted in ("1+", "2+") and operands < int(str(wanted)[0]):
            return f"takes at least {str(wanted)[0]} operands, got {operands}"
        if isinstance(wanted, int) and operands != wanted:
            return f"takes {wanted} operands, got {operands}"
        numbers = {"none": 0, "one": 1, "each": operands}[self.stated]
        return f"takes {numbers} stated numbers, got {stated}" if stated != numbers else None


def _restate(args: Sequence[Quantity], given: Given) -> list[Comparison]:
    return [Comparison(a, "=", constant(s), given.tolerance) for a, s in zip(args, given.stated, strict=True)]


def _setting(args: Sequence[Quantity], given: Given) -> list[Comparison]:
    """A fact can be tested only where the paper gives it a second time."""
    pairs = zip(args, given.elsewhere, strict=True) if given.elsewhere else ()
    return [Comparison(other, "=", a, given.tolerance) for a, other in pairs]


def _difference(relation: Relation) -> Callable[[Sequence[Quantity], Given], list[Comparison]]:
    return lambda args, given: [Comparison(difference(args), relation, given.number, given.tolerance)]


def _first(relation: Relation) -> Callable[[Sequence[Quantity], Given], list[Comparison]]:
    """The first operand against each of the others."""
    return lambda args, given: [Comparison(args[0], relation, other, given.tolerance) for other in args[1:]]


def _neighbours(relation: Relation) -> Callable[[Sequence[Quantity], Given], list[Comparison]]:
    return lambda args, given: [Comparison(a, relation, b, given.tolerance) for a, b in pairwise(args)]


def _pairs(relation: Relation) -> Callable[[Sequence[Quantity], Given], list[Comparison]]:
    return lambda args, given: [
        Comparison(a, relation, b, given.tolerance) for a, b in zip(args[::2], args[1::2], strict=True)
    ]


def _marks(sign: int) -> Callable[[Sequence[Quantity], Given], list[Comparison]]:
    """Each operand's printed mark against the one its rank gives; `sign` is 1 where low numbers are better."""

    def compare(args: Sequence[Quantity], given: Given) -> list[Comparison]:
        found = []
        for operand in args:
            rank = 1 + sum(sign * other.value < sign * operand.value for other in args)
            due, printed = MARKS.get(rank, "none"), operand.mark or "none"
            text = f"{operand}: printed {MARKED[printed]}, due {MARKED[due]}"
            found.append(Comparison(constant(due != printed), "=", constant(0), text=text))
        return found

    return compare


def _nothing(args: Sequence[Quantity], given: Given) -> list[Comparison]:
    return []


OPERATIONS: Mapping[str, Operation] = {
    "setting": Operation("a fact, compared with the same fact at another place of the paper", "any", "none", _setting),
    "restate": Operation("each operand is the stated number", "1+", "each", _restate),
    "approx": Operation("the operand is about the stated number", 1, "one", _restate),
    "diff_eq": Operation("a − b is the stated number", 2, "one", _difference("=")),
    "diff_approx": Operation("a − b is about the stated number", 2, "one", _difference("=")),
    "diff_gt": Operation("a − b is above the stated number", 2, "one", _difference(">")),
    "rel_diff_eq": Operation(
        "100 (a − b) / b is the stated number",
        2,
        "one",
        lambda args, given: [Comparison(percent_change(args), "=", given.number, given.tolerance)],
    ),
    "sum_eq": Operation(
        "the operands add up to the stated number",
        "1+",
        "one",
        lambda args, given: [Comparison(total(args), "=", given.number, given.tolerance)],
    ),
    "lt": Operation("the first is below each of the others", "2+", "none", _first("<")),
    "le": Operation("the first is at most each of the others", "2+", "none", _first("<=")),
    "gt": Operation("the first is above each of the others", "2+", "none", _first(">")),
    "ge": Operation("the first is at least each of the others", "2+", "none", _first(">=")),
    "argmax": Operation("the first is above each of the others", "2+", "none", _first(">")),
    "all_eq": Operation("the operands are equal, pair by pair", "pairs", "none", _pairs("=")),
    "all_gt": Operation("the first of each pair is above the second", "pairs", "none", _pairs(">")),
    "all_lt": Operation(
        "every operand is below the stated number",
        "1+",
        "one",
        lambda args, given: [Comparison(a, "<", given.number) for a in args],
    ),
    "increasing": Operation("each operand is above the one before", "2+", "none", _neighbours("<")),
    "nonincreasing": Operation("no operand is above the one before", "2+", "none", _neighbours(">=")),
    "diff_signs": Operation(
        "a is below b, and c above d",
        4,
        "none",
        lambda args, given: [Comparison(args[0], "<", args[1]), Comparison(args[2], ">", args[3])],
    ),
    "marks_low": Operation("bold is the lowest operand, underlined the second lowest", "2+", "none", _marks(1)),
    "marks_high": Operation("bold is the highest operand, underlined the second highest", "2+", "none", _marks(-1)),
    "argmin": Operation("a minimum that the paper draws without values", "any", "none", _nothing),
    "unverifiable": Operation("the paper gives nothing to compute with", "any", "none", _nothing),
}


def sentence(comparisons: Sequence[Comparison]) -> str:
    """One line of evidence: all of a few comparisons, else those that decide."""
    false = [str(one) for one in comparisons if not one.holds]
    if len(comparisons) <= SHOWN and (not false or len(false) == len(comparisons)):
        return "; ".join(map(str, comparisons))
    if not false:
        return f"all {len(comparisons)} hold, such as {comparisons[0]}"
    more = f"; and {len(false) - SHOWN} more" if len(false) > SHOWN else ""
    fail = "fails" if len(false) == 1 else "fail"
    return f"{len(false)} of {len(comparisons)} {fail}: {'; '.join(false[:SHOWN])}{more}"

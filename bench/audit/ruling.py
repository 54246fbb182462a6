"""What a layer says of a statement: a verdict, its evidence in one line, and what would decide it where nothing did."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

from bench.spec import Frozen

Layer = Literal["arithmetic", "cost", "measured"]
LAYERS: tuple[Layer, ...] = get_args(Layer)
Verdict = Literal[
    "impossible", "fails", "not reproduced", "tie", "undefined", "not run", "holds", "reproduced"
]  # the heaviest first
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
AGAINST: tuple[Verdict, ...] = ("impossible", "fails", "not reproduced")
DECIDED: tuple[Verdict, ...] = (*AGAINST, "tie", "holds", "reproduced")
MEANING: dict[Verdict, str] = {
    "holds": "the numbers bear the statement out",
    "fails": "the numbers contradict the statement",
    "impossible": "arithmetic or a definition rules it out, under the conditions that the statement itself names",
    "undefined": "stated once, or too little is said to hold numbers against it: by itself no fault of the sentence",
    "not run": "it can be decided, and the runs or counts for it are not there; the line says what to run",
    "reproduced": "measured on the claim's own dataset, size and split, over three seeds or more, and borne out",
    "not reproduced": "measured in the same way, and contradicted",
    "tie": "measured in the same way; the interval holds both, so these seeds do not decide",
}


class Ruling(Frozen):
    """`runs`: the ids of the runs behind a measured verdict."""

    layer: Layer
    verdict: Verdict
    evidence: str
    next: str = ""
    runs: tuple[str, ...] = ()


class LackingError(Exception):
    """A layer has no value for an operand: a ruling without numbers."""

    def __init__(self, verdict: Literal["undefined", "not run"], evidence: str, following: str = "") -> None:
        super().__init__(evidence)
        self.verdict: Verdict = verdict
        self.evidence = evidence
        self.next = following

    def ruling(self, layer: Layer) -> Ruling:
        return Ruling(layer=layer, verdict=self.verdict, evidence=self.evidence, next=self.next)


def heaviest(verdicts: Iterable[Verdict]) -> Verdict | None:
    """The one that a reader must know first; None of none."""
    return min(verdicts, key=VERDICTS.index, default=None)

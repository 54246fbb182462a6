"""Layer 1: the paper's own printed numbers. Nothing is run."""

from __future__ import annotations

from bench.audit.claims import Statement
from bench.audit.operands import OtherLayerError, Printed
from bench.audit.operations import sentence
from bench.audit.ruling import Ruling


def judge(statement: Statement, printed: Printed) -> Ruling | None:
    """None for a statement about counted or measured values alone."""
    try:
        comparisons = statement.comparisons(printed.lookup)
    except OtherLayerError:
        return None
    if not comparisons:
        return Ruling(
            layer="arithmetic",
            verdict="undefined",
            evidence=f"nothing to test it with; missing: {statement.leaves_out or 'the numbers'}",
        )
    holds = all(one.holds for one in comparisons)
    return Ruling(layer="arithmetic", verdict="holds" if holds else statement.otherwise, evidence=sentence(comparisons))

"""What the exponents say of the paper's sentences about them (Sec. B.3; AUDIT A16 to A18), from the numbers alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from bench.report.tables.levels import BLURRED, MODULES, Place, Source
from bench.report.tables.table import number

PAPERS = (0, 2, 3, 5)  # the places that the paper reports: att1, att3, att4, att6
STATED = ("Hurst", "DFA")  # the exponents that it prints
COMPARED = {"Hurst": "Hurst", "DFA": "DFA", "beta": "PSD β"}  # with the controls: their names
DEVIATIONS = 2  # that a difference from a control must exceed (AUDIT A18)
MEMORY = 0.5  # above: persistent, below: anti-persistent (Sec. B.3)
DIGITS = 3

Values = Mapping[tuple[int, str], float]  # (place, exponent) -> a mean


def notes_of(sources: Sequence[Source]) -> list[str]:
    """Of the network with the modules, trained, against its controls; none where it was not measured."""
    mine = next((source for source in sources if source.trained and source.model == MODULES), None)
    if mine is None:
        return []
    values = {
        (place, exponent): mean
        for place in range(len(mine.places))
        for exponent in STATED
        if (mean := _mean(mine.places[place], exponent)) is not None
    }
    controls = [source for source in sources if source is not mine and _is_control(source)]
    small = [f"{place.name}: {place.reason}" for place in mine.places if place.reason]
    return [
        *([f"Not measured: {'; '.join(small)}."] if small else []),
        *_progress(values),
        *_contradictions(values),
        *(note for control in controls for note in _apart(mine, control)),
    ]


def notes_of_printed(values: Values) -> list[str]:
    """The same of the paper's own numbers, which have no controls."""
    return [*_progress(values), *_contradictions(values)]


def _is_control(source: Source) -> bool:
    """The same network untrained, another one trained, blurred noise: each could have the same numbers."""
    if source.model == MODULES:
        return not source.trained
    return source.trained or source.label == BLURRED


def _progress(values: Values) -> list[str]:
    """'Progressively improves through the network': whether the exponents rise over the paper's four levels."""
    notes = []
    for exponent in STATED:
        row = [values.get((place, exponent)) for place in PAPERS]
        known = [value for value in row if value is not None]
        if len(known) == len(PAPERS):
            rises = "rises" if all(after > before for before, after in pairwise(known)) else "does not rise"
            told = ", ".join(number(value, DIGITS) for value in known)
            notes.append(f"{exponent} {rises} from level to level over {_names(PAPERS)}: {told}.")
    return notes


def _contradictions(values: Values) -> list[str]:
    """Levels with memory by one exponent and without by the other, though both estimate the same of such a series."""
    found = []
    for place in sorted({place for place, _ in values}):
        hurst, dfa = (values.get((place, exponent)) for exponent in STATED)
        if hurst is not None and dfa is not None and (hurst - MEMORY) * (dfa - MEMORY) < 0:
            found.append(f"{_names([place])} (Hurst {number(hurst, DIGITS)}, DFA {number(dfa, DIGITS)})")
    return [f"On two sides of 0.5, so persistent by one and not by the other: {'; '.join(found)}."] if found else []


def _apart(mine: Source, control: Source) -> list[str]:
    """At which levels the two differ by more than twice the larger of their standard deviations."""
    parts = []
    for exponent, name in COMPARED.items():
        pairs = list(zip(mine.places, control.places, strict=True))
        known = [(own.name, apart) for own, other in pairs if (apart := _differ(own, other, exponent)) is not None]
        if known:
            levels = [f"{level} ({apart})" for level, apart in known if apart]
            parts.append(f"{name} at {', '.join(levels) or 'no level'} of {len(known)}")
    rule = "by more than twice the larger standard deviation over the series"
    return [f"The trained network differs from {control.label} {rule}: {'; '.join(parts)}."] if parts else []


def _differ(own: Place, other: Place, exponent: str) -> str | None:
    """'higher', 'lower' or '' for neither; None where one of them is not known."""
    if own.found is None or other.found is None:
        return None
    first, second = own.found.spread(exponent), other.found.spread(exponent)
    if first.mean is None or second.mean is None or first.sd is None or second.sd is None:
        return None
    if abs(first.mean - second.mean) <= DEVIATIONS * max(first.sd, second.sd):
        return ""
    return "higher" if first.mean > second.mean else "lower"


def _mean(place: Place, exponent: str) -> float | None:
    return place.found.spread(exponent).mean if place.found else None


def _names(places: Iterable[int]) -> str:
    return ", ".join(f"att{place + 1}" for place in places)

"""What the specification search says to a finding, in one line; the tables are the report's."""

from __future__ import annotations

from collections.abc import Mapping

from bench.measure.search_records import SearchRecord

COMMAND = "python -m bench audit --search"


def search_line(records: Mapping[str, SearchRecord], name: str) -> str:
    """Whether any reading of the paper has the printed cost of the network `name`; '' where nothing was searched."""
    record = records.get(name)
    if record is None:
        return ""
    cost = f"{record.target.parameters_m:g} M and {record.target.flops_g:g} G"
    found = f"Search: {record.within:,} of {record.tried:,} readings of the paper round to {cost}"
    if not record.within:
        return f"{found}; the nearest is {100 * record.nearest[0].distance:.1f} % off."
    fewest = min(level.contradictions for level in record.levels if level.within)
    found += f"; those nearest to the text contradict {fewest} of its sentences."
    whole = [way for way in record.countings if way.whole]
    if len(whole) < len(record.countings):
        full = sum(way.at_full_resolution for way in whole)
        found += f" With attention's products counted, {sum(way.within for way in whole):,} do, {_none(full).lower()}"
        found += " of them with a module at full resolution."
    if joint := record.joint:
        other = f"{joint.other.parameters_m:g} M and {joint.other.flops_g:g} G"
        found += f" {_none(joint.within)} of all {record.within:,} have {other} without their modules."
    return found


def _none(count: int) -> str:
    return f"{count:,}" if count else "None"

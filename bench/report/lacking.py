"""Computes the intervals over images that the exhibits would show and that results/intervals does not have."""

from __future__ import annotations

from bench.disk import require
from bench.errors import UserError
from bench.evaluate.paired import INTERVAL_BYTES, Advance, Comparison, keep
from bench.intact import IMAGES
from bench.intervals import FOLDER
from bench.report.build import Found
from bench.store import Store


def compute_lacking(store: Store, found: Found, advance: Advance) -> tuple[int, list[str]]:
    """Keeps each that can be computed; returns how many it kept, and in lines which cannot be computed and why."""
    records = {record.run_id: record for record in found.records}
    pairs = dict.fromkeys(pair for one in found.exhibits for section in one.sections for pair in section.lacking)
    absent = {name for pair in pairs for name in pair if not (records[name].folder / IMAGES).is_file()}
    why = f"{IMAGES} of these runs is not here: {', '.join(sorted(absent))}"
    said = [f"intervals over images not computed, since {why}"] if absent else []
    wanted = [pair for pair in pairs if not absent & {*pair}]
    if not wanted:
        return 0, said
    try:
        require(store.root / FOLDER, INTERVAL_BYTES * len(wanted), "the intervals over images")
    except UserError as error:
        return 0, [*said, f"intervals over images not computed: {error}"]
    kept = 0
    comparison = Comparison(advance)
    for one, other in wanted:
        try:
            keep(store.root, comparison.interval(records[one], records[other]))
            kept += 1
        except (UserError, OSError) as error:  # a file that went away meanwhile, a disk that is full now
            said.append(f"interval over images not computed: {error}")
    return kept, list(dict.fromkeys(said))

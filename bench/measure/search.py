"""The specification search: is there a reading of the paper whose network has the cost that the paper prints?

Every reading of readings.yaml is counted in closed form and set against the printed parameters and FLOPs. The
distance of a reading is the larger of its two relative errors; a reading is `within` where both of its counts round to
the printed numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from bench.files import write_json
from bench.measure.analytic import Cost, Size
from bench.measure.counts import groups
from bench.measure.readings import Family, Readings, Search, Value, readings, readings_sha256
from bench.measure.search_records import (
    Counting,
    Joint,
    Level,
    Moved,
    Reach,
    Reading,
    SearchRecord,
    Target,
    printed,
    search_file,
)
from bench.measure.tally import KEPT, Found, Tally, by_rank
from bench.spec import size_text

SIZE = (128, 128)  # Sec. 4; height and width
NEAREST, A_KIND = 10, 3  # readings shown of all, and of those of one kind
DIGITS = 6  # of a distance


def run_search(results: Path) -> dict[str, SearchRecord]:
    """Searches for each printed network and writes results/search/<name>.json. About a minute on one core."""
    records = {name: search(readings(), one) for name, one in readings().searches.items()}
    for name, record in records.items():
        path = search_file(results, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, record.model_dump(mode="json"))
    return records


def search(of: Readings, wanted: Search, size: Size = SIZE) -> SearchRecord:
    """All readings of the families that the search looks in."""
    families = {name: of.families[name] for name in wanted.families}
    other = printed(of.searches[wanted.without_modules]) if wanted.without_modules else None
    tally = Tally(printed(wanted), other)
    for name, family in families.items():
        for group in groups(name, family, size):
            tally.add(group)
    return record(of, families, tally, size)


def record(of: Readings, families: dict[str, Family], tally: Tally, size: Size) -> SearchRecord:
    numbers = sorted(tally.tried)
    found = [one for kind in tally.found.values() for one in kind]
    ways = {way.name: way for family in families.values() for way in family.counting}
    return SearchRecord(
        target=tally.target,
        size=size_text(size),
        readings_sha256=readings_sha256(),
        tried=sum(tally.tried.values()),
        networks=tally.networks,
        within=sum(tally.within.values()),
        parameters_range=tally.parameters_range,
        flops_range=tally.flops_range,
        first=tuple(reading(alone(name, family, tally.target, size)) for name, family in families.items()),
        nearest=readings_of(sorted(found, key=by_rank), NEAREST),
        likeliest=readings_of(sorted(found, key=by_contradictions), KEPT),
        levels=tuple(level(tally, number) for number in numbers),
        countings=tuple(counting(tally, way) for way in ways.values()),
        moved=tuple(one for name, family in families.items() for one in moved(name, family, tally, size)),
        reach=tuple(Reach(contradictions=number, pairs=tally.reached(number)) for number in numbers),
        joint=joint(tally),
        statements=of.statements,
        not_searched=of.not_searched,
    )


def readings_of(found: Iterable[Found], count: int) -> tuple[Reading, ...]:
    return tuple(map(reading, one_a_network(found, count)))


def one_a_network(found: Iterable[Found], count: int) -> list[Found]:
    """The first so many that are of different networks."""
    kept: dict[int, Found] = {}
    for one in found:
        if len(kept) == count:
            break
        kept.setdefault(one.network, one)
    return list(kept.values())


def reading(found: Found) -> Reading:
    parameters, flops = found.counts
    return Reading(
        family=found.group.family,
        choices=found.choices,
        contradicts=tuple(sorted(found.against)),
        parameters=parameters,
        flops=flops,
        distance=round(found.distance, DIGITS),
        within=found.within,
    )


def level(tally: Tally, number: int) -> Level:
    found = [one for (contradictions, _), kind in tally.found.items() if contradictions == number for one in kind]
    within = sum(count for (contradictions, _), count in tally.within.items() if contradictions == number)
    nearest = readings_of(sorted(found, key=by_rank), A_KIND)
    return Level(contradictions=number, tried=tally.tried[number], within=within, nearest=nearest)


def counting(tally: Tally, way: Value) -> Counting:
    name = way.name
    found = [one for (_, by), kind in tally.found.items() if by == name for one in kind]
    within = {level: count for (level, by), count in tally.within.items() if by == name}
    return Counting(
        counting=name,
        whole=way.settings["products"],
        tried=tally.tried_by[name],
        within=sum(within.values()),
        at_full_resolution=tally.at_full_resolution[name],
        fewest=min(within, default=None),
        likeliest=readings_of(sorted(found, key=by_contradictions), A_KIND),
    )


def by_contradictions(found: Found) -> tuple[bool, int, float, int]:
    """Within rounding first, and of those the ones that contradict least."""
    return not found.within, found.contradictions, found.rank, found.network


def alone(name: str, one_reading: Family, target: Target, size: Size) -> Found:
    """The first reading of a family."""
    tally = Tally(target)
    tally.add(next(groups(name, one_reading.only(), size)))
    (kind,) = tally.found.values()
    return kind[0]


def moved(name: str, family: Family, tally: Tally, size: Size) -> Iterator[Moved]:
    """What each value of each choice adds to the family's first reading. How to count is no property of a network."""
    base = cost_of(name, family.only(), size)
    for choice, values in family.choices().items():
        for value in values if choice != "counting" else ():
            cost = cost_of(name, family.only(choice, value), size)
            yield Moved(
                family=name,
                choice=choice,
                value=value.name,
                tag=value.tag,
                contradicts=value.against,
                note=value.note,
                within=None if value.held else tally.values[name, choice, value.name],
                parameters=cost.parameters - base.parameters,
                flops=cost.flops - base.flops,
                products=cost.products - base.products,
            )


def cost_of(name: str, one_reading: Family, size: Size) -> Cost:
    return next(groups(name, one_reading, size)).first_cost


def joint(tally: Tally) -> Joint | None:
    if not tally.other:
        return None
    nearest = sorted(tally.joint, key=by_rank)[:NEAREST]
    return Joint(
        other=tally.other,
        within=tally.joint_within,
        nearest=tuple(map(reading, nearest)),
        bare=tuple(found.bare for found in nearest),
    )

"""The search against a plain loop over the same readings, planted targets, and what the committed records say."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import bench.measure.search as searching
from bench.errors import UserError
from bench.measure.analytic import Trunk, attention, pixels
from bench.measure.counts import Group, groups
from bench.measure.readings import (
    Family,
    Readings,
    Search,
    Value,
    head_of,
    miscounted,
    module_of,
    places_of,
    readings,
    readings_sha256,
    settings_of,
    trunk_of,
)
from bench.measure.search import printed, record, run_search
from bench.measure.search_records import SearchRecord, Target, read_search
from bench.measure.tally import Tally

HD = (128, 128)
NAME = "maskattn-unet"
RESULTS = Path(__file__).parents[2] / "results"
ROUNDING = 0.5


def thinned(family: Family, seed: int, kept: int) -> Family:
    """A few values of each choice, drawn; all of them stay in their order."""
    chance = random.Random(seed)

    def fewer(values: tuple[Value, ...]) -> tuple[Value, ...]:
        free = [value for value in values if not value.held]
        chosen = chance.sample(range(len(free)), min(kept, len(free)))
        return tuple(free[i] for i in sorted(chosen))

    parts = {
        part: {name: fewer(values) for name, values in getattr(family, part).items()}
        for part in ("trunk", "modules", "head")
    }
    return family.model_copy(update=parts)


def tallied(family: Family, target: Target, other: Target | None = None) -> Tally:
    tally = Tally(target, other)
    for group in groups(NAME, family, HD):
        tally.add(group)
    return tally


def looped(family: Family) -> list[dict[str, Any]]:
    """Every reading by itself, in plain Python."""
    found = []
    for values in itertools.product(*family.choices().values()):
        chosen = dict(zip(family.choices(), values, strict=True))
        trunk = trunk_of(settings_of(tuple(chosen[name] for name in family.trunk)))
        assert isinstance(trunk, Trunk)
        module_settings = settings_of(tuple(chosen[name] for name in family.modules))
        places = places_of(trunk, module_settings)
        head = head_of(settings_of(tuple(chosen[name] for name in family.head))).cost(trunk.out_channels, HD)
        bare = trunk.cost(HD) + head
        cost = bare
        for _, level, channels in places:
            cost += attention(module_of(module_settings), channels, pixels(HD, level))
        way = chosen["counting"].settings
        against = {statement for value in values for statement in value.against} | miscounted(places)
        found.append(
            {
                "names": {name: value.name for name, value in chosen.items()},
                "parameters": cost.parameters,
                "flops": way["factor"] * (cost.flops + way["products"] * cost.products),
                "bare": (bare.parameters, way["factor"] * bare.flops),
                "contradictions": len(against),
                "full": any(level == 0 for _, level, _ in places),
            }
        )
    return found


def is_within(target: Target, parameters: float, flops: float) -> bool:
    def near(count: float, unit: float, whole: float) -> bool:
        return -ROUNDING <= count / unit - whole < ROUNDING

    return near(parameters, 1e6, target.parameters_m) and near(flops, 1e9, target.flops_g)


def distance(target: Target, parameters: float, flops: float) -> float:
    return max(abs(parameters / 1e6 / target.parameters_m - 1), abs(flops / 1e9 / target.flops_g - 1))


def varied(seed: int) -> Family:
    """Readings of several networks that contradict more and less."""
    whole = readings().families[NAME]
    family = thinned(whole, seed, kept=2)
    one = thinned(family, seed, kept=1).trunk
    trunk = one | {"layout": whole.trunk["layout"], "widths": whole.trunk["widths"][:2]}
    return family.model_copy(update={"trunk": trunk, "modules": family.modules | {"places": whole.modules["places"]}})


def busiest(every: list[dict[str, Any]]) -> tuple[Target, Target]:
    """A pair of whole numbers that readings with different contradictions round to, and the pair that some of them have
    without their modules.
    """
    pairs: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for one in every:
        pair = round(one["parameters"] / 1e6), round(one["flops"] / 1e9)
        if min(pair) >= 1 and min(whole(one["bare"])) >= 1:
            pairs.setdefault(pair, []).append(one)

    def variety(pair: tuple[int, int]) -> int:
        return len({(one["contradictions"], whole(one["bare"])) for one in pairs[pair]})

    best = max(pairs, key=variety)
    bare = whole(pairs[best][0]["bare"])
    return Target(parameters_m=best[0], flops_g=best[1]), Target(parameters_m=bare[0], flops_g=bare[1])


def whole(counts: tuple[int, int]) -> tuple[int, int]:
    return round(counts[0] / 1e6), round(counts[1] / 1e9)


@pytest.mark.parametrize("seed", range(2))
def test_the_tally_is_that_of_a_plain_loop(seed: int) -> None:
    family = varied(seed)
    every = looped(family)
    target, other = busiest(every)
    tally = tallied(family, target, other)
    found = record(readings(), {NAME: family}, tally, HD)

    within = [one for one in every if is_within(target, one["parameters"], one["flops"])]
    assert len({one["contradictions"] for one in within}) > 1
    assert 0 < sum(is_within(other, *one["bare"]) for one in within) < len(within)
    assert found.tried == len(every)
    assert found.within == len(within)
    assert found.parameters_range == tuple(f(one["parameters"] for one in every) for f in (min, max))
    assert found.flops_range == tuple(f(one["flops"] for one in every) for f in (min, max))
    for level in found.levels:
        here = [one for one in every if one["contradictions"] == level.contradictions]
        assert (level.tried, level.within) == (len(here), sum(one in within for one in here))
    for way in found.countings:
        here = [one for one in within if one["names"]["counting"] == way.counting]
        assert way.within == len(here)
        assert way.at_full_resolution == sum(one["full"] for one in here)
        assert way.fewest == min((one["contradictions"] for one in here), default=None)
        if here:
            assert len(way.likeliest[0].contradicts) == way.fewest
            assert way.likeliest[0].choices["counting"] == way.counting
    best = min(distance(target, one["parameters"], one["flops"]) for one in within)
    assert found.nearest[0].distance == pytest.approx(best, abs=1e-6)
    assert found.nearest[0].within
    assert found.likeliest[0].within
    assert len(found.likeliest[0].contradicts) == min(one["contradictions"] for one in within)
    order = [(len(one.contradicts), one.distance) for one in found.likeliest if one.within]
    assert order == sorted(order)
    assert found.joint is not None
    assert found.joint.within == sum(is_within(other, *one["bare"]) for one in within)
    for moved in found.moved:
        named = [one for one in within if one["names"][moved.choice] == moved.value]
        assert moved.within == len(named)
    pairs = {(round(one["parameters"] / 1e6), round(one["flops"] / 1e9)) for one in every}
    inside = [pair for pair in pairs if min(pair) >= 1 and max(pair) <= 100]
    assert found.reach[-1].pairs == pytest.approx(len(inside), abs=1)  # Python rounds halves to even


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_reading_is_found_again(seed: int) -> None:
    family, chance = thinned(readings().families[NAME], seed, kept=2), random.Random(seed)
    group = chance.choice(list(groups(NAME, family, HD)))
    place = tuple(chance.randrange(n) for n in group.flops.shape)
    parameters, flops = int(group.parameters[place[:2]]), int(group.flops[place])
    tally = tallied(family, Target(parameters_m=parameters / 1e6, flops_g=flops / 1e9))
    found = record(readings(), {NAME: family}, tally, HD)
    assert found.nearest[0].distance == 0
    assert (found.nearest[0].parameters, found.nearest[0].flops) == (parameters, flops)
    choices = dict(zip(family.choices(), group.reading(*place), strict=True))
    same = [one for one in found.nearest if one.choices == {name: value.name for name, value in choices.items()}]
    assert same or [one.distance for one in found.nearest[:2]] == [0, 0]  # another network with the same counts


def test_a_network_that_two_sets_of_choices_build_is_counted_once() -> None:
    family = readings().families["plain U-Net"]
    narrow = {"first width": family.trunk["first width"][1:2], "widest": family.trunk["widest"][:2]}  # never over 1024
    one = family.only()
    both = one.model_copy(update={"trunk": one.trunk | narrow})
    assert len(list(groups("", both, HD))) == 1


def test_without_modules_the_network_is_that_of_the_family_without_them() -> None:
    family = thinned(readings().families[NAME], 1, kept=2)
    bare = readings().families["modules removed"].model_copy(update={"trunk": family.trunk, "head": family.head})
    pairs = zip(groups("", family, HD), groups("", bare, HD), strict=True)
    for whole, without in pairs:
        parameters, flops = whole.bare
        assert (parameters[:, 0] == without.parameters[0]).all()
        assert (flops[:, 0] == without.flops[0, :, 0]).all()


# readings.yaml

FOUR, THREE, HALVED, STRIDED, LEVELS = range(5)  # layouts


def planned(layout: int, decoder: int = 0) -> Trunk:
    family = readings().families[NAME].only("layout", readings().choices["layout"][layout])
    chosen = {name: values[0] for name, values in family.trunk.items()}
    trunk = trunk_of(settings_of((*chosen.values(), readings().choices["decoder"][decoder])))
    assert isinstance(trunk, Trunk)
    return trunk


@pytest.mark.parametrize(
    ("layout", "decoder", "encoder", "stem", "up"),
    [
        (FOUR, 0, [(0, 64), (1, 128), (2, 256), (3, 256)], 0, [(3, 256), (2, 256), (1, 128), (0, 64)]),
        (FOUR, 1, [(0, 64), (1, 128), (2, 256), (3, 256)], 0, [(3, 256), (2, 128), (1, 64), (0, 64)]),
        (THREE, 0, [(1, 128), (2, 256), (3, 256)], 64, [(2, 256), (1, 128), (0, 64)]),
        (THREE, 1, [(1, 128), (2, 256), (3, 256)], 64, [(2, 128), (1, 64), (0, 64)]),
        (HALVED, 0, [(1, 64), (2, 128), (3, 256), (4, 256)], 64, [(3, 256), (2, 128), (1, 64), (0, 64)]),
        (STRIDED, 0, [(1, 64), (2, 128), (3, 256), (4, 256)], 0, [(3, 256), (2, 128), (1, 64), (0, 64)]),
        (LEVELS, 0, [(0, 64), (1, 128), (2, 256), (2, 256)], 0, [(2, 256), (1, 128), (0, 64)]),
    ],
)
def test_a_layout_is_the_network_that_it_names(
    layout: int, decoder: int, encoder: list[Any], stem: int, up: list[Any]
) -> None:
    trunk = planned(layout, decoder)
    assert trunk == Trunk(tuple(encoder), (512, 256), 3 if layout in (THREE, LEVELS) else 4, tuple(up), stem=stem)


@pytest.mark.parametrize(
    ("places", "encoder", "bottleneck", "decoder"),
    [
        (0, [(1, 128), (2, 256), (3, 256)], [], [(2, 256), (1, 128), (0, 64)]),
        (1, [(1, 128), (2, 256), (3, 256)], [(3, 256)], [(2, 256), (1, 128), (0, 64)]),
        (2, [(1, 128), (2, 256), (3, 256)], [], [(3, 256), (2, 256), (1, 128)]),
        (3, [(1, 128), (2, 256), (3, 256)], [], []),
        (4, [], [], [(2, 256), (1, 128), (0, 64)]),
        (5, [(1, 128), (2, 256), (3, 256)], [], [(2, 256), (1, 128)]),
        (6, [(1, 128), (2, 256), (3, 256)], [(3, 256)], [(2, 256), (1, 128)]),
        (7, [(2, 256), (3, 256)], [], [(2, 256)]),
        (8, [], [(3, 256)], []),
    ],
)
def test_modules_are_where_their_name_says(
    places: int, encoder: list[Any], bottleneck: list[Any], decoder: list[Any]
) -> None:
    """In the layout of three stages."""
    value = readings().choices["places"][places]
    halves = {"encoder": encoder, "bottleneck": bottleneck, "decoder": decoder}
    expected = [(half, *place) for half, found in halves.items() for place in found]
    assert list(places_of(planned(THREE), value.settings)) == expected


@pytest.mark.parametrize(
    ("settings", "encoder", "bottleneck"),
    [
        ({}, ((0, 64), (1, 128), (2, 256), (3, 512)), (1024,)),
        ({"widest": 512}, ((0, 64), (1, 128), (2, 256), (3, 512)), (512,)),
        ({"halvings": 3, "lowest": [2, 2]}, ((0, 64), (1, 128), (2, 256)), (512, 512)),
        ({"first": 32, "first_level": 1, "lowest": [1]}, ((1, 32), (2, 64), (3, 128), (4, 256)), (256,)),
    ],
)
def test_a_plain_unet_doubles_its_channels(
    settings: dict[str, Any], encoder: tuple[Any, ...], bottleneck: tuple[int, ...]
) -> None:
    family = readings().families["plain U-Net"]
    trunk = trunk_of({**settings_of(tuple(values[0] for values in family.trunk.values())), **settings})
    assert isinstance(trunk, Trunk)
    mirrored = tuple((level, trunk.maps.get(level, encoder[0][1])) for level in range(encoder[-1][0], -1, -1))
    assert (trunk.encoder, trunk.bottleneck, trunk.bottleneck_level) == (encoder, bottleneck, encoder[-1][0] + 1)
    assert trunk.decoder == mirrored


def first(family: Family, choice: str = "", value: Value | None = None) -> Group:
    return next(groups("", family.only(choice, value), HD))


@pytest.mark.parametrize("name", list(readings().families))
def test_what_is_held_moves_neither_count_by_more_than_a_hundredth(name: str) -> None:
    family = readings().families[name]
    base, held = first(family).first_cost, 0
    for choice, values in family.choices().items():
        for value in values:
            if value.held:
                cost, held = first(family, choice, value).first_cost, held + 1
                assert abs(cost.parameters / base.parameters - 1) < 0.01, (choice, value.name)
                assert abs(cost.flops / base.flops - 1) < 0.01, (choice, value.name)
    assert held


def test_the_first_reading_is_our_four_stage_network() -> None:
    group = first(readings().families[NAME])
    assert group.first_cost.parameters == 16_030_750 - nine_less_eight()  # fvcore's count of the nine-module layout
    assert group.against | group.modules.against[0] == {"six", "nine"}


def nine_less_eight() -> int:
    """Parameters of the module at the bottleneck, which the nine-module layout has besides."""
    channels = 256
    layers = 4 * (channels**2 + channels) + 2 * 4 * channels**2 + 5 * channels
    return layers + 2 * 2 * channels + channels + 1


@pytest.mark.parametrize("layout", readings().choices["layout"], ids=lambda value: value.name)
def test_no_number_of_modules_agrees_with_every_sentence(layout: Value) -> None:
    """A19: Sec. 4.1 wants four stages, App. B.3 six modules, Figure 1(c) nine."""
    family = readings().families[NAME]
    for places in family.modules["places"]:
        one = family.only("layout", layout)
        one = one.model_copy(update={"modules": one.modules | {"places": (places,)}})
        group = next(groups("", one, HD))
        assert group.against | group.modules.against[0]


def test_every_search_looks_for_printed_cells() -> None:
    assert printed(readings().searches[NAME]) == Target(parameters_m=46, flops_g=11)
    assert printed(readings().searches["unet"]) == Target(parameters_m=32, flops_g=4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tag": "silent", "against": ["stages"]}, "tagged silent"),
        ({"tag": "contradicts"}, "tagged contradicts"),
        ({"tag": "contradicts", "against": ["five"]}, "no statement is called five"),
        ({"tag": "contradicts", "against": ["six"]}, "by network and modules"),
    ],
)
def test_a_reading_without_its_sentence_is_refused(change: dict[str, Any], message: str) -> None:
    content = readings().model_dump(mode="json")
    content["families"][NAME]["trunk"]["kernel"][1] |= change
    with pytest.raises(ValueError, match=message):
        Readings.model_validate(content)


# Records


def small() -> Readings:
    """All searches, a value or two a choice."""
    families = {
        name: thinned(family, 3, kept=1 if family.modules else 2) for name, family in readings().families.items()
    }
    return readings().model_copy(update={"families": families})


def test_a_search_writes_the_same_bytes_again_and_its_reader_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "readings", small)
    written = run_search(tmp_path / "one")
    run_search(tmp_path / "two")
    assert read_search(tmp_path / "one") == written
    for name in written:
        one, two = (tmp_path / folder / "search" / f"{name}.json" for folder in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
    assert read_search(tmp_path) == {}


@pytest.mark.parametrize("content", [b"{", b"{}", b"[1]"])
def test_a_damaged_record_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "unet.json").write_bytes(content)
    with pytest.raises(UserError, match=r"unet\.json is no record of a search .*bench audit --search"):
        read_search(tmp_path)


@pytest.mark.parametrize(
    ("module", "heavy"), [("search_records", "torch numpy"), ("search", "torch"), ("analytic", "torch numpy")]
)
def test_the_search_is_light(module: str, heavy: str) -> None:
    code = f"import sys, bench.measure.{module}; print(sorted(set({heavy.split()!r}) & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.fixture(scope="module")
def committed() -> dict[str, SearchRecord]:
    return read_search(RESULTS)


def test_the_committed_records_are_of_these_readings(committed: dict[str, SearchRecord]) -> None:
    assert set(committed) == set(readings().searches)
    assert {one.readings_sha256 for one in committed.values()} == {readings_sha256()}
    assert sum(one.tried for one in committed.values()) > 100_000


def test_the_committed_records_agree_with_arithmetic(committed: dict[str, SearchRecord]) -> None:
    """With attention's products counted, no reading within rounding has a module at full resolution: one alone takes
    over 17 G with half of Sec. 4.1's channels.
    """
    for one in committed.values():
        assert all(way.at_full_resolution == 0 for way in one.countings if way.whole)
        assert all(way.whole == ("without" not in way.counting) for way in one.countings)
        assert sum(level.tried for level in one.levels) == one.tried == sum(way.tried for way in one.countings)
        assert sum(level.within for level in one.levels) == one.within == sum(way.within for way in one.countings)
    assert attention(module_of({**MODULE, "mask": "none"}), 32, 128 * 128).products > 17e9


MODULE = {"heads": 4, "wide_heads": False, "projection": True, "feed_forward": 4, "norms": 2}


def test_the_committed_readings_count_as_they_say(committed: dict[str, SearchRecord]) -> None:
    for one in committed.values():
        for reading in (*one.nearest, *one.likeliest, *one.first):
            family = readings().families[reading.family]
            chosen = {
                name: tuple(value for value in values if value.name == reading.choices[name])
                for name, values in family.choices().items()
            }
            parts = {
                part: {name: chosen[name] for name in getattr(family, part)} for part in ("trunk", "modules", "head")
            }
            (found,) = looped_or_bare(family.model_copy(update={**parts, "counting": chosen["counting"]}))
            assert (found["parameters"], found["flops"]) == (reading.parameters, reading.flops)
            assert reading.within == is_within(one.target, reading.parameters, reading.flops)


def looped_or_bare(family: Family) -> list[dict[str, Any]]:
    if family.modules:
        return looped(family)
    (group,) = groups("", family, HD)
    return [{"parameters": int(group.parameters[0, 0]), "flops": int(group.flops[0, 0, 0])}]


def test_a_search_names_its_target_and_its_families() -> None:
    wanted: Search = readings().searches[NAME]
    assert wanted.without_modules == "unet"

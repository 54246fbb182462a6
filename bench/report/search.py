"""The specification search as tables: is there a reading of the paper whose network has the cost that it prints?"""

from __future__ import annotations

from pathlib import Path

from bench.measure.analytic import Attention, attention, mask_parameters
from bench.measure.search_records import Joint, Moved, Reading, SearchRecord, Target, readable_searches
from bench.report.facts import Facts
from bench.report.tables.table import NONE, number

OURS = "maskattn-unet"  # the search for the paper's own network
LABELS = {OURS: "MaskAttn-UNet", "unet": "U-Net"}
COMMAND = "python -m bench audit --search"
SHOWN, MOVERS, JOINTS = 10, 15, 5  # rows
FULL = (64, 128 * 128)  # channels and positions of a module at full resolution (Sec. 4.1, Sec. 4)
MILLION, GIGA = 1e6, 1e9
HEADS = ("", "Parameters (M)", "FLOPs (G)", "Distance (%)", "Contradicts", "The reading")
HOW = (
    "A reading takes one value for each choice of bench/measure/readings.yaml; all combinations are counted in closed "
    "form, which agrees with fvcore's count.",
    "The distance is the larger of the two relative errors. A reading is within rounding where both of its counts "
    "round to the printed numbers.",
    "A reading contradicts a sentence of the paper that says otherwise. Where the paper is silent, every value is "
    "allowed. No reading of MaskAttn-UNet agrees with every sentence: Sec. 4.1, Figure 1(c) and App. B.3 give three "
    "numbers of modules.",
    "Lists of readings show one a network, whatever its modules, head and counting.",
)


def search_section(results: Path) -> tuple[Facts, ...]:
    """What the records of the search say; what to run where there is none. The audit names those left out."""
    records, _ = readable_searches(results)
    if not records:
        return (Facts("Is there a reading with the printed cost?", ("Answer",), (), (f"Not run: {COMMAND}",)),)
    found = [answers(records)]
    for name, record in records.items():
        label = LABELS.get(name, name)
        found += [by_contradictions(label, record), by_counting(label, record), likeliest_counted(label, record)]
        found += [likeliest(label, record), nearest(label, record)]
        if record.joint:
            found.append(at_once(record, record.joint))
        found.append(movers(label, record))
    return (*found, not_searched(records))


def answers(records: dict[str, SearchRecord]) -> Facts:
    lines = [line for name, record in records.items() for line in _answers(LABELS.get(name, name), record)]
    channels, positions = FULL
    products = attention(Attention(), channels, positions).products / GIGA
    matrix = mask_parameters(Attention(mask="free"), channels, positions) / MILLION
    lines += [
        (
            "What does one module at full resolution cost?",
            f"{products:.2f} G for the two products of Eq. 1 alone, at 64 channels and 128x128 positions.",
        ),
        ("What would a free N x N mask add there?", f"{matrix:.1f} M parameters, for one module and one head."),
    ]
    return Facts("Is there a reading with the printed cost?", ("Question", "Answer"), tuple(lines), HOW)


def _answers(label: str, record: SearchRecord) -> list[tuple[str, str]]:
    lines = [(f"Does a reading have the {printed(record.target)} of {label}?", _verdict(record))]
    reach = "; ".join(f"at most {one.contradictions}: {one.pairs:,}" for one in record.reach)
    lines.append(
        (
            f"How much does a match say ({label})?",
            "As much as the number of pairs that no reading has: of the 10,000 pairs of whole numbers up to 100 M and "
            f"100 G, readings have so many, by the number of sentences that they contradict: {reach}.",
        )
    )
    if joint := record.joint:
        best = joint.nearest[0]
        lines.append(
            (
                f"Does one network have {printed(record.target)} with its modules and {printed(joint.other)} without "
                "(App. B.2), counted alike?",
                f"{_yes(joint.within)}: {joint.within:,} of {record.tried:,} readings. "
                f"The nearest is {percent(best.distance)} % off and contradicts {len(best.contradicts)}.",
            )
        )
    return lines


def _verdict(record: SearchRecord) -> str:
    text = f"{_yes(record.within)}: {record.within:,} of {record.tried:,} readings ({record.networks:,} networks)"
    if not record.within:
        return f"{text}; the nearest is {percent(record.nearest[0].distance)} % off."
    fewest = next(level for level in record.levels if level.within)
    text += (
        f"; the best of them contradict {fewest.contradictions} of the paper's sentences ({fewest.within:,} readings)"
    )
    if record.levels[0].contradictions < fewest.contradictions:
        least = record.levels[0]
        text += (
            f"; of the {least.tried:,} readings that contradict {least.contradictions}, none is "
            f"(the nearest {percent(least.nearest[0].distance)} % off)"
        )
    return f"{text}. {_whole(record)}".rstrip()


def _whole(record: SearchRecord) -> str:
    """Where some counts leave attention's products out, what is left of the answer without those."""
    whole = [way for way in record.countings if way.whole and way.within]
    if all(way.whole for way in record.countings):
        return ""
    if not whole:
        return "None of them counts attention's products."
    within, fewest = sum(way.within for way in whole), min(way.fewest for way in whole if way.fewest is not None)
    full = sum(way.at_full_resolution for way in whole)
    return (
        f"With attention's products counted, {within:,} are within rounding; they contradict at least {fewest}, and "
        f"{full:,} of them have a module at full resolution."
    )


def _yes(count: int) -> str:
    return "Yes" if count else "No"


def by_contradictions(label: str, record: SearchRecord) -> Facts:
    heads = ("Sentences contradicted", "Readings", "Within rounding", *HEADS[1:4])
    lines = []
    for level in record.levels:
        counts = (str(level.contradictions), f"{level.tried:,}", f"{level.within:,}")
        lines.append((*counts, *_numbers(level.nearest[0])))
    return Facts(f"{label}: readings by what they contradict, and the nearest of each", heads, tuple(lines))


def by_counting(label: str, record: SearchRecord) -> Facts:
    heads = (
        "Counted",
        "Readings",
        "Within rounding",
        "of these with a module at full resolution",
        "Fewest contradicted",
    )
    lines = []
    for way in record.countings:
        fewest = NONE if way.fewest is None else str(way.fewest)
        counts = f"{way.tried:,}", f"{way.within:,}", f"{way.at_full_resolution:,}"
        lines.append((way.counting, *counts, fewest))
    partial = any(not way.whole for way in record.countings)
    notes = ("Without attention's products a count is not the cost of the network; a counter may still print it.",)
    return Facts(f"{label}: readings by how they are counted", heads, tuple(lines), notes if partial else ())


def likeliest_counted(label: str, record: SearchRecord) -> Facts:
    """The best of each counting that has any."""
    best = [way.likeliest[0] for way in record.countings if way.within]
    return Facts(
        f"{label}: of each counting, the reading within rounding that contradicts least", HEADS, _readings(tuple(best))
    )


def likeliest(label: str, record: SearchRecord) -> Facts:
    title = f"{label}: readings within rounding, those that contradict least first"
    return Facts(title, HEADS, _readings(record.likeliest[:SHOWN] if record.within else ()))


def nearest(label: str, record: SearchRecord) -> Facts:
    return Facts(f"{label}: the nearest readings", HEADS, _readings(record.nearest[:SHOWN]))


def at_once(record: SearchRecord, joint: Joint) -> Facts:
    heads = (*HEADS[:3], "Without modules: parameters (M)", "FLOPs (G)", *HEADS[3:])
    lines = []
    for line, (parameters, flops) in zip(_readings(joint.nearest[:JOINTS]), joint.bare, strict=False):
        lines.append((*line[:3], number(parameters / MILLION, 2), number(flops / GIGA, 2), *line[3:]))
    title = f"Both rows at once: {printed(record.target)} with modules, {printed(joint.other)} without"
    return Facts(title, heads, tuple(lines), ("The distance is the largest of the four relative errors.",))


def movers(label: str, record: SearchRecord) -> Facts:
    """The values that move a count most, alone, of all families."""
    start = {one.family: one for one in record.first}

    def share(one: Moved) -> float:
        base = start[one.family]
        return max(abs(one.parameters) / base.parameters, abs(one.flops + one.products) / base.flops)

    heads = ("Value", "Of", "The paper", "Parameters (M)", "FLOPs (G)", "of these attention's products (G)")
    lines = []
    for one in sorted(record.moved, key=share, reverse=True)[:MOVERS]:
        flops = one.flops + one.products
        moved = [_signed(one.parameters / MILLION), _signed(flops / GIGA), _signed(one.products / GIGA)]
        lines.append((f"{one.choice}: {one.value}", one.family, _stance(one.tag, one.contradicts, record), *moved))
    notes = [
        f"From: {base.family}, {number(base.parameters / MILLION, 2)} M and {number(base.flops / GIGA, 2)} G: "
        f"{_spelled(base.choices)}."
        for base in record.first
    ]
    return Facts(f"{label}: what moves the count most, one choice at a time", heads, tuple(lines), tuple(notes))


def not_searched(records: dict[str, SearchRecord]) -> Facts:
    """All records come of one file."""
    record = next(iter(records.values()))
    statements = tuple((key, text) for key, text in record.statements.items())
    notes = tuple(f"Not searched: {text}." for text in record.not_searched)
    return Facts(
        "The sentences that readings contradict, and what was not searched", ("Name", "Sentence"), statements, notes
    )


def _readings(readings: tuple[Reading, ...]) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (str(place), *_numbers(one), ", ".join(one.contradicts) or NONE, f"{one.family}: {_spelled(one.choices)}")
        for place, one in enumerate(readings, start=1)
    )


def _numbers(one: Reading) -> tuple[str, str, str]:
    return number(one.parameters / MILLION, 2), number(one.flops / GIGA, 2), percent(one.distance)


def _spelled(choices: dict[str, str]) -> str:
    return "; ".join(f"{choice} {value}" for choice, value in choices.items())


def _stance(tag: str, contradicts: tuple[str, ...], record: SearchRecord) -> str:
    return f"contradicts {', '.join(record.statements[key] for key in contradicts)}" if contradicts else tag


def _signed(value: float) -> str:
    return number(value, 2, signed=True)


def percent(fraction: float) -> str:
    return number(100 * fraction, 2)


def printed(target: Target) -> str:
    return f"{target.parameters_m:g} M and {target.flops_g:g} G"

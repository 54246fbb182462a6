"""What `plan` says of how much its runs are: steps, images, FLOPs, hours, cost, disk; in words and as JSON."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.arguments import positive_number
from bench.commands.headline import disk_needed
from bench.disk import amount
from bench.display import duration
from bench.errors import UserError
from bench.estimate.calibration import Calibration, Hardware, read_calibrations
from bench.estimate.flops import PASSES
from bench.estimate.hours import Planned, Summary, Time, planned, summed
from bench.estimate.work import opened, preparation_bytes
from bench.measure.cost_records import readable_costs
from bench.plan import Plan
from bench.spec import Profile

NOT_COUNTED = "the dataset's official number, or the most that the profile takes"
UNKNOWN = "not known before their data is prepared"


@dataclass(frozen=True)
class Workload:
    """`runs`: of the plan; `absent`: of its datasets that are not here, by name; `unreadable`: calibrations."""

    runs: list[Planned]
    absent: Mapping[str, list[Planned]]
    calibrations: list[Calibration]
    unreadable: list[str]

    @property
    def left(self) -> list[Planned]:
        return [run for run in self.runs if run.cell.is_left]

    @property
    def hardware(self) -> list[Hardware]:
        """All that tells something, by name."""
        everything = [*self.runs, *(run for runs in self.absent.values() for run in runs)]
        return sorted({hardware for run in everything for hardware in run.estimates}, key=lambda one: one.name)


def workload_of(plan: Plan, results: Path) -> Workload:
    calibrations, unreadable = read_calibrations(results)
    costs, _ = readable_costs(results)
    runs = planned(plan.cells, opened(plan.cells), costs, calibrations)
    absent: dict[str, list[Planned]] = {}
    for run in planned(plan.absent, {}, costs, calibrations):
        absent.setdefault(run.cell.spec.dataset, []).append(run)
    return Workload(runs, absent, calibrations, unreadable)


def prices_of(options: argparse.Namespace, hardware: Sequence[Hardware]) -> dict[Hardware, float]:
    """`--price-per-hour NAME=AMOUNT`: of the hardware whose name has NAME in it. Raises UserError where none has."""
    prices: dict[Hardware, float] = {}
    for given in options.price_per_hour:
        name, equals, price = given.rpartition("=")
        try:
            value = positive_number(price)
        except argparse.ArgumentTypeError:
            equals = ""
        if not (name and equals):
            raise UserError(f"--price-per-hour takes NAME=AMOUNT, such as H100=2.5; got {given!r}")
        named = [one for one in hardware if name.lower() in one.name.lower()]
        if not named:
            known = "; ".join(one.name for one in hardware) or "none, `--calibrate` measures this machine"
            raise UserError(f"--price-per-hour: no hardware with a time has {name!r} in its name; known: {known}")
        prices |= dict.fromkeys(named, value)
    return prices


def workload_lines(work: Workload, profile: Profile, prices: Mapping[Hardware, float]) -> Iterator[str]:
    """Of what is left to run, then of each dataset that is not here."""
    for reason in work.unreadable:
        yield f"not read: {reason}"
    if work.left and not work.absent:
        yield from _lines(work.left, profile, prices)
    elif work.left:
        names = ", ".join(dict.fromkeys(run.cell.spec.dataset for run in work.left))
        yield from _block(f"{names}: {len(work.left)} to run", work.left, profile, prices)
    for name, runs in work.absent.items():
        yield from _block(f"{name}, not here: {len(runs)} runs", runs, profile, prices)


def _block(title: str, runs: Sequence[Planned], profile: Profile, prices: Mapping[Hardware, float]) -> Iterator[str]:
    yield f"{title}, {_steps_each(runs)}"
    yield from (f"  {line}" for line in _lines(runs, profile, prices))


def _lines(runs: Sequence[Planned], profile: Profile, prices: Mapping[Hardware, float]) -> Iterator[str]:
    total = summed(runs)
    notes = [f"of {total.inexact} runs not counted: {NOT_COUNTED}"] if total.inexact else []
    notes += [f"without {total.unknown_work} runs, {UNKNOWN}"] if total.unknown_work else []
    note = f" (images {'; '.join(notes)})" if notes else ""
    seen = f"{counted(total.trained)} images trained on and {counted(total.evaluated)} evaluated, once for each pass"
    begun = sum(run.cell.place is not None for run in runs)
    whole = f"; begun runs ({begun}) are counted whole" if begun else ""
    known = f"{counted(total.steps)} steps, {seen}{note}{whole}"
    yield f"work: {known if total.unknown_work < total.runs else UNKNOWN}"
    can = any(run.setting for run in runs)  # be calibrated
    yield f"FLOPs: {_flops(total, can)}"
    for hardware, time in sorted(total.times.items(), key=lambda item: item[0].name):
        yield f"time on {hardware.name}: {_time(time, prices.get(hardware))}"
    if not total.times:
        hint = (
            "; `--calibrate` measures this machine" if can else ", and `--calibrate` cannot (oracles, unprepared data)"
        )
        yield f"time: no finished run and no calibration tells{hint}"
    yield f"disk: {_disk(runs, profile)}"


def _flops(total: Summary, can_be_calibrated: bool) -> str:
    if not total.flops and not total.unknown_flops:
        return "none, floors and oracles have none"
    if not total.flops and total.unknown_work:
        return UNKNOWN
    if not total.flops:
        hint = "; `--calibrate` counts them" if can_be_calibrated else ""
        return f"not known, these networks have no count at this size{hint}"
    text = f"{total.flops:.2e} multiply-adds".replace("e+", "e") + f", a training step as {PASSES} forward passes"
    forms = ", ".join(dict.fromkeys(form for forms in total.counted_at for form in forms.split(", ")))
    notes = [f"{sum(total.counted_at.values())} runs by a count in another form ({forms})"] if forms else []
    notes += [f"without {total.unknown_flops} runs that have no count"] if total.unknown_flops else []
    return "; ".join([text, *notes])


def _time(time: Time, price: float | None) -> str:
    kinds = ((time.by_past, "past runs"), (time.by_calibration, "calibration"))
    by = ", ".join(f"{count} by {what}" for count, what in kinds if count)
    by += f", other programs beside {time.shared} of these" if time.shared else ""
    text = f"{hours(time.seconds)}, one run after another ({by})"
    if price is not None:
        text += f"; cost {price * time.seconds / 3600:,.2f} at {price:g} an hour"
    return text + (f"; without {time.unknown} runs of which nothing tells" if time.unknown else "")


def _disk(runs: Sequence[Planned], profile: Profile) -> str:
    cells = [run.cell for run in runs]
    text = f"up to {amount(disk_needed(cells, profile.keep_weights, 1))} of results"
    data = preparation_bytes(cells, opened(cells))
    text += f", about {amount(data)} of data to prepare" if data else ""
    return text + (f", without the images that are {UNKNOWN}" if any(run.work is None for run in runs) else "")


def _steps_each(runs: Sequence[Planned]) -> str:
    steps = sorted({run.work.steps for run in runs if run.work and run.work.steps})
    texts = list(dict.fromkeys(counted(count) for count in steps))
    if not texts:
        return "no steps"
    return f"{' to '.join(dict.fromkeys((texts[0], texts[-1])))} steps a training"


def counted(number: int) -> str:
    """8,450 or 8.45 M."""
    return f"{number:,}" if number < 1e6 else f"{number / 1e6:,.2f} M"


def hours(seconds: float) -> str:
    return duration(seconds) if seconds < 3600 else f"{seconds / 3600:,.1f} h"


def workload_json(work: Workload, profile: Profile, prices: Mapping[Hardware, float]) -> dict[str, Any]:
    return {
        "passes_of_a_training_step": PASSES,
        "all": _sums(work.runs, profile, prices),
        "left": _sums(work.left, profile, prices),
        "absent": {name: _sums(runs, profile, prices) for name, runs in work.absent.items()},
        "unreadable_calibrations": work.unreadable,
    }


def _sums(runs: Sequence[Planned], profile: Profile, prices: Mapping[Hardware, float]) -> dict[str, Any]:
    total, cells = summed(runs), [run.cell for run in runs]
    return {
        "runs": total.runs,
        "steps": total.steps,
        "trained_images": total.trained,
        "evaluated_images": total.evaluated,
        "runs_of_unknown_images": total.unknown_work,
        "runs_of_official_images": total.inexact,
        "flops": total.flops,
        "runs_without_flops": total.unknown_flops,
        "flops_counted_at": total.counted_at,
        "time": [_time_json(hardware, time, prices.get(hardware)) for hardware, time in total.times.items()],
        "disk_bytes": disk_needed(cells, profile.keep_weights, 1),
        "preparation_bytes": preparation_bytes(cells, opened(cells)),
    }


def _time_json(hardware: Hardware, time: Time, price: float | None) -> dict[str, Any]:
    return {
        **hardware.model_dump(),
        "seconds": round(time.seconds, 1),
        "runs_by_past_runs": time.by_past,
        "runs_by_calibration": time.by_calibration,
        "runs_unknown": time.unknown,
        "runs_calibrated_beside_other_programs": time.shared,
        "price_per_hour": price,
        "cost": None if price is None else round(price * time.seconds / 3600, 2),
    }


def run_json(run: Planned) -> dict[str, Any]:
    """Of one run; null where it is not known."""
    work, flops = run.work, run.flops
    return {
        "steps": work and work.steps,
        "trained_images": work and work.trained,
        "evaluated_images": work and work.evaluations,
        "images_counted": work and work.exact,
        "flops": flops and flops.total,
        "flops_counted_at": flops and flops.counted_at,
        "time": [
            {**hardware.model_dump(), "seconds": round(one.seconds, 1), "by": one.by}
            for hardware, one in run.estimates.items()
        ],
    }

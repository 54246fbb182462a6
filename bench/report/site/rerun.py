"""What it would cost to make a table again: its runs, the time that they took and on what, and the command."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.record import Record
from bench.report.exhibit import Exhibit, Section
from bench.report.facts import Facts
from bench.report.gaps import command
from bench.report.tables.runs import seconds
from bench.report.tables.table import NONE, number, runs_behind
from bench.spec import RunSpec, Suite

TITLE = "What a rerun costs"
HEADS = ("Device", "Threads", "Runs", "Seconds, all together", "Seconds of the longest")
MEASURED = (
    "Wall time of each run from start to end, its evaluations included, as its record has it; other programs may have "
    "run beside it. One run after the other."
)


@dataclass(frozen=True)
class Rerun:
    """`commands` make the runs of one table again; `cost` is None where no run tells."""

    commands: tuple[str, ...]
    cost: Facts | None


def rerun(exhibit: Exhibit, section: Section) -> Rerun | None:
    """None for an exhibit that no suite makes, or a section without runs."""
    runs = records_behind(exhibit, section)
    if not isinstance(exhibit.suite, Suite) or not runs:
        return None
    profiles = dict.fromkeys((run.spec.profile, run.spec.recipe.tuning is not None) for run in runs)
    told = tuple(command(exhibit.suite, profile, is_tuned) for profile, is_tuned in profiles)
    return Rerun(told, cost_of(runs))


def records_behind(exhibit: Exhibit, section: Section) -> list[Record]:
    """The finished runs that a section's numbers come from; of one without numbers of runs, the exhibit's."""
    behind = runs_behind([section.table])
    found = [run for run in exhibit.records if run.run_id in behind]
    return found or [run for run in exhibit.records if run.status.state == "done"]


def cost_of(runs: Sequence[Record]) -> Facts | None:
    """A line a kind of machine."""
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    silent = 0
    for run in runs:
        took = seconds(run)
        if took is None:
            silent += 1
        else:
            groups[machine(run.attempt)].append(took)
    if not groups:
        return None
    lines = tuple(
        (device, threads, str(len(took)), number(sum(took), 0), number(max(took), 0))
        for (device, threads), took in sorted(groups.items())
    )
    notes = (MEASURED, *([f"{silent} runs do not say how long they took."] if silent else []))
    return Facts(TITLE, HEADS, lines, notes)


def machine(attempt: Mapping[str, object]) -> tuple[str, str]:
    """(device, threads): of a CPU the processor's name."""
    device = str(attempt.get("device") or NONE)
    name = f"{device}, {attempt['processor']}" if device == "cpu" and attempt.get("processor") else device
    return name, str(attempt.get("threads") or NONE)


def repeat(spec: RunSpec, suite: str) -> tuple[str, ...]:
    """The commands that make one run of a suite again, in a folder of its own."""
    names = ["--suite", suite, "--profile", spec.profile, "--models", spec.model, "--datasets", spec.dataset]
    once, folder = ["--seeds", str(spec.seed)], ["--results", "repeated"]
    if spec.recipe.tuning is None:
        return (_bench("run", *names, *once, *folder),)
    factors = ",".join(f"{factor:g}" for factor in spec.recipe.tuning.factors)
    search = _bench("tune", *names, "--factors", factors, *folder)
    return search, _bench("run", *names, *once, "--tuned", factors, *folder)


def _bench(*words: str) -> str:
    return f"python -m bench {shlex.join(words)}"

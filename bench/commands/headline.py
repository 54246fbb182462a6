"""What is said of a plan before its runs start: how many, how long, how much disk; and why some are not there."""

from __future__ import annotations

from rich.console import Console

from bench.cell import Cell, trains_by_steps
from bench.disk import amount
from bench.display import duration
from bench.estimate.work import data_of, opened
from bench.plan import EMBEDDED, Plan
from bench.spec import Profile

RECORD_BYTES = 1_000_000  # a record with its pictures
IMAGE_BYTES = 2_000  # of an evaluated image in images.parquet, with its 100 detections
WEIGHT_BYTES = 260_000_000  # the largest network's, 63 M parameters in float32
CHECKPOINT_BYTES = 3 * 3 * WEIGHT_BYTES  # weights and AdamW's two moments, of a run at work: two kept, one written


def say_missing(console: Console, plan: Plan) -> None:
    for missing in plan.missing.values():
        console.print(f"{missing.name}: {missing.what}; {missing.how}")
    for reason in plan.skipped:
        console.print(f"skipped: {reason}")
    if plan.missing and set(plan.sources) == {EMBEDDED}:
        console.print("running on the embedded dataset 'scenes', in a column of its own")


def headline(name: str, profile: Profile, plan: Plan, chosen: list[Cell], jobs: int = 1) -> str:
    """How many runs, the expected time and the disk."""
    text = run_counts(name, profile, plan, chosen)
    if not chosen:
        return text
    known = [cell.seconds for cell in chosen if cell.seconds is not None]
    places = {h.name for cell in chosen if cell.seconds is not None for h in cell.past.by_hardware}
    where = f" ({'; '.join(sorted(places))})" if places else ""
    times = [f"about {duration(sum(known))} for {len(known)} by past runs{where}"] if known else []
    if len(known) < len(chosen):
        times.append(f"no past run tells for {len(chosen) - len(known)} (this profile: {profile.summary})")
    disk = amount(disk_needed(chosen, profile.keep_weights, jobs))
    return f"{text}; time: {'; '.join(times)}; disk: up to {disk}"


def run_counts(name: str, profile: Profile, plan: Plan, chosen: list[Cell]) -> str:
    done = sum(cell.state == "done" for cell in plan.cells)
    to_do = f"{len(chosen)} to run" if chosen else "nothing to do"
    return f"{name}, profile {profile.name}: {len(plan.cells)} runs, {done} done, {to_do}"


def complaint(cell: Cell) -> str | None:
    """Why a run that ended has no numbers."""
    if cell.status is not None and cell.state != "done":
        return cell.status.reason or "no reason is recorded"
    return cell.damaged


def disk_needed(cells: list[Cell], keep_weights: bool, jobs: int) -> int:
    """At most, in bytes. How many images a whole split of somebody's own data has is known where it is prepared."""
    prepared = opened(cells)
    images = sum(data_of(cell, prepared).val or 0 for cell in cells)
    trained = sum(trains_by_steps(cell.spec) for cell in cells)
    weights = trained * WEIGHT_BYTES if keep_weights else 0
    return len(cells) * RECORD_BYTES + images * IMAGE_BYTES + weights + min(jobs, trained) * CHECKPOINT_BYTES

"""Many records and many steps: time and memory of `status`, `plan` and `report` over 1,000 and 10,000 records, and the
memory of a training over 2,000 steps. Real processes; the records are copies of the committed ones with other seeds.

Seconds are those of the processor, so that what else runs counts little. Memory is the peak of the process's own
lifetime: ru_maxrss would do for none, a process inherits it from its parent.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bench.data.catalog import DataRoots
from bench.named import load_named
from bench.plan import Choice, make_plan
from bench.record import Record, Status
from bench.spec import Profile, RunSpec, Suite
from bench.store import Store
from tests.execute import commands

COMMITTED = Path(__file__).parents[2] / "results"
SECONDS = 20.0  # for 10,000 records; of a report for its tables: it draws as many charts of few records as of many
MEMORY_MB = 1000.0
FEW, MANY = 1000, 10_000
NAMES = ("spec.json", "metrics.json", "network.json", "history.jsonl")
MEASURED = """
import sys, time
from bench.cli import main
code = main(sys.argv[1:])
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(f"MEASURED {time.process_time()} {int(peak.split()[1]) / 1024}")
sys.exit(code)
"""


class Cost(NamedTuple):
    seconds: float
    memory_mb: float


def write_copy(root: Path, record: Record, seed: int) -> None:
    """Without the store's syncing, which would take minutes."""
    spec = record.spec.model_copy(update={"seed": seed})
    number, folder = record.status.attempt, root / spec.run_id
    (folder / "attempts").mkdir(parents=True)
    files = {name: (record.folder / name).read_bytes() for name in NAMES if (record.folder / name).exists()}
    files["spec.json"] = json.dumps(spec.model_dump(mode="json")).encode()
    files[f"attempts/{number}.json"] = json.dumps(record.attempt).encode()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    status = Status(run_id=spec.run_id, state="done", attempt=number, files=hashes)
    (folder / "status.json").write_text(status.model_dump_json())


def write_copies(root: Path, count: int) -> int:
    """Writes so many records; returns how many seeds each of the committed ones has."""
    records = [record for record in Store(COMMITTED).records() if record.status.state == "done"]
    seeds = -(-count // len(records))
    for record in records:
        for seed in range(seeds):
            write_copy(root, record, seed)
    return seeds


def measured(folder: Path, *arguments: str) -> Cost:
    command = [sys.executable, "-c", MEASURED, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=True)
    found = re.search(r"^MEASURED (\S+) (\S+)$", done.stdout, re.M)
    assert found, done.stdout
    return Cost(float(found[1]), float(found[2]))


def quick(folder: Path) -> Choice:
    suite, profile = load_named("suite", "scenes64", Suite), load_named("profile", "quick", Profile)
    return Choice(suite, profile, DataRoots(), folder / "prepared")


@pytest.mark.nightly
@pytest.mark.perf
def test_ten_thousand_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_plan(quick(tmp_path), Store(tmp_path / "none"), lambda *_: None)  # prepares the data
    costs: dict[tuple[str, int], Cost] = {}
    for count in (FEW, MANY):
        seeds = write_copies(tmp_path / str(count), count)
        grid = ["--suite", "scenes64", "--profile", "quick", "--seeds", ",".join(map(str, range(seeds)))]
        costs["status", count] = measured(tmp_path, "status", *grid, "--results", str(count))
        costs["plan", count] = measured(tmp_path, "plan", *grid, "--results", str(count))
        costs["report", count] = measured(tmp_path, "report", "--results", str(count), "--out", f"out{count}")
    with capsys.disabled():
        for command in ("status", "plan", "report"):
            few, many = costs[command, FEW], costs[command, MANY]
            sys.stdout.write(
                f"\n{command} over {MANY:,} records: {many.seconds:.1f} s, {many.memory_mb:.0f} MB; "
                f"{many.seconds / few.seconds:.1f} times the time of {FEW:,}"
            )
    for (command, count), cost in costs.items():
        drawing = costs[command, FEW].seconds if command == "report" else 0.0
        assert cost.seconds - drawing < SECONDS, (command, count)
        assert cost.memory_mb < MEMORY_MB, (command, count)
        assert cost.seconds <= 1.2 * MANY / FEW * costs[command, FEW].seconds, command


def test_a_plan_reads_each_record_once_and_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan over many records is as slow as what it reads of them."""
    suite = load_named("suite", "scenes64", Suite).model_copy(update={"sizes": ((16, 16),)})
    profile = Profile.model_validate(
        {
            "name": "tiny",
            "summary": "",
            "label": "",
            "reproduction": False,
            "epochs": 1,
            "train_images": 2,
            "val_images": 1,
        }
    )
    choice = Choice(suite, profile, DataRoots(), tmp_path / "prepared", models=("unet", "maskattn-unet"))
    store = Store(tmp_path / "results")
    cells = make_plan(choice, store, lambda *_: None).cells
    source = Store(COMMITTED).record("unet-scenes-64x64-quick-s0-9a7f4788ed")
    missing = next(cell.spec for cell in cells if cell.spec.model == "maskattn-unet")
    done = [cell.spec for cell in cells if cell.spec != missing]
    others = [spec.model_copy(update={"seed": 50}) for spec in done if spec.model != missing.model]
    like_missing = missing.model_copy(update={"seed": 99})
    for spec in (*done, *others, like_missing):
        write_record(store, source, spec)
    read: list[str] = []
    whole = Store.record

    def record(self: Store, run_id: str) -> Record:
        read.append(run_id)
        return whole(self, run_id)

    monkeypatch.setattr(Store, "record", record)
    plan = make_plan(choice, store)
    assert sorted(read) == sorted(spec.run_id for spec in (*done, like_missing))
    assert {cell.spec.model: cell.seconds for cell in plan.cells} == dict.fromkeys(
        ("majority", "position-prior", "unet", "maskattn-unet"), source.attempt["seconds_total"]
    )


def write_record(store: Store, source: Record, spec: RunSpec) -> None:
    number, folder = store.begin(spec), store.folder(spec.run_id)
    for name in ("metrics.json", "network.json"):
        (folder / name).write_bytes((source.folder / name).read_bytes())
    store.write_attempt(spec.run_id, number, dict(source.attempt))
    store.finish(Status(run_id=spec.run_id, state="done", attempt=number))


def resident_mb(process: int) -> float:
    rows = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(row.split()[1]) / 1024 for row in rows if row.startswith("VmRSS"))


@pytest.mark.nightly
@pytest.mark.perf
def test_the_memory_of_a_training_is_flat_over_2000_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands.write_suite(tmp_path, "long", epochs=100_000, images=20)  # of 10 steps each
    (tmp_path / "one.yaml").write_text(commands.SUITE.replace("32x32", "16x16"))
    process = commands.start(tmp_path, "long")

    def epochs() -> int:
        histories = list((tmp_path / "results").glob("*/history.jsonl"))
        return len(histories[0].read_text().splitlines()) if histories else 0

    def memory_after(steps: int) -> float:
        while epochs() * 10 < steps:
            assert process.poll() is None, commands.finish(process)
            time.sleep(0.1)
        training: Any = commands.training_process(process.pid)
        return min(resident_mb(training) for _ in range(30) if not time.sleep(0.1))  # but while a checkpoint is written

    try:
        early, middle, late = (memory_after(steps) for steps in (200, 1100, 2000))
    finally:
        process.terminate()
        commands.finish(process)
    with capsys.disabled():
        sys.stdout.write(f"\na training takes {early:.0f}, {middle:.0f}, {late:.0f} MB after 200, 1,100, 2,000 steps\n")
    assert min(middle - early, late - middle) < 5  # what leaks does so in both halves; an allocator may grow once

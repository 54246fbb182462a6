"""results/ on disk: one folder a run; status.json comes last. No torch."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.errors import UserError
from bench.files import read, read_bytes, read_json, sha256_of, write_json
from bench.lock import Lease, lease
from bench.record import WEIGHTS, Damaged, Epoch, Metrics, Network, Record, Status
from bench.spec import RunSpec, invalid

SMALL_FILES = ("spec.json", "metrics.json", "network.json")  # read and checked with every record
LONGRANGE = "longrange.json"  # of a network with levels: bench/measure/longrange_record.py
# `bench doctor --deep` checks the others
RECORD_FILES = (*SMALL_FILES, LONGRANGE, "history.jsonl", "images.parquet")
OPTIONAL = ("images.parquet", WEIGHTS)  # too large for git
REMOVE = "remove its folder and run its suite again"
REDO = "`bench run --only damaged` of its suite redoes it"


class Store:
    """The folder `results/`: one folder a run, named by its id."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._held: dict[str, Lease] = {}

    def folder(self, run_id: str) -> Path:
        return self.root / run_id

    def status(self, run_id: str) -> Status | None:
        """None while the run has not ended. Raises UserError where status.json is damaged."""
        path = self.folder(run_id) / "status.json"
        return read(path, Status) if path.exists() else None

    def run_ids(self) -> list[str]:
        """Every ended run."""
        return sorted(path.parent.name for path in self.root.glob("*/status.json"))

    def records(self) -> list[Record]:
        """Every ended run, by id. Raises UserError for the first that is damaged."""
        return [self.record(run_id) for run_id in self.run_ids()]

    def record(self, run_id: str) -> Record:
        folder = self.folder(run_id)
        spec = read(folder / "spec.json", RunSpec)
        status = read(folder / "status.json", Status)
        if not run_id == spec.run_id == status.run_id:
            raise UserError(f"{folder} does not hold the run it is named after (its spec is {spec.run_id})")
        done = status.state == "done"
        if fault := _contradiction(folder, status):
            raise UserError(f"{folder / 'status.json'} {fault}")
        record = Record(
            run_id=run_id,
            folder=folder,
            spec=spec,
            status=status,
            metrics=read(folder / "metrics.json", Metrics) if done else None,
            network=read(folder / "network.json", Network) if done else None,
            attempt=read_attempt(folder / "attempts" / f"{status.attempt}.json"),
        )
        if changed := changed_files(folder, status, (*SMALL_FILES, f"attempts/{status.attempt}.json")):
            raise UserError(f"{folder / changed[0]} is not as it was written (another sha256)")
        return record

    def look(self, run_id: str) -> Record | Damaged | None:
        """None where the run has not ended."""
        try:
            return self.record(run_id) if os.path.lexists(self.folder(run_id) / "status.json") else None
        except UserError as error:
            return Damaged(str(error))

    def ended(self, run_id: str) -> Record | None:
        """The record of a run that ended, where it can be read."""
        found = self.look(run_id)
        return found if isinstance(found, Record) else None

    def whole(self, run_id: str) -> Status | None:
        """The status of such a run."""
        record = self.ended(run_id)
        return record.status if record else None

    def begin(self, spec: RunSpec) -> int:
        """Clears what an earlier, unfinished or failed attempt left and returns this attempt's number."""
        self._check(spec.run_id)
        folder = self.folder(spec.run_id)
        (folder / "attempts").mkdir(parents=True, exist_ok=True)
        write_json(folder / "spec.json", spec.model_dump(mode="json"))  # first: on a full disk nothing else is touched
        (folder / "status.json").unlink(missing_ok=True)  # from here on the run counts as not done
        for name in ("metrics.json", "network.json", LONGRANGE, "history.jsonl", *OPTIONAL, "checkpoint/weights.tmp"):
            (folder / name).unlink(missing_ok=True)
        for left in (*folder.glob("*.part"), *folder.glob(".*.tmp")):  # by a process that was killed while it wrote
            left.unlink()
        for name in ("samples", ".samples"):
            shutil.rmtree(folder / name, ignore_errors=True)
        numbers = [int(path.stem) for path in (folder / "attempts").glob("*.json") if path.stem.isdigit()]
        return max(numbers, default=0) + 1

    def write_attempt(self, run_id: str, number: int, content: dict[str, Any]) -> None:
        self._check(run_id)
        write_json(self.folder(run_id) / "attempts" / f"{number}.json", content)

    def finish(self, status: Status) -> None:
        """Writes status.json with the hashes of all that was written before it. Metrics stay only of a run that is
        done.
        """
        folder = self.folder(status.run_id)
        if status.state != "done":
            self._check(status.run_id)
            (folder / "metrics.json").unlink(missing_ok=True)
        names = [*RECORD_FILES, WEIGHTS, f"attempts/{status.attempt}.json"]
        hashes = {name: sha256_of(folder / name) for name in names if (folder / name).is_file()}
        self._check(status.run_id)
        write_json(folder / "status.json", status.model_copy(update={"files": hashes}).model_dump(mode="json"))

    def unseal(self, status: Status) -> None:
        """Writes status.json without hashes, so that the record can be read while its files are replaced."""
        self._check(status.run_id)
        write_json(self.folder(status.run_id) / "status.json", {**status.model_dump(mode="json"), "files": None})

    @contextmanager
    def lock(self, run_id: str) -> Iterator[Lease | None]:
        """Holds the run; yields None where another process has it. What is written meanwhile is written by the holder
        alone: `begin`, `write_attempt` and `finish` raise LostLeaseError where the run was taken over.
        """
        folder = self.folder(run_id)
        folder.mkdir(parents=True, exist_ok=True)
        with lease(folder) as held:
            if held is not None:
                self._held[run_id] = held
            try:
                yield held
            finally:
                if held is not None:
                    del self._held[run_id]

    def _check(self, run_id: str) -> None:
        if run_id in self._held:
            self._held[run_id].check()


def changed_files(folder: Path, status: Status, names: Collection[str] | None = None) -> list[str]:
    """Those of a record's files (all, or `names`) that are absent or not as they were when the run ended. Those that
    are too large for git may be absent.
    """
    found = []
    for name, digest in (status.files or {}).items():
        path = folder / name
        wanted = names is None or name in names
        optional = name in OPTIONAL and not os.path.lexists(path)
        if wanted and not optional and (path.is_symlink() or not path.is_file() or sha256_of(path) != digest):
            found.append(name)
    return found


def _contradiction(folder: Path, status: Status) -> str | None:
    """What of a status cannot be, beside the record's other files."""
    if status.state != "done" and (folder / "metrics.json").exists():
        return f"says {status.state}, but there is a metrics.json"
    needed = {"spec.json", f"attempts/{status.attempt}.json"} | (set(SMALL_FILES) if status.state == "done" else set())
    if status.files is not None and (lacking := sorted(needed - status.files.keys())):
        return f"has no sha256 of {', '.join(lacking)}"
    return None


def with_history(record: Record) -> Record:
    """The record with its epochs; a run that is not done, or where nothing was trained by steps, has none. Raises
    UserError where history.jsonl is damaged.
    """
    path = record.folder / "history.jsonl"
    done = record.status.state == "done" and path.exists()
    if done and changed_files(record.folder, record.status, (path.name,)):
        raise UserError(f"{path} is not as it was written (another sha256); {REMOVE}")
    return replace(record, history=_history(path) if done else ())


def _history(path: Path) -> tuple[Epoch, ...]:
    epochs = []
    try:
        for line in read_bytes(path).decode().splitlines():
            epochs.append(Epoch.model_validate_json(line))
    except ValidationError as error:
        raise invalid(error, f"{path}, line {len(epochs) + 1}", Epoch) from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path} cannot be read ({error}); {REMOVE}") from None
    if [one.epoch for one in epochs] != list(range(1, len(epochs) + 1)):
        raise UserError(f"{path} does not hold each epoch once, in order; {REMOVE}")
    return tuple(epochs)


def read_attempt(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} is no attempt of a run")
    return content

"""results/ on disk. Files are written beside their name and renamed; status.json comes last. No torch."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from bench.errors import UserError
from bench.lock import Lease, lease
from bench.protocols import KEYS
from bench.spec import RunSpec, invalid, size_text

SCHEMA_VERSION = 1
SMALL_FILES = ("spec.json", "metrics.json", "network.json")  # read and checked with every record
RECORD_FILES = (*SMALL_FILES, "history.jsonl", "images.parquet")  # the others are checked by `bench doctor --deep`
MAX_BYTES = 32_000_000  # of a json of a record; the largest, of 150 classes, has 60,000
WEIGHTS = "checkpoint/weights.safetensors"
OPTIONAL = ("images.parquet", WEIGHTS)  # too large for git
REMOVE = "remove its folder and run its suite again"
REDO = "`bench run --only damaged` of its suite redoes it"
State = Literal["done", "failed", "diverged"]
T = TypeVar("T", bound=BaseModel)
Fraction = Annotated[float, Field(ge=0, le=1)] | None  # None where the number does not exist
FileName = Annotated[
    str, StringConstraints(pattern=r"^(attempts/\d+\.json|checkpoint/weights\.safetensors|[a-z]+\.[a-z]+)$")
]  # below a run's folder


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Scores(Strict):
    """One evaluation over a split. Fractions in [0, 1]."""

    miou: Fraction
    miou_thing: Fraction
    miou_stuff: Fraction
    pq: Fraction
    sq: Fraction
    rq: Fraction
    pq_thing: Fraction
    sq_thing: Fraction
    rq_thing: Fraction
    pq_stuff: Fraction
    sq_stuff: Fraction
    rq_stuff: Fraction
    ap: Fraction
    ap50: Fraction
    ap75: Fraction
    ar: Fraction
    ap_classes: int = Field(ge=0)
    instance_truth: str
    images: int = Field(ge=0)


class ClassScores(Strict):
    id: int
    name: str
    isthing: bool
    iou: Fraction
    pq: Fraction
    sq: Fraction
    rq: Fraction
    ap: Fraction


class Loss(Strict):
    """How many there were at native size, crowds left out, and how many of them a resize left no pixel."""

    total: int = Field(ge=0)
    vanished: int = Field(ge=0)


class Vanished(Strict):
    """What an oracle's resize made vanish: thing and stuff segments, and instances. `truth_hash`: the sha256 of the
    native truth, equal for two sizes of the same images.
    """

    truth_hash: str
    things: Loss
    stuff: Loss
    instances: Loss


class Metrics(Strict):
    """metrics.json: the trained network, the same network before training (None for a floor and an oracle), each class,
    for an oracle what vanished, and the trained network by the readings of `bench.protocols` (None in older records).
    """

    schema_version: Literal[1] = 1
    protocol: str
    train_images: int = Field(ge=0, description="how many images it was trained on")
    final: Scores
    untrained: Scores | None
    classes: tuple[ClassScores, ...]
    vanished: Vanished | None = None
    protocols: dict[str, dict[str, Fraction]] | None = None

    @field_validator("protocols")
    @classmethod
    def _known(cls, value: dict[str, dict[str, Fraction]] | None) -> dict[str, dict[str, Fraction]] | None:
        """Older records may have fewer keys than there are today."""
        found = [f"{name}.{key}" for name, numbers in (value or {}).items() for key in numbers]
        strange = [one for one in found if one not in KEYS]
        if strange:
            raise ValueError(f"{strange[0]} is no number of a protocol")
        return value


class Module(Strict):
    """One module of the network as it ran. `flops` counts a multiply-add once."""

    name: str
    kind: str
    parameters: int = Field(ge=0)
    flops: float | None
    output: tuple[int, ...] | None = None


class Network(Strict):
    """network.json: what the network is and what it costs at the run's own input size, batch 1."""

    schema_version: Literal[1] = 1
    model: str
    input: str
    classes: int
    parameters_total: int = Field(ge=0)
    parameters_trainable: int = Field(ge=0)
    flops: float | None = Field(description="multiply-adds, each counted once (fvcore); None for a floor and an oracle")
    uncounted: dict[str, int] = Field(default_factory=dict, description="operators without a count, how often each")
    unused: dict[str, int] = Field(default_factory=dict, description="modules that no output uses, parameters of each")
    modules: tuple[Module, ...] = ()

    @classmethod
    def no_network(cls, name: str, size: tuple[int, int], classes: int) -> Network:
        """What stands for an oracle: nothing to count, at the size (height, width) that it resizes to."""
        given = f"1x3x{size_text(size)}"
        return cls(model=name, input=given, classes=classes, parameters_total=0, parameters_trainable=0, flops=None)


class Epoch(Strict):
    """A line of history.jsonl: the mean over the epoch's steps of the training loss and of each of its terms."""

    epoch: int = Field(ge=1)
    step: int = Field(ge=1)
    loss: float
    terms: dict[str, float]


class Status(Strict):
    """status.json: written last, so a run is either whole or not done. `files`: the sha256 of the record's other files,
    by name; None in records written before there was this key.
    """

    schema_version: Literal[1] = 1
    run_id: str
    state: State
    attempt: int = Field(ge=1)
    reason: str | None = None
    files: dict[FileName, str] | None = None


@dataclass(frozen=True)
class Record:
    """A run that ended, as a report reads it. `metrics` and `network` are None unless the state is done. `history` is
    empty until `with_history` reads it: no other use of a record depends on it.
    """

    run_id: str
    folder: Path
    spec: RunSpec
    status: Status
    metrics: Metrics | None
    network: Network | None
    attempt: dict[str, Any]
    history: tuple[Epoch, ...] = ()

    @property
    def weights(self) -> Path:
        """Of the trained network; not there where its profile keeps none."""
        return self.folder / WEIGHTS


@dataclass(frozen=True)
class Damaged:
    """A run that ended and whose record cannot be read: `reason`, in one line. It is kept until it is asked for."""

    reason: str


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
        for name in ("metrics.json", "network.json", "history.jsonl", *OPTIONAL, "checkpoint/weights.tmp"):
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


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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


def write_bytes(path: Path, content: bytes) -> None:
    """Atomic: readers see the old file or the new one, whole. Raises OSError, which names the path."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        beside.replace(path)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        with suppress(OSError):  # the folder may be gone
            beside.unlink()


def write_json(path: Path, content: Any) -> None:
    """Atomic; refuses NaN and infinity, which are not numbers of a record."""
    write_bytes(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def read_bytes(path: Path) -> bytes:
    """Raises ValueError for a link, which may lead anywhere, and for more than MAX_BYTES; OSError."""
    if path.is_symlink():
        raise ValueError("it is a symbolic link")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ValueError(f"{size:,} bytes, at most {MAX_BYTES:,} are read")
    return path.read_bytes()


def read_json(path: Path) -> Any:
    try:
        return json.loads(read_bytes(path))
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except (ValueError, OSError, RecursionError) as error:
        raise UserError(f"{path} is not readable JSON ({error})") from None


def read(path: Path, model: type[T]) -> T:
    """A validated file of a record. Raises UserError with the first thing that is wrong."""
    with suppress(OSError, ValueError):  # parsed and checked in one go; else what is wrong is found below
        return model.model_validate_json(read_bytes(path))
    content = read_json(path)
    version = content.get("schema_version", SCHEMA_VERSION) if isinstance(content, dict) else SCHEMA_VERSION
    if version != SCHEMA_VERSION:
        raise UserError(f"{path} has schema version {version}; this program reads version {SCHEMA_VERSION}")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise invalid(error, str(path), model) from None

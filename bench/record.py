"""What a run leaves behind, file by file: validated when written and when read. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator

from bench.files import Strict
from bench.intervals import Interval
from bench.protocols import KEYS
from bench.spec import RunSpec, size_text

WEIGHTS = "checkpoint/weights.safetensors"
State = Literal["done", "failed", "diverged"]
Fraction = Annotated[float, Field(ge=0, le=1)] | None  # None where the number does not exist
FileName = Annotated[
    str, StringConstraints(pattern=r"^(attempts/\d+\.json|checkpoint/weights\.safetensors|[a-z]+\.[a-z]+)$")
]  # below a run's folder


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
    at_sizes: dict[str, Scores] | None = Field(None, description="of the trained network at the spec's also_at")

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
    """One module of the network as it ran. `flops` counts a multiply-add once. `inputs`: the modules of which its input
    is made (`bench.measure.connections`); None where it is not called itself, and in older records.
    """

    name: str
    kind: str
    parameters: int = Field(ge=0)
    flops: float | None
    output: tuple[int, ...] | None = None
    inputs: tuple[str, ...] | None = None


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
    empty until `with_history` reads it, `intervals` (of the pairs that it is the first of) until `with_intervals` gives
    them: no other use of a record depends on either.
    """

    run_id: str
    folder: Path
    spec: RunSpec
    status: Status
    metrics: Metrics | None
    network: Network | None
    attempt: dict[str, Any]
    history: tuple[Epoch, ...] = ()
    intervals: tuple[Interval, ...] = ()

    @property
    def weights(self) -> Path:
        """Of the trained network; not there where its profile keeps none."""
        return self.folder / WEIGHTS


@dataclass(frozen=True)
class Damaged:
    """A run that ended and whose record cannot be read: `reason`, in one line. It is kept until it is asked for."""

    reason: str

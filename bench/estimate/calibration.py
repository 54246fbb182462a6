"""results/calibration: how fast a machine trains and evaluates a network, one JSON file each. Imports no torch.

Measured by `bench plan --calibrate`: a short run of its own (bench/execute/calibrating.py).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from bench.errors import UserError
from bench.files import Strict, read, write_json
from bench.spec import Augmentation, RunSpec, Size, size_text
from models.categories import Categories, Task

FOLDER = "calibration"  # under results/
MOST_LOAD = 0.25  # beyond: a machine that others used, too. Share of its cores
REPAIR = "remove it and calibrate again"


class Hardware(Strict):
    """What a run was executed on, as its attempt names it: `threads` in each of `processes`. No host name."""

    device: str = Field(description="cpu, or the GPU's name")
    processor: str
    threads: int = Field(ge=1)
    processes: int = Field(1, ge=1)

    @property
    def name(self) -> str:
        what = f"cpu, {self.processor}" if self.device == "cpu" else self.device
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        return f"{what}, {threads}" if self.processes == 1 else f"{what}, {self.processes} processes of {threads}"

    @property
    def slug(self) -> str:
        """Part of a file's name: nothing but lower-case letters, digits and '-'."""
        text = f"{self.device} {self.processor} t{self.threads}" + f" p{self.processes}" * (self.processes > 1)
        return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")

    @classmethod
    def of(cls, attempt: Mapping[str, Any]) -> Hardware | None:
        """None where an attempt does not say."""
        with suppress(ValidationError):
            return cls.model_validate({key: attempt[key] for key in cls.model_fields if key in attempt})
        return None


class Setting(Strict):
    """What the times of a network depend on, beside the machine: of a run's spec all that is not how long it takes."""

    model: str
    options: Mapping[str, Any]
    task: Task
    size: Size
    also_at: tuple[Size, ...] = Field(description="further sizes at which the trained network is evaluated")
    classes: int = Field(ge=1)
    things: int = Field(ge=0)
    batch_size: int = Field(ge=1)
    augmentation: Augmentation | None
    clip_norm: float | None
    norm_statistics: str
    precision: str

    @classmethod
    def of(cls, spec: RunSpec, categories: Categories) -> Setting:
        """categories: the task's."""
        recipe = spec.recipe
        return cls(
            model=spec.model,
            options=spec.options,
            task=spec.task,
            size=spec.size,
            also_at=tuple(other.size for other in spec.also_at),
            classes=len(categories),
            things=sum(categories.is_thing),
            batch_size=recipe.batch_size,
            augmentation=recipe.augmentation,
            clip_norm=recipe.clip_norm,
            norm_statistics=spec.norm_statistics,
            precision=spec.precision,
        )

    def canonical(self) -> str:
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    @property
    def file_name(self) -> str:
        digest = hashlib.sha256(self.canonical().encode()).hexdigest()[:8]
        return f"{self.model}-{self.task}-{size_text(self.size)}-b{self.batch_size}-{digest}.json"


class Steps(Strict):
    """Seconds of a training step: median and quartiles of `measured` steps, after `warm_up` that are left out."""

    warm_up: int = Field(ge=0)
    measured: int = Field(ge=1)
    median_s: float = Field(gt=0)
    low_s: float = Field(gt=0)
    high_s: float = Field(gt=0)


class Seconds(Strict):
    """What a run is estimated from: per image of a training pass, of the evaluation before training (None for a floor,
    which has none) and after it, at all of `also_at` together (None: there is none); and `fixed`, all that does not
    grow with the images: building, counting, the slow first steps, long-range statistics, writing.
    """

    train_image: float = Field(gt=0)
    untrained_image: float | None = Field(gt=0)
    trained_image: float = Field(gt=0)
    other_sizes_image: float | None = Field(gt=0)
    fixed: float = Field(ge=0)


class Images(Strict):
    """What was trained on and evaluated: pictures of `dataset` with the categories that the setting counts."""

    dataset: str
    train: int = Field(ge=1)
    val: int = Field(ge=1)
    segments_per_image: float = Field(ge=0, description="of the truth in training: the query losses depend on it")


class Calibration(Strict):
    """One setting on one machine. `steps`: None for a floor, which is fitted in one pass. `flops`: as network.json has
    them. `load`: the machine's 1-minute load average by other programs: before the command's first calibration, or more
    than our own threads can be of it when this one began.
    """

    schema_version: Literal[1] = 1
    setting: Setting
    hardware: Hardware
    steps: Steps | None
    seconds: Seconds
    images: Images
    flops: float | None = Field(ge=0)
    load: float = Field(ge=0)
    cores: int = Field(ge=1)
    versions: Mapping[str, str]
    git_commit: str | None
    date: str

    @property
    def is_shared(self) -> bool:
        """Whether other programs were at work when it began, and may have slowed it."""
        return self.load > MOST_LOAD * self.cores


def calibration_path(results: Path, hardware: Hardware, setting: Setting) -> Path:
    return results / FOLDER / hardware.slug / setting.file_name


def write_calibration(results: Path, found: Calibration) -> Path:
    path = calibration_path(results, found.hardware, found.setting)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, found.model_dump(mode="json"))
    return path


def read_calibration(path: Path) -> Calibration:
    """Raises UserError where the file is damaged or holds another calibration than its name says."""
    try:
        found = read(path, Calibration)
    except UserError as error:
        raise UserError(f"{str(error).partition(';')[0]}; {REPAIR}") from None
    if path != calibration_path(path.parents[2], found.hardware, found.setting):
        raise UserError(f"{path} holds the calibration of {found.setting.model} on {found.hardware.name}; {REPAIR}")
    return found


def read_calibrations(results: Path) -> tuple[list[Calibration], list[str]]:
    """All that can be read, by path, and in words why each of the others cannot."""
    found, left_out = [], []
    for path in sorted((results / FOLDER).glob("*/*.json")):
        try:
            found.append(read_calibration(path))
        except UserError as error:
            left_out.append(str(error))
    return found, left_out

"""results/costs: what each network costs at each input size, one JSON file a network and size. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from bench.errors import UserError
from bench.files import Strict, read
from bench.spec import Size, size_text
from models.categories import Task
from models.registry import ENTRIES, UnknownNameError, find, full_options

FOLDER = "costs"  # under results/
TASK: Task = "panoptic"
CLASSES = 133  # COCO's
DETECTORS = {"detr-r50-detector": "detr-r50", "detr-r101-detector": "detr-r101"}  # without the mask head -> with it
PAPER_SIZES = ((128, 128), (64, 64), (48, 64), (32, 32))
# A 480x640 photograph with its shorter side brought to 800 is 800x1066. The networks take multiples of 4, and from
# stride 4 on their maps at 800x1068 are those at 800x1066.
DETECTOR_SIZE = (800, 1068)
# The width, a multiple of 32 (the deepest stride), at which the four baselines' printed FLOPs are best recovered:
# fitted, one free number for four equations (AUDIT A20).
FITTED_SIZE = (800, 1120)
SIZES = (*PAPER_SIZES, DETECTOR_SIZE, FITTED_SIZE)
ONLY_COUNTED = (DETECTOR_SIZE,)  # memory and latency are those of the size beside it, give or take 5 %
MOST_WAITED, MOST_LOAD = 0.05, 0.25  # beyond: a latency of a shared machine. Shares of the time and of the cores
COMMAND = "python -m bench cost --all"
REPAIR = f"remove it and run {COMMAND}"


class Latency(Strict):
    """Wall time of a forward pass at batch 1 in evaluation mode: median and quartiles over `repeats` passes."""

    median_s: float = Field(gt=0)
    low_s: float = Field(gt=0)
    high_s: float = Field(gt=0)
    repeats: int = Field(ge=1)
    threads: int = Field(ge=1)
    device: str
    processor: str
    waited: float = Field(ge=0, le=1, description="share of the wall time in which no core worked for the passes")
    load: float = Field(ge=0, description="the machine's 1-minute load average when the passes began")

    cores: int = Field(ge=1, description="of the machine, that this process may use")

    @property
    def is_shared(self) -> bool:
        """Whether other programs may have slowed the passes. Alone, a chain of measurements has a load of `threads`."""
        return self.waited > MOST_WAITED or self.load - self.threads > MOST_LOAD * self.cores


class CostRecord(Strict):
    """One network at one size. `reason` says why numbers are None: all of them where the network refuses the size,
    memory and latency where the pass was not run.
    """

    schema_version: Literal[1] = 1
    model: str = Field(description="a registered network, or one of bench.measure.detector")
    options: Mapping[str, Any]
    task: Task
    classes: int = Field(ge=1)
    size: Size
    parameters: int | None = Field(ge=0)
    flops: float | None = Field(ge=0, description="multiply-adds, each counted once (fvcore), batch 1, every output")
    uncounted: Mapping[str, int] = Field(default_factory=dict, description="operators without a count, how often each")
    weights_bytes: int | None = Field(None, ge=0, description="parameters and buffers")
    peak_memory_bytes: int | None = Field(
        None, ge=0, description="weights, input and the largest sum of tensors alive at one time in a forward pass"
    )
    latency: Latency | None = None
    reason: str | None = None
    versions: Mapping[str, str]
    git_commit: str | None

    @property
    def size_text(self) -> str:
        return size_text(self.size)


def cost_models() -> list[str]:
    """What has a cost: every registered network but the floors, each DETR followed by its detector."""
    detectors = {whole: name for name, whole in DETECTORS.items()}
    names = [entry.name for entry in ENTRIES if entry.is_network and not entry.is_floor]
    return [found for name in names for found in (name, detectors.get(name)) if found]


def cost_label(model: str) -> str:
    """The name of a row; of a network that is registered no more, the one in its records."""
    try:
        label = find(DETECTORS.get(model, model)).label
    except UnknownNameError:
        return model
    return f"{label} (detector)" if model in DETECTORS else label


def options_of(model: str) -> dict[str, Any]:
    """Its default options, under which it is measured."""
    return full_options(DETECTORS.get(model, model), {})


def cost_path(results: Path, model: str, size: tuple[int, int]) -> Path:
    return results / FOLDER / f"{model}-{size_text(size)}.json"


def read_cost(path: Path) -> CostRecord:
    """Raises UserError where the file is damaged or holds another cost than its name says."""
    try:
        record = read(path, CostRecord)
    except UserError as error:  # its own next step is that of a run
        raise UserError(f"{str(error).partition(';')[0]}; {REPAIR}") from None
    if path != cost_path(path.parents[1], record.model, record.size):
        raise UserError(f"{path} holds the cost of {record.model} at {record.size_text}; {REPAIR}")
    return record


def read_costs(results: Path) -> list[CostRecord]:
    """Every cost record of the store, by file name. Raises UserError naming the first file that is damaged."""
    return [read_cost(path) for path in _files(results)]


def readable_costs(results: Path) -> tuple[list[CostRecord], list[str]]:
    """The records that show what the networks cost today, and in words why each of the others does not."""
    found, left_out = [], []
    for path in _files(results):
        try:
            record = read_cost(path)
        except UserError as error:
            left_out.append(str(error).replace(str(results), results.name))
            continue
        if is_current(record):
            found.append(record)
        else:
            left_out.append(f"{path.name} is of other default options than today's: {COMMAND}")
    return found, left_out


def _files(results: Path) -> list[Path]:
    return sorted((results / FOLDER).glob("*.json"))


def cost_of(records: Iterable[CostRecord], model: str, size: str | tuple[int, int]) -> CostRecord | None:
    """The record of a network at a size ('128x128' or (128, 128)); None where there is none."""
    text = size if isinstance(size, str) else size_text(size)
    return next((record for record in records if record.model == model and record.size_text == text), None)


def is_current(record: CostRecord) -> bool:
    """Whether the network's defaults are still those that were measured."""
    same = (record.task, record.classes) == (TASK, CLASSES)
    return same and record.model in cost_models() and dict(record.options) == options_of(record.model)

"""One attempt at a run: what it ran on, how long it took, where it went on from. Kept as attempts/<n>.json."""

from __future__ import annotations

import resource
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from bench.files import write_json
from bench.group import ALONE, Group
from bench.machine import git_commit, processor, versions
from bench.progress import Clock, Reporter
from bench.spec import RunSpec
from bench.train.checkpoints import Checkpoint, Maker

PACKAGES = ("torch", "torchvision", "transformers", "timm", "fvcore", "pycocotools", "numpy", "pillow")


@dataclass
class Attempt:
    """`facts`: what is recorded of it beside its times. `check` raises where another process has taken the run over."""

    number: int
    folder: Path
    report: Reporter
    device: str
    threads: int
    facts: dict[str, Any]
    check: Callable[[], None]
    group: Group = ALONE
    clock: Clock = field(default_factory=Clock)
    peak_before: float = 0.0  # of the attempts that it goes on from

    def write(self, content: dict[str, Any]) -> None:
        self.put(f"attempts/{self.number}.json", content)

    def put(self, name: str, content: dict[str, Any]) -> None:
        """Writes a file of the run's folder, where that is still ours."""
        self.check()
        write_json(self.folder / name, content)

    def record(self) -> dict[str, Any]:
        """All that is known at its end."""
        return self.facts | self.clock.reading() | {"end": now(), "peak_memory_mb": self.peak_memory_mb()}

    def so_far(self) -> dict[str, Any]:
        """What a checkpoint says of it."""
        return {"made_by": self._maker(), "seconds": self.clock.reading(), "peak_memory_mb": self.peak_memory_mb()}

    def goes_on_from(self, found: Checkpoint | None, damaged: Mapping[str, str]) -> None:
        """Takes over what a checkpoint counted, and says so. Its maker is recorded, and in what we differ from it:
        equal bits need an equal one.
        """
        if damaged:
            self.facts["checkpoints_set_aside"] = dict(damaged)
        place, differs = None, list[str]()
        if found is not None:
            place = self.report.stop.place = found.facts.place
            before, here = (maker.model_dump(mode="json") for maker in (found.facts.made_by, self._maker()))
            differs = [name for name in here if name != "attempt" and before[name] != here[name]]
            self.facts["resumed"] = {**place, "made_by": before} | ({"differs": differs} if differs else {})
            self.clock.go_on(found.facts.seconds)
            self.peak_before = found.facts.peak_memory_mb
        if place or damaged:
            self.write(self.facts)
            self.report.send({"kind": "resumed", "place": place, "damaged": dict(damaged), "differs": differs})

    def _maker(self) -> Maker:
        facts = self.facts
        torch_version, commit = facts["versions"]["torch"], facts["git_commit"]
        return Maker(
            attempt=self.number,
            torch=torch_version,
            device=facts["device"],
            threads=self.threads,
            processes=self.group.size,
            git_commit=commit,
        )

    def peak_memory_mb(self) -> float:
        """GPU: the allocator's peak. CPU: the process's largest resident size, libraries included. Of several processes
        that of the first.
        """
        if self.device.startswith("cuda"):
            here = torch.cuda.max_memory_allocated(self.device) / 2**20
        else:
            here = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return max(self.peak_before, round(here, 1))


def surroundings(spec: RunSpec, device: str, threads: int, number: int, processes: int = 1) -> dict[str, Any]:
    """What an attempt ran on: `threads` in each of `processes`. No host name, no user name, no path."""
    on_gpu = device.startswith("cuda")
    return {
        "schema_version": 1,
        "number": number,
        "device": torch.cuda.get_device_name(device) if on_gpu else "cpu",
        "processor": processor(),
        "threads": threads,
        "processes": processes,
        "training_precision": "bfloat16" if on_gpu and spec.precision == "mixed" else "float32",
        "versions": versions(*PACKAGES),
        "seed": spec.seed,
        "git_commit": git_commit(),
        "start": now(),
    }


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

"""Suites of networks that misbehave (misbehaving/), run by real commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

MISBEHAVING = Path(__file__).parent / "misbehaving"
SUITE = """
name: bad
title: networks that misbehave
task: panoptic
sizes: [32x32]
models: [{models}]
datasets: [scenes]
floors: false
"""
PROFILE = """
name: tiny
summary: for tests
label: tiny
reproduction: false
epochs: 1
max_batch: 4
train_images: 4
val_images: 2
"""


@dataclass
class BadSuite:
    """A folder with a suite of these networks; `results` and the prepared data lie in it where not said otherwise."""

    folder: Path
    models: tuple[str, ...]
    surroundings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "tiny.yaml").write_text(PROFILE)
        (self.folder / "bad.yaml").write_text(SUITE.format(models=", ".join(self.models)))

    def run(self, *more: str, misbehave: bool = True, preexec: Callable[[], None] | None = None) -> tuple[int, str]:
        """`bench run`: its exit code and all that it printed."""
        suite = ("--suite", "./bad.yaml", "--profile", "./tiny.yaml")
        return self.bench("run", *suite, *more, misbehave=misbehave, preexec=preexec)

    def bench(
        self, *arguments: str, misbehave: bool = True, preexec: Callable[[], None] | None = None
    ) -> tuple[int, str]:
        bad = {"PYTHONPATH": str(MISBEHAVING), "MISBEHAVE": "yes" if misbehave else "", **self.surroundings}
        done = subprocess.run(
            [sys.executable, "-m", "bench", *arguments],
            cwd=self.folder,
            env={**os.environ, **bad},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            preexec_fn=preexec,
        )
        return done.returncode, done.stdout + done.stderr

    def start(self) -> subprocess.Popen[str]:
        """`bench run` in a process group of its own, without waiting for it."""
        suite = ("--suite", "./bad.yaml", "--profile", "./tiny.yaml")
        bad = {"PYTHONPATH": str(MISBEHAVING), "MISBEHAVE": "yes", **self.surroundings}
        return subprocess.Popen(
            [sys.executable, "-m", "bench", "run", *suite],
            cwd=self.folder,
            env={**os.environ, **bad},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def attempt_count(self, model: str) -> int:
        return len(list((self.folder / "results").glob(f"{model}-scenes-*/attempts/*.json")))

    def attempts(self, model: str) -> list[dict[str, Any]]:
        (run,) = (self.folder / "results").glob(f"{model}-scenes-*")
        return [json.loads(path.read_text()) for path in sorted((run / "attempts").glob("*.json"))]

    def statuses(self) -> dict[str, dict[str, Any]]:
        """What status.json says, by network."""
        found = (json.loads(path.read_text()) for path in (self.folder / "results").glob("*/status.json"))
        return {status["run_id"].partition("-scenes")[0]: status for status in found}

    def states(self) -> dict[str, str]:
        return {model: status["state"] for model, status in self.statuses().items()}


@pytest.fixture(scope="session")
def bad_suites() -> type[BadSuite]:
    return BadSuite

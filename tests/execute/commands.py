"""Real `bench run` commands in a folder of their own, and the processes that they start."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SUITE = """
name: one
title: one small network
task: panoptic
sizes: [32x32]
models: [unet-small]
datasets: [scenes]
floors: false
"""
PROFILE = """
name: {name}
summary: for tests
label: {name}
reproduction: false
epochs: {epochs}
max_batch: 2
train_images: {images}
val_images: 4
"""
PATIENCE = 240  # seconds, on a machine that is busy with other things


def write_suite(folder: Path, name: str, epochs: int, images: int) -> None:
    (folder / "one.yaml").write_text(SUITE)
    (folder / f"{name}.yaml").write_text(PROFILE.format(name=name, epochs=epochs, images=images))


def start(folder: Path, profile: str, *more: str) -> subprocess.Popen[str]:
    """In a process group of its own, as a terminal's foreground job, on one processor and so with one thread."""
    command = [sys.executable, "-m", "bench", "run", "--suite", "./one.yaml", "--profile", f"./{profile}.yaml", *more]

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    return subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=prepare,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    text, _ = process.communicate(timeout=PATIENCE)
    return process.returncode, text


def wait_for(what: Callable[[], Any]) -> Any:
    """The first value that is true."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if found := what():
            return found
        time.sleep(0.02)
    raise AssertionError("it never came")


def children(pid: int) -> list[int]:
    """Process ids whose parent is `pid`, from /proc."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def training_process(main: int) -> int | None:
    """A run's process: a child of the fork server, itself a child of the main one."""
    return next((run for child in children(main) for run in children(child)), None)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def the_run(folder: Path) -> Path:
    (run,) = (folder / "results").glob("unet-small-*")
    return run


def attempt(folder: Path, number: int) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((the_run(folder) / "attempts" / f"{number}.json").read_text())
    return content


def saved_steps(folder: Path) -> list[int]:
    """The steps of the checkpoints that lie there, oldest first."""
    found = (folder / "results").glob("unet-small-*/checkpoint/step-*.safetensors")
    return sorted(int(path.name.split("-")[1]) for path in found)

"""The floor `majority`, which does something else in the midst of its fit while MISBEHAVE is set."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from models.floors import majority

Builder = Callable[..., Any]


def network(deed: Callable[[], None]) -> Builder:
    def build(*given: Any, **options: Any) -> Any:
        model = majority(*given, **options)
        fit = model.fit

        def misbehave(batch: Any) -> None:
            fit(batch)
            if os.environ.get("MISBEHAVE"):
                sys.stdout.write(f"about to {deed.__name__}\n")
                deed()

        model.fit = misbehave
        return model

    return build


def _behave() -> None:
    time.sleep(0.2)


def _fail() -> None:
    raise ValueError(f"no pupil in /srv/somebody/secret/images/7.png on {socket.gethostname()}")


def _exit() -> None:
    os._exit(3)


def _leave() -> None:
    os._exit(0)


def _segfault() -> None:
    ctypes.string_at(0)


def _take_memory() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (512 << 20), -1))
    taken = []
    while True:
        taken.append(torch.ones(32 << 20))  # 128 MiB


def _hang() -> None:
    library = ctypes.PyDLL(None)  # whose functions keep the interpreter locked
    while True:
        library.pause()


def _be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _fill_disk() -> None:
    """Of the folder TARGET, to the last byte."""
    with Path(os.environ["TARGET"], "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass


def _remove_folder() -> None:
    shutil.rmtree(os.environ["TARGET"])


def _log(name: str) -> Callable[[], None]:
    """Tells TARGET that this run is executed, slowly."""

    def log() -> None:
        with Path(os.environ["TARGET"]).open("a") as file:
            file.write(f"{name}\n")
        time.sleep(0.5)

    return log


first, second, third, fourth = (network(_log(name)) for name in ("first", "second", "third", "fourth"))
behave, fail, exit, leave, segfault, take_memory, hang, be_killed, fill_disk, remove_folder = map(
    network, (_behave, _fail, _exit, _leave, _segfault, _take_memory, _hang, _be_killed, _fill_disk, _remove_folder)
)

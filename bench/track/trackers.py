"""The trackers, behind accelerate's tracker classes. They import torch: only the tracker's process does so.

These classes write the numbers. Two things they cannot do are done beside them:
- The configuration. TensorBoard's `store_init_configuration` makes one more run at every start, named after the time;
  trackio's updates the run that was opened last, and several are open at a time.
- Going on from a checkpoint. What was tracked of later steps is dropped, for they are taken again.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from contextvars import Context
from pathlib import Path
from typing import Any, Protocol

from bench.track.choices import PROJECT
from bench.track.curve import Setting

HEADLINE = ("miou", "pq", "ap")  # columns of TensorBoard's table of runs
LAUNCHED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")


class Tracker(Protocol):
    """A run that is open: what is used of accelerate's GeneralTracker."""

    def log(self, values: dict[str, float], step: int | None) -> None: ...
    def finish(self) -> None: ...


def become_one_process() -> None:
    """accelerate's classes want to know which process this is; a launcher's variables would have it wait for others."""
    from accelerate import PartialState

    for name in LAUNCHED:
        os.environ.pop(name, None)
    PartialState(cpu=True)


def open_tensorboard(run_id: str, settings: Mapping[str, Setting], folder: Path, after: int) -> Tracker:
    """One more event file in folder/<run id>. It begins by telling readers to drop what others have beyond `after`."""
    from accelerate.tracking import TensorBoardTracker
    from torch.utils.tensorboard.summary import hparams

    tracker = TensorBoardTracker(run_id, folder, purge_step=after + 1)
    tracker.start()
    experiment, start, _ = hparams(dict(settings), {f"scores/{name}": 0.0 for name in HEADLINE})
    for summary in (experiment, start):
        tracker.tracker.file_writer.add_summary(summary)
    opened: Tracker = tracker
    return opened


def open_trackio(run_id: str, settings: Mapping[str, Setting], folder: Path, after: int) -> Tracker:
    """The run in folder/<project>.db, new or gone on with; its rows beyond step `after` are removed."""
    os.environ["TRACKIO_DIR"] = str(folder)  # read when trackio is imported
    from accelerate.tracking import TrackioTracker

    database = folder / f"{PROJECT}.db"
    if database.exists():
        with closing(sqlite3.connect(database, timeout=60)) as opened, opened:
            opened.execute("DELETE FROM metrics WHERE run_name = ? AND step > ?", (run_id, after))
    here: dict[str, Any] = {"embed": False, "auto_log_gpu": False, "auto_log_cpu": False}
    tracker = TrackioTracker(PROJECT, name=run_id, config=dict(settings), resume="allow", **here)
    Context().run(tracker.start)  # a context of its own: in one, a run that starts ends the one before
    started: Tracker = tracker
    return started


OPEN: dict[str, Callable[[str, Mapping[str, Setting], Path, int], Tracker]] = {
    "tensorboard": open_tensorboard,
    "trackio": open_trackio,
}

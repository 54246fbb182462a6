"""Messages as a run sends them, and what the trackers' own files hold."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from bench.track.choices import PROJECT

Curves = dict[str, list[tuple[int, float]]]  # (step, number) by name, in the order of the steps


def step(number: int, loss: float, epoch_steps: int = 2) -> dict[str, Any]:
    """Of an epoch's line the loss is ten times that of its last step: nobody can take one for the other."""
    ends = number % epoch_steps == 0
    line = {"epoch": number // epoch_steps, "step": number, "loss": 10 * loss, "terms": {"ce": 10 * loss}}
    return {
        "kind": "step",
        "step": number,
        "loss": loss,
        "terms": {"ce": loss},
        "rate": 0.5,
        "images_per_s": 3.0,
        "epoch_end": ends,
        **({"line": json.dumps(line)} if ends else {}),
    }


def curves_of_tensorboard(folder: Path, run_id: str) -> Curves:
    """By TensorBoard's own reader."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / run_id), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(point.step, point.value) for point in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def settings_of_tensorboard(folder: Path, run_id: str) -> Mapping[str, Any]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    events = EventAccumulator(str(folder / run_id))
    events.Reload()
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    values = HParamsPluginData.FromString(content).session_start_info.hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in values.items()}


def curves_of_trackio(folder: Path, run_id: str) -> Curves:
    rows = _rows(folder, "SELECT step, metrics FROM metrics WHERE run_name = ? ORDER BY step, id", run_id)
    found: Curves = {}
    for number, values in rows:
        for name, value in json.loads(values).items():
            found.setdefault(name, []).append((number, value))
    return found


def settings_of_trackio(folder: Path, run_id: str) -> Mapping[str, Any]:
    ((content,),) = _rows(folder, "SELECT config FROM configs WHERE run_name = ?", run_id)
    return {name: value for name, value in json.loads(content).items() if not name.startswith("_")}


def _rows(folder: Path, query: str, run_id: str) -> list[Any]:
    with closing(sqlite3.connect(folder / f"{PROJECT}.db")) as database:
        return database.execute(query, (run_id,)).fetchall()


CURVES = {"tensorboard": curves_of_tensorboard, "trackio": curves_of_trackio}
SETTINGS = {"tensorboard": settings_of_tensorboard, "trackio": settings_of_trackio}

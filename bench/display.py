"""What `bench run` shows: a table that grows row by row, and the progress; plain lines where no terminal is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bench.cell import Cell
from bench.record import Network, Scores, Status
from bench.spec import size_text
from bench.store import Store
from models.registry import REGISTRY

HEADER = ("model", "dataset", "seed", "mIoU %", "PQ %", "AP %", "GFLOPs", "M params", "time")
PLAIN_EVERY = 10.0  # seconds between two progress lines of a run, outside a terminal


def duration(seconds: float) -> str:
    """12 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def place_text(place: Mapping[str, int]) -> str:
    """Of a checkpoint."""
    return f"step {place['step']} of {place['steps']}, epoch {place['epoch']} of {place['epochs']}"


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def score_row(cell: Cell, scores: Scores, network: Network | None, seconds: float | None, untrained: bool) -> list[str]:
    """One row of the live table."""
    spec = cell.spec
    label = REGISTRY[spec.model].label + (", untrained" if untrained else "")
    label += f", rate {spec.recipe.lr:g}" if spec.budget.held_out else ""
    costs = ["", ""]
    if network is not None and not untrained:
        costs = [
            "-" if network.flops is None else f"{network.flops / 1e9:.2f}",
            f"{network.parameters_total / 1e6:.2f}" if network.parameters_total else "-",
        ]
    took = duration(seconds) if seconds is not None and not untrained else ""
    numbers = [percent(scores.miou), percent(scores.pq), percent(scores.ap)]
    return [label, f"{spec.dataset} {size_text(spec.size)}", str(spec.seed), *numbers, *costs, took]


class Display:
    """Hears the events of runs. A context manager, so that the terminal is left clean."""

    def __init__(self, console: Console, total: int, store: Store) -> None:
        self.console, self.store, self.total = console, store, total
        self.rows: list[list[str]] = []
        self.progress: dict[str, str] = {}
        self.said: dict[str, float] = {}
        self.failures: list[str] = []
        self.elsewhere: list[str] = []
        self.stopped: list[str] = []
        self.ended = 0
        self.live: Live | None = None
        if console.is_terminal and not console.is_dumb_terminal:
            self.live = Live(console=console, get_renderable=self._render, refresh_per_second=4)

    def __enter__(self) -> Display:
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self.live:
            self.progress.clear()
            self.live.stop()

    def done_before(self, cell: Cell) -> None:
        """A run that an earlier call finished: its rows of the table, and nothing said."""
        self.rows.extend(self._rows_of(cell))

    def event(self, cell: Cell, message: dict[str, Any]) -> None:
        kind = message["kind"]
        if kind == "end":
            self._end(cell, message["status"], message["stopped"])
        elif kind == "resumed":
            self._resumed(cell, message)
        elif kind == "stopping":
            self._say("stopping: each run saves after the step in hand; Ctrl-C again leaves at once")
        elif kind == "lost":
            again = f"given again, {message['times']} of {message['of']} times"
            self._say(f"{cell.spec.run_id}: its worker got lost ({message['why']}); {again}")
        elif kind == "stopped":
            self._stopped(cell, message["place"])
        elif kind in ("phase", "step", "images"):
            self._progress(cell, _progress_text(message), message)

    def table(self) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for number, name in enumerate(HEADER):
            table.add_column(name, justify="left" if number < 2 else "right", no_wrap=number > 1)
        for row in self.rows:
            table.add_row(*row, style="dim" if row[0].endswith("untrained") else None)
        return table

    def _render(self) -> Group:
        lines = [Text(f"{run}: {text}") for run, text in list(self.progress.items())]
        left = f"{self.ended} of {self.total} runs ended"
        return Group(self.table(), *lines, Text(left, style="dim"))

    def _progress(self, cell: Cell, text: str, message: dict[str, Any]) -> None:
        name = cell.spec.slug
        self.progress[name] = text
        if self.live:
            return
        due = time.monotonic() - self.said.get(name, 0.0) > PLAIN_EVERY
        if due or message["kind"] == "phase" or message.get("epoch_end"):
            self.said[name] = time.monotonic()
            self.console.print(f"  {name}: {text}")

    def _resumed(self, cell: Cell, message: dict[str, Any]) -> None:
        for name, why in message["damaged"].items():
            self._say(f"{cell.spec.run_id}: checkpoint {name} is damaged ({why}); set aside")
        place = message["place"]
        self._say(f"{cell.spec.run_id}: " + (f"goes on from {place_text(place)}" if place else "starts anew"))
        if message["differs"]:
            self._say(f"{cell.spec.run_id}: made with another {', '.join(message['differs'])}: equal bits not promised")

    def _stopped(self, cell: Cell, place: Mapping[str, int] | None) -> None:
        where = f"saved at {place_text(place)}" if place else "nothing to save yet"
        self._say(f"{cell.spec.run_id}: stopped, {where}")

    def _end(self, cell: Cell, status: Status | None, stopped: bool) -> None:
        self.ended += 1
        self.progress.pop(cell.spec.slug, None)
        if status is None and stopped:
            self.stopped.append(cell.spec.run_id)
        elif status is None:
            self.elsewhere.append(cell.spec.run_id)
            self._say(f"{cell.spec.run_id}: another `bench run` has it in hand; left to it")
        elif status.state == "done":
            self._add_rows(cell)
        else:
            self.failures.append(cell.spec.run_id)
            where = self.store.folder(cell.spec.run_id) / "attempts" / f"{status.attempt}.json"
            self._say(f"{cell.spec.run_id} {status.state}: {status.reason} (see {where})")

    def _say(self, text: str) -> None:
        self.console.print(text)

    def _rows_of(self, cell: Cell) -> list[list[str]]:
        record = self.store.record(cell.spec.run_id)
        assert record.metrics is not None
        seconds = record.attempt.get("seconds_total")
        rows = [score_row(cell, record.metrics.final, record.network, seconds, False)]
        if record.metrics.untrained is not None:
            rows.insert(0, score_row(cell, record.metrics.untrained, record.network, seconds, True))
        return rows

    def _add_rows(self, cell: Cell) -> None:
        rows = self._rows_of(cell)
        self.rows.extend(rows)
        if not self.live:
            for row in rows:
                filled = zip(HEADER[3:], row[3:], strict=True)
                numbers = "  ".join(f"{name} {value}" for name, value in filled if value)
                self._say(f"{row[0]} on {row[1]}, seed {row[2]}: {numbers}")


def _progress_text(message: dict[str, Any]) -> str:
    if message["kind"] == "step":
        return (
            f"train: epoch {message['epoch']}/{message['epochs']}, step {message['step']}/{message['steps']}, "
            f"loss {message['loss']:.3f}, {message['images_per_s']:.1f} images/s, {duration(message['left_s'])} left"
        )
    if message["kind"] == "images":
        return f"{message['phase'].replace('_', ' ')}: image {message['done']}/{message['of']}"
    return str(message["phase"]).replace("_", " ")

"""One run of a plan: its spec, where its data lie, and what the store has of it. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.data.catalog import DataRoots
from bench.estimate.past import Past, kind, pasts
from bench.record import Damaged, Record, Status
from bench.spec import RunSpec
from bench.store import Store
from bench.train.checkpoints import last_place
from models.registry import find as find_model


@dataclass(frozen=True)
class Cell:
    """One run of a plan. An oracle has no `train`. `weights`: files named by a digest in the spec, by option.
    `past`: what finished runs of its kind tell. `place`: of the last checkpoint of a run that did not end. `damaged`:
    why the record of a run that ended cannot be read.
    """

    spec: RunSpec
    status: Status | None
    train: Path | None = None  # prepared folders; None before the data is prepared
    val: Path | None = None
    others: tuple[Path, ...] = ()  # of the spec's also_at
    weights: Mapping[str, str] = field(default_factory=dict)
    past: Past = field(default_factory=Past)
    roots: DataRoots | None = None  # of an oracle, which reads the dataset's own files
    place: dict[str, int] | None = None
    damaged: str | None = None

    @property
    def seconds(self) -> float | None:
        """By past runs, where these ran on the same hardware."""
        return self.past.seconds

    @property
    def state(self) -> str:
        """done, failed, diverged, damaged, started, missing, or pending where the data is not prepared yet."""
        if self.damaged is not None:
            return "damaged"
        if self.status is not None:
            return self.status.state
        if self.place is not None:
            return "started"
        return "pending" if self.spec.is_pending else "missing"

    @property
    def is_left(self) -> bool:
        """Whether `bench run` takes it in hand. A run that diverged did end: it would diverge again, so it is redone
        only when asked for. So is one that is damaged, of which something may be left to save, or which a newer program
        wrote.
        """
        return self.state in ("pending", "started", "missing", "failed")


def looked_up(cell: Cell, store: Store) -> Cell:
    """The cell with what the store has of its run."""
    run_id = cell.spec.run_id
    found = store.look(run_id)
    record = found if isinstance(found, Record) else None
    return replace(
        cell,
        status=record.status if record else None,
        damaged=found.reason if isinstance(found, Damaged) else None,
        place=last_place(store.folder(run_id) / "checkpoint") if found is None else None,
        past=Past.of(record) if record else Past(),
    )


def with_times(cells: Sequence[Cell], store: Store) -> list[Cell]:
    """Each run with what finished runs tell that differ in nothing but the seed, where there are any."""
    planned = [(cell.spec, cell.past) for cell in cells]
    found = pasts(planned, [cell.spec for cell in cells if cell.state != "done"], store)
    return [replace(cell, past=found[kind(cell.spec)]) for cell in cells]


def trains_by_steps(spec: RunSpec) -> bool:
    """Whether its run has a training of steps, which several processes can share; a floor and an oracle have none."""
    entry = find_model(spec.model)
    return entry.is_network and not entry.is_floor

"""Every run a task of a Ray cluster, which Ray places: the driver gives runs, hears them, and sees to those that got
lost. Imports no torch.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.exceptions import NodeDiedError, RayError, RayTaskError, TaskUnschedulableError

from bench.cell import Cell
from bench.data.catalog import DataRoots
from bench.execute.cluster import connection, node, transfer
from bench.execute.cluster.connection import Resources
from bench.execute.cluster.mailbox import Mailbox
from bench.execute.cluster.node_data import absolute, absolute_roots
from bench.execute.cluster.probe import Probe, probing
from bench.execute.cluster.same_code import code_here
from bench.execute.cluster.transfer import DamagedError, RemoteRecord
from bench.execute.ending import settle
from bench.execute.executor import Event
from bench.execute.local import LEAVING, Machine, networks_of
from bench.execute.signals import passed_on
from bench.lock import BEAT, EXPIRY
from bench.record import Status
from bench.stop import Stop
from bench.store import Store

LOOK = 0.3  # seconds between two looks at the mailbox
AGAIN = 3  # times that a run is given again whose worker got lost


@dataclass(frozen=True)
class Cluster:
    """`machine`: what a run is for the node that executes it; `roots`: where the driver has its datasets."""

    resources: Resources
    machine: Machine
    roots: DataRoots


@dataclass
class _Run:
    """`lost`: how often its worker got lost; `held`: since when, as seen, another process has it in hand; `due`: it is
    not given before; `attempt`: the number that it said.
    """

    cell: Cell
    begun: bool = False
    lost: int = 0
    held: float | None = None
    due: float = 0.0
    attempt: int | None = None


def check_nodes() -> None:
    """Raises UserError for the first node that has other code than this process."""
    ask = ray.remote(num_cpus=0, max_retries=0)(node.look)
    asked = [ask.options(scheduling_strategy=connection.on(one)).remote(code_here()) for one in connection.nodes()]
    for answer in asked:
        with connection.errors_told(), suppress(NodeDiedError, TaskUnschedulableError):
            ray.get(answer)


def execute_all(cells: Sequence[Cell], store: Store, cluster: Cluster, on_event: Event, fail_fast: bool) -> Stop:
    """Executes every cell, as an Executor does. Ends Ray where it was started here."""
    if not cells:
        return Stop()
    try:
        with passed_on([]) as stop, probing(store.root) as probe, connection.errors_told():
            driver = _Driver(cells, store, cluster, on_event, fail_fast, probe, stop)
            try:
                driver.work()
            except Exception:
                driver.leave()
                raise
            return stop
    finally:
        connection.disconnect()


class _Driver:
    """The runs that wait, and those that are given: by the reference of the task's result. `asked`: whether all are to
    stop.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        store: Store,
        cluster: Cluster,
        on_event: Event,
        fail_fast: bool,
        probe: Probe,
        asked: Stop,
    ) -> None:
        self.store, self.cluster, self.on_event, self.fail_fast = store, cluster, on_event, fail_fast
        self.probe, self.asked = probe, asked
        self.runs = {cell.spec.run_id: _Run(cell) for cell in cells}
        self.waiting = list(self.runs.values())
        self.given: dict[Any, _Run] = {}
        self.closed = False
        self.places = 1  # for runs, when it was looked last
        self.mailbox = ray.remote(num_cpus=0)(Mailbox).options(scheduling_strategy=connection.here()).remote()
        preload = ("bench.execute.cluster.own_group", *networks_of(cells))
        self.machine = replace(cluster.machine, preload=preload)
        kind = ray.remote(num_cpus=cluster.resources.cpus, num_gpus=cluster.resources.gpus, max_retries=0)
        self.execute = kind(node.execute).options(scheduling_strategy="SPREAD")

    def work(self) -> None:
        """Until all have ended; after a signal, until those that run have left."""
        said = False
        while self.waiting or self.given:
            if self.asked.by is not None and not said:
                said = True
                self.stop()
            self.give()
            self.hear()

    def give(self) -> None:
        """Twice what there is room for: a node that gets free has its next run at once, and where a cluster grows with
        what is asked of it, it sees that more is.
        """
        before, self.places = self.places, connection.room(self.cluster.resources)
        if before and not self.places:
            run = next(iter([*self.given.values(), *self.waiting]))
            self.on_event(run.cell, {"kind": "phase", "phase": "waiting: no node is left that has room for a run"})
        room = 2 * max(1, self.places) - len(self.given)
        due = [run for run in self.waiting if run.due <= time.monotonic()]
        for run in due[: max(0, room)]:
            self.waiting.remove(run)
            run.begun = False
            request = node.Request(
                cell=absolute(run.cell),
                probe=self.probe,
                machine=self.machine,
                roots=absolute_roots(self.cluster.roots),
                code=code_here(),
                attempts=transfer.attempts_of(self.store.folder(run.cell.spec.run_id)),
            )
            self.given[self.execute.remote(request, self.mailbox)] = run

    def hear(self) -> None:
        """Passes on what the runs say, and ends those whose task has."""
        ended = []
        if self.given:
            ended, _ = ray.wait(list(self.given), timeout=LOOK)
        else:
            time.sleep(LOOK)
        for run_id, message in ray.get(self.mailbox.take.remote()):
            self._said(self.runs[run_id], message)
        for task in ended:
            self._ended(task, self.given.pop(task))

    def stop(self) -> None:
        """Nothing starts any more, and what runs is to save and leave."""
        self.close()
        ray.get(self.mailbox.stop.remote())
        for run in list(self.given.values())[:1]:
            self.on_event(run.cell, {"kind": "stopping"})

    def close(self) -> None:
        """Nothing starts any more; takes back what has not begun."""
        self.closed = True
        self.waiting.clear()
        ray.get(self.mailbox.close.remote())
        for run_id, message in ray.get(self.mailbox.take.remote()):
            self._said(self.runs[run_id], message)
        for task, run in list(self.given.items()):
            if not run.begun:
                ray.cancel(task)
                del self.given[task]

    def leave(self) -> None:
        """After an error: as a stop, and nobody is told."""
        self.on_event = lambda _cell, _message: None
        with suppress(RayError):
            self.stop()
            if self.given:
                ray.wait(list(self.given), num_returns=len(self.given), timeout=LEAVING)

    def _ends(self) -> bool:
        return self.closed or self.asked.by is not None

    def _said(self, run: _Run, message: dict[str, Any]) -> None:
        if message["kind"] == "begin":
            run.begun = True
            self.on_event(run.cell, {"kind": "phase", "phase": f"starting on {message['where']}"})
            return
        if message["kind"] == "attempt":
            run.attempt, run.held = message["number"], None
        self.on_event(run.cell, message)

    def _ended(self, task: Any, run: _Run) -> None:
        try:
            outcome: node.Outcome = ray.get(task)
            status = self._fetched(run, outcome.record) if outcome.record else outcome.status
        except RayTaskError:
            raise
        except (RayError, DamagedError) as error:
            self._lost(run, _reason(error))
            return
        if outcome.stopped:  # where nobody has asked for it here, its node is being shut down
            self._lost(run, "a stop of its node")
        elif outcome.begun and status is None:
            self._held(run)
        elif outcome.begun:
            self._end(run, status)

    def _fetched(self, run: _Run, record: RemoteRecord) -> Status | None:
        """The status that the run has in the store, with its record from a node that does not share the folder."""
        there = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": connection.on(record.node)}
        piece = ray.remote(**there)(transfer.piece)

        def read(name: str, offset: int) -> bytes:
            try:
                content: bytes = ray.get(piece.remote(record.folder, name, offset))
            except RayTaskError as error:
                raise DamagedError(f"{name} cannot be read there: {type(error.cause).__name__}") from error
            return content

        status = transfer.put(record, run.cell.spec, self.store, read)
        if status is not None and status.state == "done":
            with suppress(RayError):  # with the node its copy is gone, too
                ray.get(ray.remote(**there)(transfer.discard).remote(record.folder))
        return status

    def _lost(self, run: _Run, why: str) -> None:
        """Gives a run again whose worker or node got lost; it goes on from its last checkpoint. Not after a stop."""
        run.lost += 1
        if self._ends():
            self._end(run, None, stopped=True)
        elif run.lost <= AGAIN:
            self.on_event(run.cell, {"kind": "lost", "why": why, "times": run.lost, "of": AGAIN})
            self.waiting.append(run)
        else:
            cause = f"its worker got lost {run.lost} times, the last time by {why}"
            status = settle(run.cell.spec, self.store, None, run.attempt, (), cause)
            self._end(run, status) if status is not None else self._held(run)

    def _held(self, run: _Run) -> None:
        """Another process has the run in hand. That of a driver or node that was lost is about to save and leave, so it
        is asked for again until a lease without a beat would have run out.
        """
        now = time.monotonic()
        run.held = run.held or now
        if now - run.held > EXPIRY + BEAT or self._ends():
            self._end(run, None)
        else:
            run.due = now + BEAT
            self.waiting.append(run)

    def _end(self, run: _Run, status: Status | None, stopped: bool = False) -> None:
        self.on_event(run.cell, {"kind": "end", "status": status, "stopped": stopped})
        if self.fail_fast and status is not None and status.state != "done":
            self.close()


def _reason(error: Exception) -> str:
    """In a few words."""
    if isinstance(error, DamagedError):
        return f"a damaged record ({error})"
    words = " ".join(type(error).__name__.removesuffix("Error").split())
    return {"WorkerCrashed": "a crash of the worker", "NodeDied": "the loss of its node"}.get(words, words)

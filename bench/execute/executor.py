"""What executes the runs of a plan: the processes of this machine, or an engine that spreads them over others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.cell import Cell
from bench.stop import Stop
from bench.store import Store

Event = Callable[[Cell, dict[str, Any]], None]
Execute = Callable[[Sequence[Cell], Store, Event, bool], Stop]


@dataclass(frozen=True)
class Executor:
    """`execute(cells, store, on_event, fail_fast)`: every cell; `on_event` hears its progress and, last, {'kind':
    'end', 'status': Status | None, ...}. With `fail_fast` nothing new starts after a failure. After a signal nothing
    new starts either, the running ones save and leave, and what is returned names it.

    `at_once`: how many runs there are at a time, at most; `processes`: of each of them.
    """

    execute: Execute
    at_once: int
    processes: int = 1

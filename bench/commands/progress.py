"""How far a long command is: a bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

PLAIN_EVERY = 30.0  # seconds between two lines outside a terminal

Advance = Callable[[str, int, int], None]  # what is being done, how much of it, of how much


@contextmanager
def advancing(console: Console, amount: Callable[[float], str] = "{:.0f}".format) -> Iterator[Advance]:
    """Shows what `Advance` is told; `amount` puts a count into words. The terminal is left clean."""
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"), TimeRemainingColumn()
    said = time.monotonic()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def advance(what: str, done: int, of: int) -> None:
            nonlocal said
            text = f"{amount(done)} of {amount(of)}"
            if not console.is_terminal:
                if time.monotonic() - said > PLAIN_EVERY:
                    said = time.monotonic()
                    console.print(f"{what}: {text}")
                return
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=of, text=text)
            bars.update(tasks[what], completed=done, total=of, text=text, visible=done < of)

        yield advance

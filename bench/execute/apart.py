"""One function call in a process of its own, forked from a server that has torch imported; its memory has a limit."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any


class ApartError(Exception):
    """The process ended without an answer; the message says how."""


def call_apart(function: Callable[..., Any], *arguments: Any, memory: int, preload: Sequence[str] = ()) -> Any:
    """function(*arguments), which must be importable and give something that can be pickled. `memory`: bytes that the
    process may have as data; beyond them an allocation fails. Raises ApartError where the call raises or dies.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))  # read when the server starts, at the first call
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(theirs, function, arguments, memory))
    process.start()
    theirs.close()  # so that the end of the process is the end of the pipe
    try:
        answered, value = mine.recv()
    except EOFError:
        process.join()
        raise ApartError(f"its process ended with exit code {process.exitcode}") from None
    finally:
        process.terminate()
        process.join()
    if not answered:
        raise ApartError(value)
    return value


def _answer(connection: Connection, function: Callable[..., Any], arguments: Sequence[Any], memory: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends the call
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    try:
        answer = True, function(*arguments)
    except Exception as error:
        answer = False, f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    try:
        connection.send(answer)
    except BrokenPipeError:  # the parent is gone
        os._exit(1)

"""What the process of a run prints, crashes included. The parent keeps it: neither a full disk nor a crash loses any.

The end of it goes into the record of a run that failed.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from multiprocessing.connection import Connection

from bench.failure import scrub

KEPT = 1 << 18  # bytes of output kept of a run, the last ones
TAIL = 80  # lines of it in the record: the stack of a network has some fifty
WIDTH = 300  # characters of a line in the record: a crash lists all extension modules in one
SHOW = signal.SIGUSR1  # asks a process where it is


class Log:
    """The reading end of a process's output, for `multiprocessing.connection.wait`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.content = b""
        os.set_blocking(connection.fileno(), False)

    def read(self) -> bool:
        """Takes what is there, without waiting for more; False at the end of the output."""
        try:
            while piece := os.read(self.connection.fileno(), 1 << 16):
                self.content = (self.content + piece)[-KEPT:]
        except BlockingIOError:
            return True
        return False

    def tail(self) -> list[str]:
        """The last lines, without names of this machine."""
        lines = [line.rstrip()[:WIDTH] for line in scrub(self.content.decode(errors="replace")).splitlines()]
        return [line for line in lines if line][-TAIL:]


def print_into(connection: Connection) -> None:
    """From here on this process prints into the connection. A crash of the interpreter and SHOW print the stack."""
    os.dup2(connection.fileno(), 1)
    os.dup2(connection.fileno(), 2)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    faulthandler.enable()
    faulthandler.register(SHOW, all_threads=True)

"""The other processes of a run on this machine: forked from its first, which has torch imported, and never left behind.

Imports no torch by itself.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

from bench.execute.signals import SIGNALS
from bench.failure import reason_of

if TYPE_CHECKING:
    from bench.group import Group

SOON = 3.0  # seconds in which a process whose connection broke has ended, and can say why
GRACE = 20.0  # seconds that the first process has for noticing by itself that another has ended
LOOK = 1.0  # seconds between two looks whether the run has been left
END_WITH_PARENT = 1  # prctl's PR_SET_PDEATHSIG
LOST_PEER = ("closed by peer", "reset by peer", "Broken pipe", "NCCL", "Connection refused")  # in torch's words


class Follower:
    """A process that follows. It says why it fails, where it can."""

    def __init__(self, rank: int, size: int, rendezvous: str, device: str) -> None:
        context = get_context("fork")
        self.name = f"process {rank} of {size}"
        self._last_words: str | None = None
        self._said, says = context.Pipe(duplex=False)
        place = (rank, size, rendezvous, device)
        self.process = context.Process(target=_follow, args=(says, os.getpid(), *place), name=self.name)
        self.process.start()
        says.close()

    def why_ended(self) -> str | None:
        """None while it lives."""
        code = self.process.exitcode
        if code is None:
            return None
        with suppress(EOFError, OSError):
            if self._said.poll():
                self._last_words = self._said.recv()
        if self._last_words is not None:
            return f"{self.name}: {self._last_words}"
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"{self.name} {how}"

    def end(self) -> None:
        """It has nothing to save."""
        self.process.kill()
        self.process.join()


@contextmanager
def forked_group(processes: int, device: str) -> Iterator[Group]:
    """The group of a run whose first process this is; the others are there while the block runs. device: 'cpu', or
    'cuda:0' for one GPU each.

    Where one of them ends, what the run does next fails. Where it hangs instead, this process ends with the reason as
    its last words.
    """
    from bench.group import ALONE, Group

    if processes == 1:
        yield ALONE
        return
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"  # they are all on this machine
    kind = device.partition(":")[0]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        rendezvous = f"file://{folder}/rendezvous"
        others = [Follower(rank, processes, rendezvous, kind) for rank in range(1, processes)]
        left = threading.Event()
        threading.Thread(target=_watch, args=(others, left), name="followers", daemon=True).start()
        group = Group(0, processes, lambda error: _why_failed(others, error))
        try:
            group.join(rendezvous, kind, local_rank=0)
            yield group
            left.set()
            group.leave()
        finally:
            left.set()
            for follower in others:
                follower.end()


def _why_failed(others: Sequence[Follower], error: BaseException) -> str | None:
    """Why one of them has ended, where the error may come from that; rather of one that did not just lose another."""
    until = time.monotonic() + (SOON if is_lost_peer(error) else 0)
    while True:
        found = [why for follower in others if (why := follower.why_ended())]
        first = [why for why in found if not any(sign in why for sign in LOST_PEER)]
        if first or time.monotonic() > until:
            return next(iter(first + found), None)
        time.sleep(0.05)


def is_lost_peer(error: BaseException) -> bool:
    return any(sign in str(error) for sign in LOST_PEER)


def _watch(others: Sequence[Follower], left: threading.Event) -> None:
    sentinels = [follower.process.sentinel for follower in others]
    while not left.is_set():
        if wait(sentinels, LOOK) and not left.wait(GRACE):
            found = (why for follower in others if (why := follower.why_ended()))
            why = next(found, "another process of the run ended")
            print(why, file=sys.stderr, flush=True)  # noqa: T201
            os._exit(1)


def _follow(says: Any, first: int, rank: int, size: int, rendezvous: str, device: str) -> None:
    """What a follower does. `first`: the process that it follows, and never outlives."""
    ctypes.CDLL(None).prctl(END_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != first:  # it has ended before
        os._exit(1)
    for number in SIGNALS:  # the first process hears them, and leads
        signal.signal(number, signal.SIG_IGN)
    from bench.follow import follow
    from bench.group import Group

    group = Group(rank, size)
    try:
        group.join(rendezvous, device, local_rank=rank)
        follow(group)
        group.leave()
    except Exception as error:
        says.send(reason_of(error))
        raise

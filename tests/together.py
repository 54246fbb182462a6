"""Several real processes that work together, forked from a server that has torch imported."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

PRELOAD = ["bench.run", "bench.follow", "accelerate", "models.unet", "models.maskattn_unet", "models.detr"]


def together(processes: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """function(group, *arguments) in each of them; what they return, by rank. Both must be importable and picklable."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOAD, "models.mask2former"])
    with tempfile.TemporaryDirectory() as folder:
        pipes, members = [], []
        for rank in range(processes):
            mine, theirs = context.Pipe(duplex=False)
            place = (theirs, rank, processes, f"file://{folder}/meeting")
            members.append(context.Process(target=_work, args=(*place, function, arguments)))
            members[-1].start()
            theirs.close()
            pipes.append(mine)
        try:
            answers = [pipe.recv() for pipe in pipes]
        finally:
            for member in members:
                member.kill()
                member.join()
    for good, answer in answers:
        assert good, answer
    return [answer for _, answer in answers]


def _work(says: Connection, rank: int, size: int, meeting: str, function: Callable[..., Any], arguments: Any) -> None:
    import torch

    from bench.group import ALONE, Group

    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    try:
        group = ALONE
        if size > 1:
            group = Group(rank, size)
            group.join(meeting, "cpu", rank)
        says.send((True, function(group, *arguments)))
    except BaseException:
        says.send((False, f"process {rank}: {traceback.format_exc()}"))

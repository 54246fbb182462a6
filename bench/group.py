"""The processes that execute a run together: the first leads, the others follow. A run of one process has `ALONE`.

What the first tells goes over connections of its own, apart from those of the gradients: who follows may wait there
for as long as the first evaluates, counts or writes.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

PATIENCE = timedelta(days=1)  # a process that died is noticed at once; one that hangs, by who looks after the run
ENVIRONMENT = "env://"  # what torchrun and accelerate launch say where the processes meet


class Group:
    """`rank`: this process's number, 0 leads; `size`: how many there are. `why_failed`: of an error here, the end of
    another process that it comes from. `broken`: the others were left in the midst of something, so nothing can be told
    any more.
    """

    def __init__(
        self, rank: int, size: int, why_failed: Callable[[BaseException], str | None] = lambda error: None
    ) -> None:
        self.rank, self.size, self.why_failed = rank, size, why_failed
        self.local_rank = rank  # among the processes of this machine
        self.broken = False
        self._channel: Any = None

    def join(self, rendezvous: str, device: str, local_rank: int) -> None:
        """Waits for the others. rendezvous: a URL as torch.distributed takes it; device: 'cpu', or 'cuda' for the GPU
        of `local_rank`.
        """
        from accelerate import PartialState

        self.local_rank = local_rank
        os.environ |= {"RANK": str(self.rank), "WORLD_SIZE": str(self.size), "LOCAL_RANK": str(local_rank)}
        os.environ.setdefault("LOCAL_WORLD_SIZE", str(self.size))  # accelerate asks; a launcher has said it
        backend = "gloo" if device == "cpu" else "nccl"
        if device != "cpu":
            torch.cuda.set_device(local_rank)
        place: Any = {"init_method": rendezvous, "rank": self.rank, "world_size": self.size, "timeout": PATIENCE}
        dist.init_process_group(backend, **place)
        PartialState(cpu=device == "cpu")
        self._channel = dist.new_group(backend="gloo", timeout=PATIENCE)

    def device(self, name: str) -> str:
        """This process's, where the first has the one of this name."""
        return name if self.size == 1 or name == "cpu" else f"cuda:{self.local_rank}"

    def leave(self) -> None:
        """The end, for all; of those that follow when they have been told."""
        if self.size > 1 and not self.broken:
            if self.rank == 0:
                self.tell()
            dist.destroy_process_group()

    def tell(self, word: Any = None) -> Any:
        """What the first process says, in every process."""
        if self.size == 1:
            return word
        said = [word]
        try:
            dist.broadcast_object_list(said, src=0, group=self._channel)
        except RuntimeError:  # another process has ended
            self.broken = True
            raise
        return said[0]

    @contextmanager
    def leads(self, task: Any, *agreed: type[Exception]) -> Iterator[None]:
        """The first process begins a task, of which each part is told by `tell(True)`, and says where it ends: also
        by an error of those agreed upon, which leave the others waiting for the next part.
        """
        self.tell(task)
        try:
            yield
        except agreed:
            self.tell(False)
            raise
        except BaseException:
            self.broken = self.size > 1
            raise
        self.tell(False)

    @contextmanager
    def follows(self, job: Any) -> Iterator[None]:
        """The others follow the first through a job, task by task, until it is left."""
        self.tell(job)
        try:
            yield
        finally:
            if not self.broken:
                self.tell()

    def collect(self, mine: Any) -> list[Any]:
        """Every process's, by rank, in the first; empty in the others."""
        if self.size == 1:
            return [mine]
        found = [None] * self.size if self.rank == 0 else None
        dist.gather_object(mine, found, dst=0, group=self._channel)
        return found or []

    def share(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The first process's tensors, in every process, on the CPU."""
        here = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
        kinds = self.tell({name: (tensor.shape, tensor.dtype) for name, tensor in here.items()})
        if self.rank:
            here = {name: torch.empty(shape, dtype=dtype) for name, (shape, dtype) in kinds.items()}
        for name in kinds if self.size > 1 else ():
            dist.broadcast(here[name], src=0, group=self._channel)
        return here

    def mean(self, values: Tensor) -> Tensor:
        """Over the processes."""
        if self.size > 1:
            dist.all_reduce(values)
            values /= self.size
        return values

    def averaging(self, model: nn.Module) -> nn.Module:
        """The network, as it is called in training: every process ends up with the mean of all gradients."""
        if self.size == 1:
            return model
        from accelerate import Accelerator, DistributedDataParallelKwargs

        # Without find_unused_parameters torch would sort its buckets anew after the first step: the order in which
        # three processes' gradients are added, and so their last bits, would differ after a training was resumed.
        settings = DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False)
        on_cpu = next(model.parameters()).device.type == "cpu"
        accelerator = Accelerator(cpu=on_cpu, mixed_precision="no", kwargs_handlers=[settings])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # a setting's new name, which older versions do not know
            prepared: nn.Module = accelerator.prepare_model(model, device_placement=False)
        return prepared


ALONE = Group(0, 1)

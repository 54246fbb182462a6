"""What a loss needs of the other processes, where several train one network, each on its own rows of a batch.

Data parallel averages the gradients of N processes. So each divides its own sum by an N-th of what all of them count:
the mean of their losses is then the loss of the whole batch. With one process nothing is asked of anybody.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def divisor(count: Tensor) -> Tensor:
    """What a sum over this process's rows is divided by, where `count` (a scalar) of its terms are here: the count of
    all processes, at least 1, over their number.
    """
    if processes() == 1:
        return count.clamp(min=1)
    return total(count).clamp(min=1) / processes()


def mean_of_all(mean: Tensor, weight: float) -> Tensor:
    """From the mean over this process's terms, which weigh so much together, what averages to the mean over all."""
    if processes() == 1:
        return mean
    return mean * weight * processes() / total(torch.tensor(weight, device=mean.device))


def total(value: Tensor) -> Tensor:
    """The sum over the processes. It has no gradient."""
    return _reduced(value, dist.ReduceOp.SUM) if processes() > 1 else value


def largest(value: int, device: torch.device) -> int:
    """The largest of the processes' values."""
    if processes() == 1:
        return value
    return int(_reduced(torch.tensor(value, device=device), dist.ReduceOp.MAX))


def noise(rows: int, columns: int, device: torch.device) -> Tensor:
    """Uniform random numbers (rows, columns) for this process's rows of the batch: those that one process alone would
    draw for them. The first process draws for all, by its own generator.
    """
    if processes() == 1:
        return torch.rand(rows, columns, device=device)
    counts = torch.zeros(processes(), dtype=torch.int64)
    counts[dist.get_rank()] = rows
    counts = total(counts.to(device)).cpu()
    shape = (int(counts.sum()), columns)
    drawn = torch.rand(shape, device=device) if dist.get_rank() == 0 else torch.empty(shape, device=device)
    dist.broadcast(drawn, src=0)
    first = int(counts[: dist.get_rank()].sum())
    return drawn[first : first + rows]


def _reduced(value: Tensor, operation: dist.ReduceOp.RedOpType) -> Tensor:
    found = value.detach().clone()
    dist.all_reduce(found, operation)
    return found

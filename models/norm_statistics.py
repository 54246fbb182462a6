"""The statistics of live batch norms in training: of all processes' rows together, or frozen."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from models.parallel import processes, total


class SynchronisedBatchNorm2d(nn.BatchNorm2d):
    """A batch norm over the rows of all processes, on any device: torch's own (`SyncBatchNorm`) knows GPUs alone.

    Two passes, as a variance needs: mean, then squared deviations. Computed in at least float32.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W); B may differ between the processes."""
        if not self.training or processes() == 1:
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        values = x.to(torch.promote_types(x.dtype, torch.float32))
        count = total(torch.tensor(x.numel() // x.shape[1], device=x.device))
        mean = summed(values.sum((0, 2, 3))) / count
        centred = values - mean[:, None, None]
        variance = summed(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        normalised = centred * (variance + self.eps).rsqrt()[:, None, None]
        return (normalised * self.weight[:, None, None] + self.bias[:, None, None]).to(x.dtype)


class _Summed(torch.autograd.Function):
    """The sum over the processes; what flows back is the sum of what flows back to each."""

    @staticmethod
    def forward(_context: Any, values: Tensor) -> Tensor:
        return total(values)

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:
        return total(gradient)


def summed(values: Tensor) -> Tensor:
    """The sum over the processes, with its gradient."""
    found: Tensor = _Summed.apply(values)
    return found


def synchronise(model: nn.Module) -> None:
    """Has every live batch norm see the rows of all processes. Raises ValueError for one of a kind it does not know."""
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and not isinstance(module, SynchronisedBatchNorm2d):
            if type(module) is not nn.BatchNorm2d or module.momentum is None or not module.affine:
                raise ValueError(f"{name}: only plain two-dimensional batch norms can be synchronised")
            module.__class__ = SynchronisedBatchNorm2d  # weights, statistics and hooks stay


def freeze(model: nn.Module) -> None:
    """Has every batch norm use its statistics as they are, and leave them so; until the model's next `train()`."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()

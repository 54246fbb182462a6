"""Peak memory of a forward pass: the bytes of all tensors alive at one time, counted operator by operator.

The number depends on the network and the input alone, not on the machine, its load or its allocator. What a kernel
takes for itself while it runs is not seen: convolutions that copy patches of their input can take several times more.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class Memory(NamedTuple):
    """Bytes: parameters and buffers, and the most that was alive at one time, these and the input included."""

    weights: int
    peak: int


class LiveTensors(TorchDispatchMode):
    """Sums the storages of the tensors it is told of or sees an operator return, each once, until they are freed."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.peak = 0
        self._known: dict[int, weakref.ref[Any]] = {}

    def add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        address, size = storage._cdata, storage.nbytes()
        if address not in self._known:
            self._known[address] = weakref.ref(storage, lambda _: self._drop(address, size))
            self.bytes += size
            self.peak = max(self.peak, self.bytes)

    def _drop(self, address: int, size: int) -> None:
        del self._known[address]
        self.bytes -= size

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        outputs = func(*args, **(kwargs or {}))
        for value in tree_iter(outputs):
            if isinstance(value, Tensor):
                self.add(value)
        return outputs


def measure_memory(model: nn.Module, images: Tensor) -> Memory:
    """One forward pass without gradients, in the mode that the network is in."""
    live = LiveTensors()
    for tensor in (*model.parameters(), *model.buffers()):
        live.add(tensor)
    weights = live.bytes
    live.add(images)
    with torch.no_grad(), _without_collector(), live:
        model(images)
    return Memory(weights, live.peak)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Python's collector runs when it likes, and would free what hangs in a cycle at another time in every process."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()

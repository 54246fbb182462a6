"""Feature maps at the levels that a network names (`SegmentationModel.levels`), caught as they pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from models.interface import SegmentationModel

IMAGES = 4  # the first of the split; a batch has more
CHANNELS = 8  # evenly spaced: the paper does not say which of the 64 to 256 it took

Maps = dict[str, NDArray[Any]]


@contextmanager
def level_maps(model: SegmentationModel) -> Iterator[Maps]:
    """Fills level -> (images, channels, height, width) float32 in the first pass of the network inside.

    At most IMAGES images and CHANNELS channels: c * C // CHANNELS of C for c from 0 on.
    """
    maps: Maps = {}
    handles = [module.register_forward_hook(_catch(name, maps)) for name, module in model.levels().items()]
    try:
        yield maps
    finally:
        for handle in handles:
            handle.remove()


def _catch(name: str, maps: Maps) -> Callable[[nn.Module, Any, Tensor], None]:
    def catch(module: nn.Module, inputs: Any, output: Tensor) -> None:
        if name not in maps:
            count = output.shape[1]
            chosen = [c * count // CHANNELS for c in range(CHANNELS)] if count > CHANNELS else list(range(count))
            maps[name] = np.ascontiguousarray(output[:IMAGES, chosen].detach().float().cpu().numpy())

    return catch

"""mIoU as the released scripts take it: of each batch by itself, then averaged over the batches.

Three things differ from `bench.evaluate.semantic`. A class counts in a batch only where the batch has it, in truth or
prediction, so a class that is predicted where it is not costs its whole share of that batch. Every batch weighs the
same, the last one too, which may be smaller. And void is no excuse: what is predicted on unlabelled pixels enlarges
the union. Their smoothing of 1e-6 changes no digit that is printed and is left out.

Shape letters: K categories.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class BatchMeanIoU:
    """`classes` is K; `size` is how many images, in the order of adding, make a batch."""

    def __init__(self, classes: int, size: int) -> None:
        self.size = size
        self._open = np.zeros((3, classes), dtype=np.int64)
        self._images = self._batches = 0
        self._sum = 0.0

    def add(self, pixels: NDArray[np.int64]) -> None:
        """One image. pixels: (3, K): intersection, truth, predicted (on void too)."""
        self._open += pixels
        self._images += 1
        if self._images % self.size == 0:
            self._sum, self._batches = self._closed()
            self._open[:] = 0

    def result(self) -> float | None:
        """None where no batch has any class."""
        total, batches = self._closed()
        return total / batches if batches else None

    def _closed(self) -> tuple[float, int]:
        """The sum and the number of the batches' means, the open one included."""
        intersection, truth, predicted = self._open
        union = truth + predicted - intersection
        present = union > 0
        if not present.any():
            return self._sum, self._batches
        return self._sum + float((intersection[present] / union[present]).mean()), self._batches + 1

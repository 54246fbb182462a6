"""Two images with things, stuff, void and a crowd, at any size."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from models.categories import VOID, Categories, Category, Segment
from models.interface import Batch


@pytest.fixture
def toy_categories() -> Categories:
    """Things 0 and 1, stuff 2 and 3."""
    return Categories(tuple(Category(n + 1, f"class {n}", n < 2, (0, 0, 0)) for n in range(4)))


@pytest.fixture
def toy_batch() -> Callable[..., Batch]:
    """`toy_batch(size, void=False)`: random pixels; in quarters two things, stuff, and a crowd over void."""

    def make(size: tuple[int, int], void: bool = False) -> Batch:
        height, width = size
        images = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(3))
        segments = torch.zeros(2, height, width, dtype=torch.int64)
        semantic = torch.full_like(segments, VOID)
        if void:
            return Batch(images, semantic, segments, [{}, {}])
        table = {
            1: Segment(0, True, False),
            2: Segment(1, True, False),
            3: Segment(2, False, False),
            4: Segment(0, True, True),
        }
        segments[:, : height // 2, : width // 2] = 1
        segments[:, : height // 2, width // 2 :] = 2
        segments[:, height // 2 :, : width // 2] = 3
        segments[1, height // 2 :, 3 * width // 4 :] = 4
        for number, segment in table.items():
            semantic[segments == number] = segment.category
        return Batch(images, semantic, segments, [table, table])

    return make

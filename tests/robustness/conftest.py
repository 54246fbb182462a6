"""Every fuzz test is seeded: BENCH_FUZZ_SEED repeats one, BENCH_FUZZ_CASES makes it longer."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

SEED = int(os.environ.get("BENCH_FUZZ_SEED", "0"))
FACTOR = float(os.environ.get("BENCH_FUZZ_CASES", "1"))


@pytest.fixture
def cases(request):
    """`cases(n)`: n sources of chance, decided by the test's name, the seed and the case's number."""

    def some(count: int) -> Iterator[random.Random]:
        for case in range(max(1, round(count * FACTOR))):
            yield random.Random(f"{request.node.name} {SEED} {case}")

    return some

"""Peak memory against bytes worked out by hand, and against what the system says the process took."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.measure.cost import numbered_categories
from bench.measure.memory import LiveTensors, measure_memory
from models.registry import build

SIDE = 16
PLANE = 4 * SIDE * SIDE  # bytes of one channel


def images(channels: int = 3) -> Tensor:
    return torch.zeros(1, channels, SIDE, SIDE)


def test_input_and_both_ends_of_the_widest_step_are_alive_at_once() -> None:
    body = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 5, 1), nn.Conv2d(5, 2, 1))
    weights = 4 * ((3 * 8 + 8) + (8 * 5 + 5) + (5 * 2 + 2))
    assert measure_memory(body, images()) == (weights, weights + (3 + 8 + 5) * PLANE)


def test_what_is_kept_for_later_stays_alive() -> None:
    class Skip(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            kept = x + 1
            narrow = (kept[:, :1] + 1).relu()
            return torch.cat([kept, narrow], dim=1)

    assert measure_memory(Skip(), images()) == (0, (3 + 3 + 1 + 4) * PLANE)


def test_views_and_changes_in_place_take_nothing() -> None:
    class Views(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            made = x.repeat(1, 2, 1, 1)
            return made.relu_().flatten(2).transpose(1, 2)[:, ::2].add_(1)

    assert measure_memory(Views(), images()).peak == (3 + 6) * PLANE


def test_weights_count_once_and_with_their_buffers() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(SIDE, 4), nn.Linear(SIDE, 4)
            self.second.weight = self.first.weight
            self.register_buffer("table", torch.zeros(7))

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, self.first.weight.detach())

    found = measure_memory(Tied(), images())
    assert found.weights == 4 * (SIDE * 4 + 4 + 4 + 7)
    assert found.peak == found.weights + 3 * PLANE + 4 * 3 * SIDE * 4


def test_what_is_freed_is_taken_off() -> None:
    with LiveTensors() as live:
        made = torch.zeros(100) + 1
        assert live.bytes == 400
        del made
    assert live.bytes == 0


@pytest.mark.parametrize("name", ["maskattn-unet-small", "detr-small", "mask2former-small"])
def test_a_second_pass_has_the_same_peak_and_a_larger_input_a_larger_one(name: str) -> None:
    model = build(name, numbered_categories(5), (32, 32)).eval()
    small, again, large = (measure_memory(model, torch.zeros(1, 3, side, side)) for side in (32, 32, 64))
    assert small == again
    assert small.weights == sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))
    assert small.peak > small.weights + 4 * 3 * 32 * 32
    assert large.peak > small.peak


RESIDENT = """
import torch
from bench.measure.cost import numbered_categories
from bench.measure.memory import measure_memory
from models.registry import build

def resident(field):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(field))

torch.set_num_threads(1)
model = build("unet-small", numbered_categories(133), (384, 384)).eval()
with torch.no_grad():
    model(torch.zeros(1, 3, 64, 64))
    images = torch.zeros(1, 3, 384, 384)
    open("/proc/self/clear_refs", "w").write("5")  # the high-water mark starts anew
    before = resident("VmRSS")
    model(images)
    taken = resident("VmHWM") - before
found = measure_memory(model, images)
print(taken / (found.peak - found.weights))
"""


# glibc gives memory back when it likes, which alone makes the ratio 1.08 to 1.53; with these it does so at once.
GIVES_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system does not tell the peak")
@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="without oneDNN convolutions copy their input")
def test_the_process_takes_what_is_counted_and_little_more() -> None:
    command = [sys.executable, "-c", RESIDENT]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **GIVES_BACK})
    assert 0.95 < float(done.stdout) < 1.1

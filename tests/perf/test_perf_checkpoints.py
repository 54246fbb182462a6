"""What a checkpoint of the paper's network costs: time, disk and memory."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.data.native.scenes import Scenes
from bench.data.prepared import prepare
from bench.data.view import View
from bench.train.checkpoints import CHECKPOINT_MINUTES
from bench.train.saver import WRITING_SHARE
from tests.train.resuming import Training, begin


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """One step old, so that AdamW has its state."""
    data = View(prepare(Scenes(), "train", (32, 32), 2, tmp_path_factory.mktemp("prepared")))
    made = begin(data, tmp_path_factory.mktemp("run"), "maskattn-unet", epochs=1)
    made.train()
    return made


def fastest(call: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        start = time.monotonic()
        call()
        times.append(time.monotonic() - start)
    return min(times)


def resident(field: str) -> int:
    """Bytes, from /proc: VmRSS now, VmHWM at most since `forget_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


@pytest.mark.perf
def test_a_checkpoint_takes_little_more_than_writing_its_bytes(
    training: Training, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training.saver.save()
    (file, *_) = (training.folder / "checkpoint").glob("step-*")
    content = file.read_bytes()

    def plain() -> None:
        with (tmp_path / "plain").open("wb") as target:
            target.write(content)
            target.flush()
            os.fsync(target.fileno())

    writing, bare = fastest(training.saver.save), fastest(plain)
    with capsys.disabled():
        sys.stdout.write(
            f"\na checkpoint of maskattn-unet: {len(content) / 1e6:.0f} MB in {writing:.2f} s, its bytes alone in "
            f"{bare:.2f} s; {writing / (60 * CHECKPOINT_MINUTES):.2%} of a training that is saved every "
            f"{CHECKPOINT_MINUTES:g} minutes, at ends of epochs at most {WRITING_SHARE:.0%}"
        )
    assert writing < 8 * bare + 1


@pytest.mark.perf
def test_memory_is_as_before_after_twenty_checkpoints(training: Training, capsys: pytest.CaptureFixture[str]) -> None:
    training.saver.save()
    size = sum(tensor.nbytes for tensor in training.trainer.tensors().values())
    before = resident("VmRSS")
    forget_peak()
    for _ in range(20):
        training.saver.save()
    after, most = resident("VmRSS"), resident("VmHWM")
    with capsys.disabled():
        sys.stdout.write(
            f"\ntwenty checkpoints of {size / 1e6:.0f} MB: {(after - before) / 1e6:+.0f} MB of memory after them, "
            f"{(most - before) / 1e6:+.0f} MB while one is written"
        )
    assert after - before < 0.1 * size
    assert most - before < 1.5 * size

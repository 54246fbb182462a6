"""The files of checkpoints: whole or set aside, the last two kept, and when they are written."""

from __future__ import annotations

import errno
import json
import math
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from bench.data.view import View
from bench.lock import LostLeaseError
from bench.progress import Clock
from bench.stop import StoppedError
from bench.train.checkpoints import Checkpoints, Facts, Maker, Position, last_place
from bench.train.state import restore, set_chance, state_of
from tests.train.resuming import MAKER, NETWORK, RUN, SCORES, begin, equal

TENSORS = {"model.weight": torch.arange(6.0).reshape(2, 3), "chance.cpu": torch.arange(5, dtype=torch.uint8)}


def facts(step: int, **values: Any) -> Facts:
    position = Position(step=step, sums={"a": 0.1 + 0.2}, history=('{"epoch": 1}',), seconds=1.5, waited=1 / 3)
    given = {"run_id": RUN, "made_by": MAKER, "steps": 100, "epochs": 10, "position": position, "network": NETWORK}
    return Facts(**{**given, "untrained": SCORES, "seconds": {"seconds_total": 2.5}, "peak_memory_mb": 3.0, **values})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Checkpoints after the steps 10 and 20."""
    checkpoints = Checkpoints(tmp_path / "checkpoint", RUN)
    for step in (10, 20):
        checkpoints.write(facts(step), {**TENSORS, "model.bias": torch.tensor([float(step)])})
    return tmp_path / "checkpoint"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def newest(folder: Path) -> Path:
    return max(folder.glob("step-*.safetensors"))


def test_what_is_written_is_read_to_the_last_bit(folder: Path) -> None:
    found = next(Checkpoints(folder, RUN).candidates())
    assert found.facts == facts(20)
    assert found.facts.position.sums["a"].hex() == (0.1 + 0.2).hex()
    assert found.facts.untrained.miou == 0.1 + 0.2
    assert equal(found.tensors(), {**TENSORS, "model.bias": torch.tensor([20.0])})
    assert found.facts.place == {"step": 20, "steps": 100, "epoch": 2, "epochs": 10}


def test_a_checkpoint_is_plain_safetensors_with_json(folder: Path) -> None:
    with safe_open(newest(folder), framework="pt") as file:
        assert json.loads(file.metadata()["facts"])["run_id"] == RUN
        assert set(file.keys()) == {*TENSORS, "model.bias"}


def test_the_last_two_are_kept(folder: Path) -> None:
    Checkpoints(folder, RUN).write(facts(30), TENSORS)
    assert [name[:14] for name in names(folder)] == ["step-000000020", "step-000000030"]


def test_weights_that_lie_beside_are_left_alone(folder: Path) -> None:
    (folder / "weights.safetensors").write_bytes(b"weights")
    checkpoints = Checkpoints(folder, RUN)
    checkpoints.set_aside(newest(folder), "a test")
    checkpoints.clear()
    assert names(folder) == ["weights.safetensors"]
    (folder / "weights.safetensors").unlink()
    Checkpoints(folder, RUN).write(facts(30), TENSORS)
    checkpoints.clear()
    assert not folder.exists()
    checkpoints.clear()


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 5)


def truncated_to_nothing(path: Path) -> None:
    os.truncate(path, 0)


def flipped(place: float) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[int(place * (len(content) - 1))] ^= 1
        path.write_bytes(content)

    return damage


def named_by_another_hash(path: Path) -> None:
    path.rename(path.with_name(path.name.replace(path.stem[-16:], "0123456789abcdef")))


def of_another_step(path: Path) -> None:
    path.rename(path.with_name(path.name.replace("000000020", "000000021")))


def replaced(content: bytes) -> Callable[[Path], None]:
    """By a file that is no checkpoint, under the name that its hash gives."""

    def damage(path: Path) -> None:
        import hashlib

        path.unlink()
        digest = hashlib.sha256(content).hexdigest()[:16]
        (path.parent / f"step-000000020-{digest}.safetensors").write_bytes(content)

    return damage


def of_another_run(path: Path) -> None:
    path.unlink()
    Checkpoints(path.parent, RUN).write(facts(20, run_id="other-run-0123456789"), TENSORS)


DEEP = b"[" * 100_000
HEADER = json.dumps({"__metadata__": {"facts": "{}"}}).encode()
DAMAGES = {
    "truncated": truncated,
    "emptied": truncated_to_nothing,
    **{f"a bit flipped at {place}": flipped(place) for place in (0, 0.02, 0.3, 0.9, 1)},
    "another hash in the name": named_by_another_hash,
    "another step in the name": of_another_step,
    "another run's": of_another_run,
    "no safetensors": replaced(b"\xff" * 100),
    "no JSON": replaced((4).to_bytes(8, "little") + b"{{{{"),
    "JSON without an end to its depth": replaced(len(DEEP).to_bytes(8, "little") + DEEP),
    "no facts": replaced((2).to_bytes(8, "little") + b"{}"),
    "JSON of another kind": replaced((2).to_bytes(8, "little") + b"[]"),
    "facts without a step": replaced(len(HEADER).to_bytes(8, "little") + HEADER),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_one_is_set_aside_and_the_one_before_is_used(damage: Callable[[Path], None], folder: Path) -> None:
    damage(newest(folder))
    name = newest(folder).name
    checkpoints = Checkpoints(folder, RUN)
    found = next(checkpoints.candidates())
    assert found.facts.position.step == 10
    assert list(checkpoints.damaged) == [name]
    assert checkpoints.damaged[name]
    assert names(folder) == [found.path.name, f"{name}.damaged"]
    again = Checkpoints(folder, RUN)
    assert next(again.candidates()).path == found.path
    assert not again.damaged


@pytest.mark.parametrize("path", ["sha256_of", "_facts"])
def test_a_disk_that_cannot_be_read_now_sets_nothing_aside(
    path: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = names(folder)

    def fails(_path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(f"bench.train.checkpoints.{path}", fails)
    with pytest.raises(OSError, match="Input/output"):
        next(Checkpoints(folder, RUN).candidates())
    assert names(folder) == before


def test_an_error_of_the_system_in_the_words_of_safetensors_is_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_path: Path) -> None:
        raise SafetensorError("I/O error: Input/output error (os error 5)")

    monkeypatch.setattr("safetensors.torch.load_file", fails)
    with pytest.raises(OSError, match="could not be read") as error:
        next(Checkpoints(folder, RUN).candidates()).tensors()
    assert error.value.errno == errno.EIO


def test_why_one_was_set_aside_names_no_folder_of_this_machine(folder: Path) -> None:
    checkpoints = Checkpoints(folder, RUN)
    checkpoints.set_aside(newest(folder), "/srv/data/me/results/run/x is odd")
    assert list(checkpoints.damaged.values()) == ["…/run/x is odd"]


def test_who_lost_the_run_writes_and_removes_nothing(folder: Path) -> None:
    before = names(folder)

    def lost() -> None:
        raise LostLeaseError("taken over")

    checkpoints = Checkpoints(folder, RUN, lost)
    with pytest.raises(LostLeaseError):
        checkpoints.write(facts(30), TENSORS)
    with pytest.raises(LostLeaseError):
        checkpoints.clear()
    with pytest.raises(LostLeaseError):
        checkpoints.set_aside(newest(folder), "a test")
    assert names(folder) == before


def test_a_checkpoint_of_before_the_commit_was_kept_is_read() -> None:
    assert Maker.model_validate({"attempt": 1, "torch": "2.0", "device": "cpu", "threads": 1}).git_commit is None


def test_what_is_not_ours_is_left_alone(folder: Path) -> None:
    for name in (".nfs0001", ".keep", "weights.tmp"):
        (folder / name).touch()
    next(Checkpoints(folder, RUN).candidates())
    assert {".nfs0001", ".keep"} <= set(names(folder))
    assert "weights.tmp" not in names(folder)


def test_where_all_are_damaged_there_is_none(folder: Path) -> None:
    for path in folder.iterdir():
        truncated(path)
    checkpoints = Checkpoints(folder, RUN)
    assert next(checkpoints.candidates(), None) is None
    assert len(checkpoints.damaged) == 2
    assert all(name.endswith(".damaged") for name in names(folder))
    assert last_place(folder) is None


def test_the_last_place_is_read_without_the_tensors(folder: Path) -> None:
    assert last_place(folder) == facts(20).place
    flipped(1)(newest(folder))  # of a tensor
    assert last_place(folder) == facts(20).place
    truncated_to_nothing(newest(folder))
    assert last_place(folder) == facts(10).place
    assert last_place(folder / "absent") is None


@pytest.mark.parametrize("name", [".123.tmp", ".tmpgYzUJP"], ids=["ours", "safetensors'"])
def test_what_a_killed_writer_left_is_removed_and_never_read(name: str, folder: Path) -> None:
    shutil.copy(newest(folder), folder / name)
    assert next(Checkpoints(folder, RUN).candidates()).facts.position.step == 20
    assert not (folder / name).exists()
    shutil.copy(newest(folder), folder / name)
    Checkpoints(folder, RUN).clear()
    assert not folder.exists()


def test_a_full_disk_leaves_the_earlier_ones_and_says_so(folder: Path) -> None:
    """A file may grow to 1 kB only: the kernel refuses the rest, as a full disk does."""
    before = {path: path.read_bytes() for path in folder.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="the checkpoint could not be written") as error:
            Checkpoints(folder, RUN).write(facts(30), {"model.weight": torch.zeros(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert error.value.errno == errno.EFBIG
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_number_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        Position(step=1, sums={"a": math.nan}, history=(), seconds=0, waited=0)


def test_the_room_of_checkpoints_needs_no_torch() -> None:
    code = "import sys, bench.train.checkpoints; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


class Net(nn.Module):
    """A weight laid out channels last, one without a gradient, and a buffer."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3)
        self.unused = nn.Linear(2, 2)
        self.norm = nn.BatchNorm2d(channels)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.conv(images)).square().mean() + self.conv.weight.abs().sum()


def optimised(steps: int, channels: int = 4) -> tuple[Net, torch.optim.AdamW]:
    torch.manual_seed(3)
    net = Net(channels)
    optimizer = torch.optim.AdamW(net.parameters())
    for _ in range(steps):
        optimizer.zero_grad()
        net(torch.rand(2, 3, 8, 8)).backward()
        optimizer.step()
    return net, optimizer


CPU = torch.device("cpu")


def test_the_optimisers_state_keeps_its_layout_in_memory() -> None:
    state = {name: tensor.contiguous().clone() for name, tensor in state_of(*optimised(2), CPU).items()}
    net, optimizer = optimised(0)
    set_chance(restore(net, optimizer, CPU, state), CPU)
    moments = optimizer.state[net.conv.weight]
    assert moments["exp_avg"].is_contiguous(memory_format=torch.channels_last)
    assert float(moments["step"]) == 2
    assert net.unused.weight not in optimizer.state
    restored = state_of(net, optimizer, CPU)
    assert equal(restored, state_of(*optimised(2), CPU))


Change = Callable[[dict[str, Tensor]], object]
MISFITS: dict[str, Change] = {
    "a tensor too few": lambda state: state.pop("model.conv.bias"),
    "a tensor too many": lambda state: state.update({"model.more": torch.zeros(1)}),
    "another shape": lambda state: state.update({"model.conv.bias": torch.zeros(5)}),
    "another type": lambda state: state.update({"model.conv.bias": torch.zeros(4, dtype=torch.float64)}),
    "a moment too few": lambda state: state.pop("optimizer.0.exp_avg"),
    "a step too few": lambda state: state.pop("optimizer.0.step"),
    "a moment of another shape": lambda state: state.update({"optimizer.0.exp_avg": torch.zeros(4, 3, 3)}),
    "a parameter too many": lambda state: state.update({"optimizer.99.step": torch.zeros(())}),
    "no chance": lambda state: state.pop("chance.cpu"),
    "another generator's chance": lambda state: state.update({"chance.cpu": torch.zeros(7, dtype=torch.uint8)}),
}


@pytest.mark.parametrize("change", MISFITS.values(), ids=MISFITS)
def test_what_does_not_fit_changes_nothing(change: Change) -> None:
    state = {name: tensor.clone() for name, tensor in state_of(*optimised(2), CPU).items()}
    change(state)
    net, optimizer = optimised(1)
    before = {name: tensor.clone() for name, tensor in state_of(net, optimizer, CPU).items()}
    with pytest.raises(ValueError, match=r"^its? "):
        restore(net, optimizer, CPU, state)
    assert equal(state_of(net, optimizer, CPU), before)


def test_a_training_starts_anew_where_no_checkpoint_fits(eight_scenes: View, tmp_path: Path) -> None:
    """One of another network, and one of another length: both are set aside."""
    begin(eight_scenes, tmp_path / "run", batch_size=1).train(stop_after=[8])
    training = begin(eight_scenes, tmp_path / "run", batch_size=2)
    assert training.found is None
    assert training.trainer.step == 0
    assert "do not fit the training" in "".join(training.checkpoints.damaged.values())
    begin(eight_scenes, tmp_path / "other").train(stop_after=[2])
    other = begin(eight_scenes, tmp_path / "other", "maskattn-unet-small")
    assert other.found is None
    assert "does not fit this network" in "".join(other.checkpoints.damaged.values())


class Ticking:
    """A training of four steps an epoch whose saver believes in the times it is told."""

    def __init__(self, data: View, folder: Path, monkeypatch: pytest.MonkeyPatch, minutes: float, cost: float) -> None:
        self.now, self.saved = 0.0, list[int]()
        monkeypatch.setattr("bench.train.saver.time.monotonic", lambda: self.now)
        self.training = begin(data, folder, epochs=3, minutes=minutes)
        self.trainer, saver = self.training.trainer, self.training.saver

        def write(given: Facts, tensors: object) -> None:
            self.now += cost
            self.saved.append(given.position.step)

        monkeypatch.setattr(saver.checkpoints, "write", write)

    def after(self, step: int, seconds: float, epoch_end: bool = False) -> None:
        self.now += seconds
        self.trainer.step = step
        self.training.saver.after_step(epoch_end)


def test_a_checkpoint_is_written_every_few_minutes(
    eight_scenes: View, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticking = Ticking(eight_scenes, tmp_path / "run", monkeypatch, minutes=2, cost=50)
    for step, seconds in ((1, 119), (2, 2), (3, 119), (5, 60), (6, 59), (7, 2)):
        ticking.after(step, seconds)
    assert ticking.saved == [2, 5]


def test_at_ends_of_epochs_while_that_takes_little_of_the_time(
    eight_scenes: View, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes 5 s: the first, whose price is not known, at once, the next once 100 s have passed, and the last."""
    ticking = Ticking(eight_scenes, tmp_path / "run", monkeypatch, minutes=1e9, cost=5)
    for step, seconds in ((4, 1), (5, 99), (8, 0), (9, 1)):
        ticking.after(step, seconds, epoch_end=step % 4 == 0)
    assert ticking.saved == [4]
    ticking.after(8, 0, epoch_end=True)
    assert ticking.saved == [4, 8]
    ticking.after(12, 0, epoch_end=True)
    assert ticking.saved == [4, 8, 12]


def test_before_it_leaves_a_training_is_saved(
    eight_scenes: View, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticking = Ticking(eight_scenes, tmp_path / "run", monkeypatch, minutes=1e9, cost=5)
    ticking.after(1, 1)
    assert ticking.saved == []
    ticking.training.stop.ask("SIGTERM")
    with pytest.raises(StoppedError) as stopped:
        ticking.after(2, 1)
    assert ticking.saved == [2]
    assert stopped.value.place == {"step": 2, "steps": 12, "epoch": 1, "epochs": 3}


def test_the_clock_counts_what_led_to_a_checkpoint_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("bench.progress.time.monotonic", lambda: now[0])

    def spend(seconds: float) -> None:
        now[0] += seconds

    first = Clock()
    with first.time("build"):
        spend(2)
    with first.time("train"):
        spend(10)
        with first.time("checkpoints"):
            spend(1)
            reading = first.reading()
        spend(1000)  # lost
    assert reading == {"seconds_build": 2, "seconds_train": 11, "seconds_checkpoints": 1, "seconds_total": 13}
    second = Clock()
    with second.time("build"):
        spend(3)
    second.go_on(reading)
    with second.time("train"):
        spend(7)
    assert second.reading() == {
        "seconds_build": 5,
        "seconds_train": 18,
        "seconds_checkpoints": 1,
        "seconds_total": 23,
    }

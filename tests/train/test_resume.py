"""A training that stopped goes on as if it had not: bit by bit, at one thread count."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.data.view import View
from tests.train.resuming import MAKER, begin, equal

STEPS = 8  # four an epoch


@pytest.fixture(scope="module")
def whole(eight_scenes: View, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The training that nobody stopped."""
    training = begin(eight_scenes, tmp_path_factory.mktemp("whole") / "run")
    assert training.train()
    return training


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_stopped_after_any_step_it_ends_with_the_same_bits(
    step: int, whole: Any, eight_scenes: View, tmp_path: Path
) -> None:
    first = begin(eight_scenes, tmp_path / "run")
    assert not first.train(stop_after=[step])
    assert first.trainer.step == step
    torch.rand(1000)  # another process has drawn other numbers
    second = begin(eight_scenes, tmp_path / "run")
    assert second.found is not None
    assert second.found.facts.place == {"step": step, "steps": STEPS, "epoch": min(1 + step // 4, 2), "epochs": 2}
    assert equal(second.state(), first.state())
    assert second.train()
    assert second.history == whole.history
    assert equal(second.state(), whole.state())


def test_stopped_after_every_step_it_ends_with_the_same_bits(whole: Any, eight_scenes: View, tmp_path: Path) -> None:
    for step in range(STEPS):
        training = begin(eight_scenes, tmp_path / "run")
        assert training.trainer.step == step
        assert not training.train(stop_after=range(1, STEPS + 1))
    last = begin(eight_scenes, tmp_path / "run")
    assert last.train()
    assert last.history == whole.history
    assert equal(last.state(), whole.state())


CHANCE = [
    ("maskattn-unet-small", {}),
    ("maskattn-unet-small", {"mask": "random-fixed"}),
    ("maskattn-unet-small", {"mask": "random-resampled"}),
]
LARGE = [
    ("maskattn-unet-released", {"fixed_layernorm": False, "mask": "random-resampled"}),
    *((name, {}) for name in ("unet-resnet50", "u-transformer", "detr-small", "mask2former-r50")),
]


def save_and_compare(name: str, options: dict[str, Any], data: View, folder: Path) -> None:
    """Two steps, straight, and the second again from the checkpoint after the first."""
    straight = begin(data, folder, name, options, epochs=1, batch_size=4)
    assert straight.train(save_after=[1])
    state, history = straight.state(), straight.history
    max((folder / "checkpoint").iterdir()).unlink()
    again = begin(data, folder, name, options, epochs=1, batch_size=4)
    assert again.trainer.step == 1
    assert not equal(again.state(), state)
    assert again.train()
    assert again.history == history
    assert equal(again.state(), state)


@pytest.mark.parametrize(("name", "options"), CHANCE, ids=lambda value: str(value))
def test_networks_with_chance_and_statistics_of_their_own_go_on_too(
    name: str, options: dict[str, Any], eight_scenes: View, tmp_path: Path
) -> None:
    save_and_compare(name, options, eight_scenes, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), LARGE, ids=lambda value: str(value))
def test_large_networks_go_on_too(name: str, options: dict[str, Any], eight_scenes: View, tmp_path: Path) -> None:
    save_and_compare(name, options, eight_scenes, tmp_path)


@pytest.mark.parametrize(("name", "options"), CHANCE, ids=lambda value: str(value))
def test_torchs_generator_is_the_only_chance_of_a_training(
    name: str, options: dict[str, Any], eight_scenes: View, tmp_path: Path
) -> None:
    """A checkpoint has its state alone."""
    training = begin(eight_scenes, tmp_path / "run", name, options)
    pythons, numpys = random.getstate(), np.random.get_state()
    training.train(stop_after=[1])
    assert random.getstate() == pythons
    assert all(np.array_equal(one, other) for one, other in zip(np.random.get_state(), numpys, strict=True))


def test_a_resumed_epoch_loads_only_what_is_left_of_it(
    eight_scenes: View, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(eight_scenes, tmp_path / "run", epochs=1).train(stop_after=[3])
    loaded = []
    table = View.table
    monkeypatch.setattr(View, "table", lambda view, image: loaded.append(image) or table(view, image))
    assert begin(eight_scenes, tmp_path / "run", epochs=1).train()
    assert len(loaded) == 2


def test_the_history_is_that_of_the_checkpoint_no_line_lost_or_doubled(
    whole: Any, eight_scenes: View, tmp_path: Path
) -> None:
    """A kill between a line and its checkpoint leaves the line of an epoch that is trained again; a crash of the
    machine may leave none.
    """
    assert [json.loads(line)["epoch"] for line in whole.history.splitlines()] == [1, 2]
    for number, text in enumerate((whole.history, "", '{"epoch": 1, "st', None)):
        folder = tmp_path / str(number)
        begin(eight_scenes, folder).train(stop_after=[6])
        (folder / "history.jsonl").unlink()
        if text is not None:
            (folder / "history.jsonl").write_text(text)
        again = begin(eight_scenes, folder)
        assert not again.train(stop_after=[7])
        assert again.history == whole.history.splitlines(keepends=True)[0]
        assert begin(eight_scenes, folder).train()
        assert again.history == whole.history


def test_times_add_up_over_a_stop_and_the_progress_counts_on(eight_scenes: View, tmp_path: Path) -> None:
    first = begin(eight_scenes, tmp_path / "run")
    first.train(stop_after=[3])
    spent = first.trainer.seconds
    second = begin(eight_scenes, tmp_path / "run")
    assert second.trainer.seconds == spent
    assert second.trainer.images_per_s == first.trainer.images_per_s == pytest.approx(3 * 2 / spent)
    second.train()
    assert second.trainer.seconds > spent
    assert second.trainer.waited > first.trainer.waited


def test_speed_and_time_left_are_those_of_the_process_that_goes_on(eight_scenes: View, tmp_path: Path) -> None:
    """A training may have begun on a slower machine, or beside others."""
    begin(eight_scenes, tmp_path / "run").train(stop_after=[3])
    trainer = begin(eight_scenes, tmp_path / "run").trainer
    trainer.restore(trainer.position().model_copy(update={"seconds": 1e6}), trainer.tensors())
    told = []
    trainer.train(tmp_path / "history.jsonl", lambda row: told.append((row, trainer.seconds - 1e6)))
    assert [row["step"] for row, _ in told] == [4, 5, 6, 7, 8]
    for steps, (row, seconds) in enumerate(told, start=1):
        assert row["images_per_s"] == pytest.approx(steps * 2 / seconds)
        assert row["left_s"] == pytest.approx(seconds / steps * (5 - steps))
    assert trainer.images_per_s == pytest.approx(8 * 2 / trainer.seconds)


def test_equal_bits_are_promised_to_an_equal_maker(eight_scenes: View, tmp_path: Path) -> None:
    begin(eight_scenes, tmp_path / "run").train(stop_after=[1])
    found = begin(eight_scenes, tmp_path / "run").found
    assert found is not None
    assert found.facts.made_by == MAKER


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_workers_change_no_bit_also_where_a_training_stopped(
    workers: int, whole: Any, eight_scenes: View, tmp_path: Path
) -> None:
    straight = begin(eight_scenes, tmp_path / "straight", workers=workers)
    assert straight.train()
    assert straight.history == whole.history
    assert equal(straight.state(), whole.state())
    begin(eight_scenes, tmp_path / "stopped", workers=4 - workers).train(stop_after=[3])
    again = begin(eight_scenes, tmp_path / "stopped", workers=workers)
    assert again.train()
    assert again.history == whole.history
    assert equal(again.state(), whole.state())

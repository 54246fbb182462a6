"""The training loop on eight small scenes."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.data.view import View
from bench.spec import Recipe
from bench.train.loop import DivergedError, Trainer, fit_floor, rate_factor
from bench.train.seeds import axis_seed
from models.floors import Floor
from models.interface import Batch, Outputs, Prediction, SegmentationModel
from models.registry import build


def recipe(**values: Any) -> Recipe:
    return Recipe(**{"name": "r", "source": "", "lr": 1e-3, "weight_decay": 0, "batch_size": 4, "epochs": 2, **values})


@dataclass
class Trained:
    model: SegmentationModel
    trainer: Trainer
    history: str
    reports: list[dict[str, Any]]

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.history.splitlines()]


def train(data: View, folder: Path, seed: int = 0, name: str = "unet-small", **values: Any) -> Trained:
    torch.manual_seed(axis_seed(seed, "initialisation"))
    model = build(name, data.categories, data.size)
    trainer, reports = Trainer(model, data, recipe(**values), seed, mixed=True), list[dict[str, Any]]()
    history = folder / f"{len(list(folder.iterdir()))}.jsonl"
    trainer.train(history, reports.append)
    return Trained(model, trainer, history.read_text(), reports)


class Turning(SegmentationModel):
    """One weight; the second term of the loss turns bad at the third step."""

    def __init__(self, data: View, bad: float) -> None:
        super().__init__()
        self.categories, self.bad, self.calls = data.categories, bad, 0
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images: Tensor) -> Outputs:
        return {"mean": self.weight * images.mean()}

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        self.calls += 1
        mean = outputs["mean"].sum()
        return {"good": mean, "other": mean * (self.bad if self.calls == 3 else 0.0)}

    def decode(self, outputs: Outputs) -> list[Prediction]:
        return []


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, [1, 1, 1, 1, 1, 1]),
        ({"schedule": "step"}, [1, 1, 1, 1, 0.1, 0.1]),
        ({"schedule": "poly"}, [(1 - step / 6) ** 0.9 for step in range(6)]),
        ({"warmup_steps": 4}, [0.25, 0.5, 0.75, 1, 1, 1]),
        ({"warmup_steps": 2, "schedule": "step"}, [0.5, 1, 1, 1, 0.1, 0.1]),
    ],
    ids=["constant", "step", "poly", "warm-up", "warm-up and step"],
)
def test_the_rate_of_each_of_six_steps(values: dict[str, Any], expected: list[float]) -> None:
    assert [rate_factor(recipe(**values), step, 6) for step in range(6)] == pytest.approx(expected)


def test_the_rate_reaches_the_optimiser(eight_scenes: View, tmp_path: Path) -> None:
    trained = train(eight_scenes, tmp_path, schedule="step", lr=2e-3, epochs=3)
    assert [group["lr"] for group in trained.trainer.optimizer.param_groups] == pytest.approx([2e-4])


@pytest.mark.parametrize("name", ["unet-small", "maskattn-unet-small"])
def test_one_seed_gives_the_same_bits_twice(name: str, eight_scenes: View, tmp_path: Path) -> None:
    first, second = (train(eight_scenes, tmp_path, 3, name) for _ in range(2))
    assert first.history == second.history
    state = second.model.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in first.model.state_dict().items())


def test_another_seed_gives_another_network(eight_scenes: View, tmp_path: Path) -> None:
    first, second = (train(eight_scenes, tmp_path, seed) for seed in (0, 1))
    assert first.history != second.history
    state = second.model.state_dict()
    assert any(not torch.equal(value, state[key]) for key, value in first.model.state_dict().items())


def test_what_ran_before_leaves_the_result_alone(eight_scenes: View, tmp_path: Path) -> None:
    """The sampling of the loss draws from the epoch's own seed."""
    models = []
    for noise in (1, 1000):
        torch.manual_seed(0)
        model = build("unet-small", eight_scenes.categories, eight_scenes.size)
        torch.rand(noise)
        Trainer(model, eight_scenes, recipe(), 0, mixed=False).train(tmp_path / str(noise), lambda row: None)
        models.append(model.state_dict())
    assert all(torch.equal(value, models[1][key]) for key, value in models[0].items())


def test_the_loss_falls(eight_scenes: View, tmp_path: Path) -> None:
    rows = train(eight_scenes, tmp_path, epochs=12, augmentation=None).rows
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
    assert rows[-1]["terms"]["cross_entropy"] < rows[0]["terms"]["cross_entropy"]


def test_history_has_a_line_an_epoch_and_no_times(eight_scenes: View, tmp_path: Path) -> None:
    rows = train(eight_scenes, tmp_path, epochs=3).rows
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 2), (2, 4), (3, 6)]
    for row in rows:
        assert set(row) == {"epoch", "step", "loss", "terms"}
        assert set(row["terms"]) == {"cross_entropy", "instance_contrastive", "instance_classification"}
        assert row["loss"] == pytest.approx(sum(row["terms"].values()))
        assert all(math.isfinite(value) for value in row["terms"].values())


def test_progress_counts_steps_and_marks_the_end_of_each_epoch(eight_scenes: View, tmp_path: Path) -> None:
    reports = train(eight_scenes, tmp_path).reports
    assert [(row["epoch"], row["step"], row["epoch_end"]) for row in reports] == [
        (1, 1, False),
        (1, 2, True),
        (2, 3, False),
        (2, 4, True),
    ]
    assert all(row["steps"] == 4 and row["epochs"] == 2 and row["images_per_s"] > 0 for row in reports)
    assert reports[-1]["left_s"] == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_with_its_step_and_parts(
    bad: float, eight_scenes: View, tmp_path: Path
) -> None:
    model = Turning(eight_scenes, bad)
    trainer = Trainer(model, eight_scenes, recipe(), 0, mixed=False)
    with pytest.raises(DivergedError, match=rf"step 3 of 4: .*'good': .*'other': {bad}"):
        trainer.train(tmp_path / "history.jsonl", lambda row: None)
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 1
    assert bool(model.weight.isfinite().all())


def test_fewer_images_than_a_batch_make_one_step_an_epoch(eight_scenes: View, tmp_path: Path) -> None:
    trained = train(eight_scenes, tmp_path, batch_size=14)
    assert [row["step"] for row in trained.rows] == [1, 2]
    assert trained.trainer.images_per_s == trained.reports[-1]["images_per_s"]


def test_a_last_batch_that_is_not_full_is_dropped(eight_scenes: View, tmp_path: Path) -> None:
    assert [row["step"] for row in train(eight_scenes, tmp_path, batch_size=3).rows] == [2, 4]


def test_clipping_bounds_the_gradient(eight_scenes: View, tmp_path: Path) -> None:
    trained = train(eight_scenes, tmp_path, clip_norm=0.01)
    norms = [p.grad.norm() for p in trained.model.parameters() if p.grad is not None]
    assert float(torch.stack(norms).norm()) <= 0.01 + 1e-6


def test_a_floor_is_fitted_on_every_image_without_augmentation(eight_scenes: View) -> None:
    model = build("majority", eight_scenes.categories, eight_scenes.size)
    fit_floor(model, eight_scenes, recipe(batch_size=3, augmentation=None))
    assert isinstance(model, Floor)
    labelled = sum(int((segments > 0).sum()) for segments in eight_scenes.segments)
    assert int(model.counts.sum()) == labelled

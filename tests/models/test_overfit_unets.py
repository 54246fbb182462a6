"""The small U-Nets learn four drawn images by heart: losses, grouping, read-out and metrics fit together."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.data.batches import batches
from bench.data.native.scenes import Scenes
from bench.data.prepared import prepare
from bench.data.view import View
from bench.predict import evaluate
from models.registry import build

STEPS_A_CHECK = 50


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "lr", "max_steps"),
    [
        ("unet-small", 4e-3, 500),
        ("maskattn-unet-small", 3e-3, 500),
        ("self-attention-unet-small", 3e-3, 600),
    ],
)
def test_four_images_are_learnt_by_heart(name: str, lr: float, max_steps: int, tmp_path: Path) -> None:
    data = View(prepare(Scenes(), "train", (64, 64), 4, tmp_path))
    batch = next(batches(data, 4, seed=0, epoch=0, augmentation=None, shuffle=False, drop_last=False))
    torch.manual_seed(0)
    model = build(name, data.categories, (64, 64))
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    reached = []
    for step in range(1, max_steps + 1):
        model.train()
        optimizer.zero_grad()
        torch.stack(list(model.loss(model(batch.images), batch).values())).sum().backward()
        optimizer.step()
        if step % STEPS_A_CHECK == 0:
            metrics = evaluate(model, data, lambda done, of: None).metrics()
            reached.append((step, float(metrics["miou"] or 0), float(metrics["pq"] or 0)))
            if reached[-1][1] >= 0.9 and reached[-1][2] >= 0.8:
                return
    pytest.fail(f"(step, mIoU, PQ): {reached}")

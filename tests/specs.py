"""The spec of a run that nothing stands behind: for tests of what is kept on disk."""

from __future__ import annotations

from bench.spec import RunSpec


def spec_of_size(size: str) -> RunSpec:
    """size: such as '24x30', height x width."""
    return RunSpec.model_validate(
        {
            "model": "unet",
            "options": {"width": 64},
            "task": "panoptic",
            "dataset": "scenes",
            "size": size,
            "budget": {},
            "train_hash": "a",
            "val_hash": "b",
            "train_pixels": "c",
            "val_pixels": "d",
            "recipe": {"name": "r", "source": "s", "lr": 0.1, "weight_decay": 0, "batch_size": 1},
            "precision": "mixed",
            "profile": "smoke",
            "seed": 0,
        }
    )

"""Calibrations that nothing was measured for. Test data."""

from __future__ import annotations

from typing import Any

from bench.estimate.calibration import Calibration, Hardware, Images, Seconds, Setting, Steps
from bench.spec import RunSpec
from models.categories import Categories

HERE = Hardware(device="cpu", processor="Some(R) CPU @ 2.1 GHz", threads=2)
GPU = Hardware(device="NVIDIA H100 80GB HBM3", processor="Other CPU", threads=16)


def calibration(spec: RunSpec, categories: Categories, hardware: Hardware = HERE, **changes: Any) -> Calibration:
    values: dict[str, Any] = {
        "setting": Setting.of(spec, categories),
        "hardware": hardware,
        "steps": Steps(warm_up=3, measured=20, median_s=4.0, low_s=3.0, high_s=5.0),
        "seconds": Seconds(
            train_image=0.5, untrained_image=0.25, trained_image=0.125, other_sizes_image=None, fixed=10.0
        ),
        "images": Images(dataset="scenes", train=184, val=16, segments_per_image=9.9),
        "flops": 7e9,
        "load": 0.1,
        "cores": 2,
        "versions": {"torch": "2.15.0"},
        "git_commit": None,
        "date": "2026-11-23T17:09:46+00:00",
    }
    return Calibration.model_validate(values | changes)

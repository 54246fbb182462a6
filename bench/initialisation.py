"""The network that a run begins with: built from the run's own seed, and built again to be set beside the trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from bench.data.view import View
from bench.measure.level_statistics import Maps, longrange_of
from bench.measure.levels import IMAGES, level_maps
from bench.measure.longrange_record import LongRange
from bench.predict import images_of
from bench.spec import RunSpec
from bench.train.seeds import axis_seed
from models.categories import Categories
from models.interface import SegmentationModel
from models.registry import build


def initialised(
    spec: RunSpec, categories: Categories, device: str, weights: Mapping[str, Any] | None = None
) -> SegmentationModel:
    """`weights`: files behind digests in the spec, by option."""
    torch.manual_seed(axis_seed(spec.seed, "initialisation"))
    model = build(spec.model, categories, spec.size, spec.task, **{**spec.options, **(weights or {})}).to(device)
    return model.to(memory_format=torch.channels_last)


def longrange(
    spec: RunSpec, data: View, trained: Maps, device: str, weights: Mapping[str, Any] | None = None
) -> LongRange:
    """The statistics of the trained network's maps, beside those of the network before training, of the same images."""
    model = initialised(spec, data.categories, device, weights).eval()
    with torch.no_grad(), level_maps(model) as untrained:
        model(images_of(data, 0, IMAGES, device))
    return longrange_of(trained, untrained, spec.seed)

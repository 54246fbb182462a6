"""Fabricated records, written to disk by the store's own functions. Every number in here is test data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.files import write_json
from bench.record import Metrics, Module, Network, Record, Scores, Status
from bench.report.drawing.figures import Chart
from bench.spec import Budget, Recipe, RunSpec, Suite
from bench.store import Store
from models.registry import find, full_options

EPOCHS = {"full": 100, "paper": 1000, "quick": 6}  # as in bench/profiles
TRAIN_IMAGES = {"coco": 118_287, "ade20k": 20_210, "cityscapes": 2975}
VAL_IMAGES = {"coco": 5000, "ade20k": 2000, "cityscapes": 500}
SUITE = Path(__file__).parents[2] / "bench" / "suites" / "table4.yaml"
RECIPE = {"name": "test", "source": "test data", "lr": 0.001, "weight_decay": 0.0, "batch_size": 8, "epochs": 2}

NETWORKS = {  # test data: mIoU, PQ, AP, FLOPs, parameters
    "unet": (0.338, 0.201, 0.138, 12.1e9, 31_040_000),
    "detr-r50": (0.347, 0.253, 0.167, 7.87e9, 42_900_000),
    "detr-r101": (0.353, 0.274, 0.188, 9.08e9, 61_800_000),
    "mask2former-r50": (0.381, 0.314, 0.273, 5.6e9, 44_000_000),
    "mask2former-r101": (0.392, 0.317, 0.281, 6.8e9, 63_000_000),
    "maskattn-unet": (0.391, 0.357, 0.315, 68.1e9, 95_300_000),
}


@dataclass(frozen=True)
class Lack:
    what: str
    how: str


def scores(miou: float | None, pq: float | None, ap: float | None, images: int) -> Scores:
    names = (*Scores.model_fields,)
    values: dict[str, Any] = dict.fromkeys(names)
    values |= {"miou": miou, "pq": pq, "ap": ap, "ap_classes": 3, "instance_truth": "things", "images": images}
    return Scores(**values)


def spec_of(
    model: str = "unet",
    *,
    dataset: str = "scenes",
    seed: int = 0,
    profile: str = "smoke",
    size: tuple[int, int] | None = None,
    val_hash: str = "ab" * 32,
    **changes: Any,
) -> RunSpec:
    small, capped = profile == "smoke", profile in ("smoke", "quick")
    values = {
        "model": model,
        "options": full_options(model, {}),
        "task": "panoptic",
        "dataset": dataset,
        "size": size or ((64, 64) if capped else (128, 128)),
        "budget": Budget(train_images=64, val_images=32) if small else Budget(train_images=None, val_images=None),
        "train_hash": "cd" * 32,
        "val_hash": val_hash,
        "train_pixels": "ef" * 32,
        "val_pixels": "01" * 32,
        "recipe": Recipe(**(RECIPE | {"epochs": EPOCHS.get(profile, 2)})),
        "precision": "mixed",
        "profile": profile,
        "seed": seed,
    }
    return RunSpec(**(values | changes))


@dataclass(frozen=True)
class Fake:
    """Writes finished runs into a store."""

    store: Store

    def done(
        self,
        model: str = "unet",
        miou: float | None = 0.4,
        pq: float | None = 0.3,
        ap: float | None = 0.2,
        *,
        flops: float | None = 10e9,
        params: int = 31_000_000,
        images: int | None = None,
        train_images: int | None = None,
        untrained: float | None = 0.01,
        attempt: dict[str, Any] | None = None,
        uncounted: dict[str, int] | None = None,
        losses: Sequence[float] = (),
        terms: dict[str, float] | None = None,
        protocols: dict[str, dict[str, float]] | None = None,
        at_sizes: dict[str, float] | None = None,
        **of_spec: Any,
    ) -> Record:
        """A finished run. A floor has neither FLOPs nor an untrained twin. `terms`: of the loss, alike in each epoch;
        `at_sizes`: mIoU at further sizes.
        """
        spec = spec_of(model, **of_spec)
        floor = find(model).is_floor
        images = images if images is not None else VAL_IMAGES.get(spec.dataset, 32)
        number, folder = self.store.begin(spec), self.store.folder(spec.run_id)
        metrics = Metrics(
            protocol=spec.protocol,
            train_images=train_images if train_images is not None else TRAIN_IMAGES.get(spec.dataset, 64),
            final=scores(miou, pq, ap, images),
            untrained=None if floor or untrained is None else scores(untrained, 0.0, None, images),
            classes=(),
            protocols=protocols,
            at_sizes=at_sizes and {size: scores(value, None, None, images) for size, value in at_sizes.items()},
        )
        network = Network(
            model=model,
            input=f"1x3x{spec.size[0]}x{spec.size[1]}",
            classes=11,
            parameters_total=0 if floor else params,
            parameters_trainable=0 if floor else params,
            flops=None if floor else flops,
            uncounted=uncounted or {},
            modules=(Module(name="stem", kind="Conv2d", parameters=9, flops=1.0),),
        )
        write_json(folder / "metrics.json", metrics.model_dump(mode="json"))
        write_json(folder / "network.json", network.model_dump(mode="json"))
        rows = [
            {"epoch": n, "step": n, "loss": loss, "terms": terms or {"all": loss}} for n, loss in enumerate(losses, 1)
        ]
        (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return self._end(spec, number, attempt, "done", None)

    def ended(self, model: str, state: str, reason: str, **of_spec: Any) -> Record:
        spec = spec_of(model, **of_spec)
        return self._end(spec, self.store.begin(spec), None, state, reason)

    def _end(self, spec: RunSpec, number: int, attempt: Any, state: Any, reason: str | None) -> Record:
        given = {"device": "cpu", "seconds_train": 5.0, "seconds_evaluate": 1.5} if attempt is None else attempt
        self.store.write_attempt(spec.run_id, number, given)
        self.store.finish(Status(run_id=spec.run_id, state=state, attempt=number, reason=reason))
        return self.store.record(spec.run_id)

    def fill(self, dataset: str, profile: str, seeds: tuple[int, ...] = (0,), **given: Any) -> None:
        """All six networks and both floors on one dataset; seeds differ by half a point."""
        where = {"dataset": dataset, "profile": profile, **given}
        for floor, level in (("majority", 0.02), ("position-prior", 0.05)):
            self.done(floor, level, level / 2, 0.0, **where)
        for model, (miou, pq, ap, flops, params) in NETWORKS.items():
            for seed in seeds:
                shift = 0.005 * seed
                values = (miou + shift, pq + shift, ap - shift)
                self.done(model, *values, flops=flops, params=params, seed=seed, **where)


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(Store(tmp_path / "results"))


@pytest.fixture(scope="session")
def suite() -> Suite:
    return Suite.model_validate(yaml.safe_load(SUITE.read_text()))


@pytest.fixture
def lack() -> type[Lack]:
    return Lack


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of anything but charts, which take long to draw."""
    monkeypatch.setattr(Chart, "draw", lambda _chart: {"svg": b"<svg/>", "png": b"png", "pdf": b"pdf"})

"""Finished runs on disk whose metrics follow from an images.parquet that nothing was evaluated for. Test data."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.evaluate.recompute import recompute
from bench.files import write_json
from bench.record import ClassScores, Metrics, Network, Record, Scores, Status
from bench.spec import RunSpec
from bench.store import Store
from tests.evaluate.synthetic import Split, draw_run
from tests.specs import spec_of_size

IS_THING = (True, True, True, False)


def finished(
    store: Store,
    skill: float,
    *,
    chance: int = 0,
    split: int = 0,
    images: int = 40,
    instance_truth: str = "panoptic things",
    **of_spec: Any,
) -> Record:
    """A run of the split number `split`; `chance`: of what it predicts."""
    spec = RunSpec.model_validate(
        spec_of_size("64x64").model_dump() | {"val_hash": f"{split:02d}" * 32} | of_spec
    )  # fmt: skip
    truth = Split.draw(images, len(IS_THING), sum(IS_THING), np.random.default_rng(split), per_image=3)
    folder, number = store.folder(spec.run_id), store.begin(spec)
    draw_run(truth, skill, 5, np.random.default_rng(100 + chance)).write(folder / "images.parquet")
    found = recompute(folder / "images.parquet", IS_THING)
    metrics = Metrics(
        protocol=spec.protocol,
        train_images=64,
        final=Scores.model_validate(found.totals | {"instance_truth": instance_truth}),
        untrained=None,
        classes=tuple(
            ClassScores.model_validate({"id": k, "name": f"class {k}", "isthing": thing, **numbers})
            for k, (thing, numbers) in enumerate(zip(IS_THING, found.classes, strict=True))
        ),
    )
    write_json(folder / "metrics.json", metrics.model_dump(mode="json"))
    network = Network(
        model=spec.model, input="1x3x64x64", classes=4, parameters_total=9, parameters_trainable=9, flops=1e9
    )
    write_json(folder / "network.json", network.model_dump(mode="json"))
    (folder / "history.jsonl").write_text("")
    store.write_attempt(spec.run_id, number, {"device": "cpu", "seconds_total": 1.0})
    store.finish(Status(run_id=spec.run_id, state="done", attempt=number))
    return store.record(spec.run_id)

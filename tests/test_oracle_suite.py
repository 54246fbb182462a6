"""`--suite oracle` from the command line to the report: nothing is trained, the truth is read at its native size."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.cell import Cell
from bench.data.catalog import DataRoots
from bench.data.native.scenes import Scenes
from bench.data.prepared import load
from bench.named import load_named
from bench.plan import Choice, make_plan
from bench.run import Job, execute
from bench.spec import NO_TRAINING, Profile, Suite
from bench.store import Store

PROFILE = (
    "name: few\nsummary: s\nlabel: 'few: test data'\nreproduction: false\nepochs: 1\nmax_side: 32\nval_images: 3\n"
)


def bench(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *arguments]
    environment = {**os.environ, "BENCH_DATA_ROOT": "", "BENCH_PREPARED": ""}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return done


def oracle_cells(root: Path, **of_profile: object) -> tuple[list[Cell], Store]:
    profile = load_named("profile", "smoke", Profile).model_copy(update={"val_images": 3, **of_profile})
    suite, store = load_named("suite", "oracle", Suite), Store(root / "results")
    choice = Choice(suite, profile, DataRoots(), root / "prepared", datasets=("scenes",))
    return list(make_plan(choice, store, lambda *_: None).cells), store


def test_from_the_command_to_the_report(tmp_path: Path) -> None:
    (tmp_path / "few.yaml").write_text(PROFILE)
    words = ["--suite", "oracle", "--profile", "./few.yaml", "--datasets", "scenes"]
    said = bench("run", *words, cwd=tmp_path).stdout
    assert "9 done" not in said  # 128 and 64 are both 32 under the cap, 48x64 is 24x32
    assert "6 done" in said
    assert sorted(path.name.split("-")[0] for path in (tmp_path / "prepared" / "scenes").iterdir()) == ["val", "val"]
    records = Store(tmp_path / "results").records()
    assert {record.status.state for record in records} == {"done"}
    for record in records:
        assert record.metrics is not None
        assert record.network is not None
        assert record.metrics.protocol == record.spec.protocol == "native"
        assert record.metrics.protocols is not None
        paper = record.metrics.protocols["paper-text"]
        assert paper["ap_iou50"] == record.metrics.final.ap50
        assert (paper["ap_iou100"] or 0.0) < 0.02 < (paper["ap_iou30"] or 0.0)  # no mask survives a resize whole
        assert (record.metrics.train_images, record.metrics.untrained, record.metrics.final.images) == (0, None, 3)
        assert (record.network.parameters_total, record.network.flops) == (0, None)
        assert record.attempt["evaluate_images_per_s"] > 0
        names = {path.name for path in record.folder.iterdir()} - {".lock"}
        assert names == {
            "spec.json",
            "status.json",
            "metrics.json",
            "network.json",
            "images.parquet",
            "samples",
            "attempts",
        }
        first, *_ = sorted((record.folder / "samples").glob("0-val-*.png"))
        assert Image.open(first).size == (3 * 128, 128)
    assert (
        len({record.metrics.vanished.truth_hash for record in records if record.metrics and record.metrics.vanished})
        == 1
    )
    assert "nothing to do" in bench("run", *words, cwd=tmp_path).stdout
    bench("report", cwd=tmp_path)
    text = (tmp_path / "reports" / "oracle.md").read_text()
    assert "| scenes, 3 images: stride-4 oracle |" in text
    assert "not a reproduction" in text
    (figure,) = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert (tmp_path / "reports" / figure).is_file()


def test_the_plan_prepares_no_training_split_and_an_id_is_stable(tmp_path: Path) -> None:
    cells, _ = oracle_cells(tmp_path)
    again, _ = oracle_cells(tmp_path)
    assert [cell.spec.run_id for cell in cells] == [cell.spec.run_id for cell in again]
    assert not any(cell.spec.is_pending for cell in cells)
    assert {path.name.split("-")[0] for path in (tmp_path / "prepared" / "scenes").iterdir()} == {"val"}
    assert {(c.spec.train_hash, c.spec.train_pixels, c.train, c.spec.recipe.name) for c in cells} == {
        (NO_TRAINING, NO_TRAINING, None, "none")
    }
    assert {c.spec.budget.train_images for c in cells} == {None}  # another training budget is no other run
    assert {cell.state for cell in cells} == {"missing"}


def test_networks_and_oracles_may_share_a_suite(tmp_path: Path) -> None:
    suite = load_named("suite", "oracle", Suite).model_copy(update={"sizes": ((32, 32),)})
    profile = load_named("profile", "smoke", Profile).model_copy(update={"train_images": 2, "val_images": 2})
    choice = Choice(
        suite, profile, DataRoots(), tmp_path, models=("unet-small", "oracle-nearest"), datasets=("scenes",)
    )
    network, oracle = make_plan(choice, Store(tmp_path / "results"), lambda *_: None).cells
    assert (network.spec.protocol, oracle.spec.protocol) == ("standard", "native")
    assert network.train is not None
    assert oracle.train is None
    assert network.spec.val_hash == oracle.spec.val_hash


def job(cell: Cell, store: Store) -> Job:
    assert cell.val is not None
    return Job(cell.spec, store.root, cell.train, cell.val, "cpu", 1, keep_weights=True, roots=cell.roots)


def test_two_equal_runs_leave_equal_records(tmp_path: Path) -> None:
    found = []
    for name in ("a", "b"):
        cells, _ = oracle_cells(tmp_path)
        store = Store(tmp_path / name)
        execute(job(cells[1], store), lambda _: None)
        folder = store.folder(cells[1].spec.run_id)
        found.append({f: (folder / f).read_bytes() for f in ("metrics.json", "network.json", "images.parquet")})
        assert not (folder / "checkpoint").exists()
    assert found[0] == found[1]


def test_a_nearest_oracle_loses_what_the_preparation_lost(tmp_path: Path) -> None:
    """The rule is the same, so their counts are; the preparation counts crowds too, of which these images have none."""
    cells, store = oracle_cells(tmp_path, max_side=16, val_images=12)
    nearest = next(cell for cell in cells if cell.spec.model == "oracle-nearest" and cell.spec.size == (16, 16))
    assert nearest.val is not None
    execute(job(nearest, store), lambda _: None)
    metrics = store.record(nearest.spec.run_id).metrics
    assert metrics is not None
    assert metrics.vanished is not None
    prepared = load(nearest.val)
    rows = [
        segment for image in range(len(prepared)) for segment in prepared.table(image).values() if not segment.is_crowd
    ]
    left = sum(loss.total - loss.vanished for loss in (metrics.vanished.things, metrics.vanished.stuff))
    assert left == len(rows)
    assert metrics.vanished.things.vanished > 0


def test_annotations_that_changed_since_the_preparation_fail_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, store = oracle_cells(tmp_path)
    monkeypatch.setattr(Scenes, "fingerprint", lambda scenes, split: "0" * 64)
    status = execute(job(cells[0], store), lambda _: None)
    assert status is not None
    assert status.state == "failed"
    assert "have changed since they were prepared; run the suite again" in str(status.reason)


@pytest.mark.parametrize("way", ["nearest", "bilinear"])
def test_on_real_coco_through_the_whole_program(tmp_path: Path, shared_data: Path, way: str) -> None:
    suite = load_named("suite", "oracle", Suite).model_copy(update={"sizes": ((128, 128),)})
    profile = load_named("profile", "full", Profile)
    roots, store = DataRoots({"coco": shared_data / "coco_panoptic"}), Store(tmp_path / "results")
    choice = Choice(suite, profile, roots, tmp_path / "prepared", models=(f"oracle-{way}",))
    (cell,) = make_plan(choice, store, lambda *_: None).cells
    execute(job(cell, store), lambda _: None)
    metrics = store.record(cell.spec.run_id).metrics
    assert metrics is not None
    assert metrics.final.pq == pytest.approx({"nearest": 0.89, "bilinear": 0.95}[way], abs=0.01)
    (first,) = (store.folder(cell.spec.run_id) / "samples").glob("0-*.png")
    picture = np.asarray(Image.open(first))
    assert max(picture.shape[0], picture.shape[1] // 3) == 320

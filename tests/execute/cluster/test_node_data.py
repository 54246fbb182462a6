"""Prepared data on a node that does not see the driver's."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.cell import Cell
from bench.data.catalog import DataRoots
from bench.data.prepared import load
from bench.errors import UserError
from bench.execute.cluster.node_data import absolute, absolute_roots, roots_here, with_data
from bench.files import sha256_of
from bench.plan import Choice, make_plan
from bench.spec import Profile, Suite
from bench.store import Store
from bench.tune import Search, search_plan

PROFILE = Profile(
    name="tiny", summary="s", label="l", reproduction=False, epochs=1, max_side=32, train_images=12, val_images=2
)
VALUES = {"name": "t", "title": "t", "task": "panoptic", "models": ["unet-small"], "datasets": ["scenes"]}


def cells_of(tmp_path: Path, tuned: bool = False, **changes: object) -> list[Cell]:
    suite = Suite.model_validate({**VALUES, "sizes": ["32x32"], "floors": False, **changes})
    choice, store = Choice(suite, PROFILE, DataRoots(), tmp_path / "prepared"), Store(tmp_path / "results")
    plan = make_plan(choice, store, lambda what, done, of: None)
    return list((search_plan(plan, store, Search()) if tuned else plan).cells)


def test_what_is_seen_is_used(tmp_path: Path) -> None:
    (cell,) = cells_of(tmp_path)
    assert with_data(cell, DataRoots(), tmp_path / "own", 1) == cell
    assert not (tmp_path / "own").exists()


def test_what_is_not_seen_is_made_of_the_nodes_own_files_and_equal(tmp_path: Path) -> None:
    cells = [
        *cells_of(tmp_path, train_percent=[25, 100]),
        *cells_of(tmp_path, sizes=["32x32", "16x16"], across=True),
        *cells_of(tmp_path, tuned=True),
    ]
    assert any(cell.others for cell in cells)
    (tmp_path / "prepared").rename(tmp_path / "away")
    for cell in cells:
        found = with_data(cell, DataRoots(), tmp_path / "own", 1)
        planned, made = ((one.train, one.val, *one.others) for one in (cell, found))
        for before, after in zip(planned, made, strict=True):
            assert before is not None
            assert after == tmp_path / "own" / before.relative_to(tmp_path / "prepared")
            away = load(tmp_path / "away" / before.relative_to(tmp_path / "prepared"))
            assert np.array_equal(load(after).images, away.images)
            assert np.array_equal(load(after).segments, away.segments)
        assert (found.val == found.train) == bool(cell.spec.budget.held_out)


@pytest.mark.parametrize("field", ["train_hash", "val_hash", "train_pixels", "val_pixels"])
def test_other_images_are_refused(tmp_path: Path, field: str) -> None:
    (cell,) = cells_of(tmp_path)
    wrong = replace(cell, spec=cell.spec.model_copy(update={field: "0" * 64}))
    split = field.partition("_")[0]
    with pytest.raises(UserError, match=f"is not the {split} split that was planned") as refused:
        with_data(wrong, DataRoots(), tmp_path / "own", 1)
    assert "\n" not in str(refused.value)


def test_damaged_arrays_are_refused(tmp_path: Path) -> None:
    (cell,) = cells_of(tmp_path)
    assert cell.train is not None
    with (cell.train / "images.npy").open("rb+") as file:
        file.seek(-1, 2)
        file.write(b"\x07")
    with pytest.raises(UserError, match="is damaged"):
        with_data(cell, DataRoots(), tmp_path / "own", 1)


def test_a_dataset_that_the_node_does_not_have_is_one_line(tmp_path: Path) -> None:
    (cell,) = cells_of(tmp_path)
    shutil.rmtree(tmp_path / "prepared")
    for dataset in ("coco", "mine"):
        other = replace(cell, spec=cell.spec.model_copy(update={"dataset": dataset}))
        with pytest.raises(UserError, match=f"dataset {dataset} is not there: ") as refused:
            with_data(other, DataRoots({"mine": tmp_path / "absent"}), tmp_path / "own", 1)
        assert "\n" not in str(refused.value)


def test_relative_folders_mean_the_same_where_a_node_works_elsewhere(tmp_path: Path, monkeypatch: object) -> None:
    (cell,) = cells_of(tmp_path)
    assert cell.train is not None
    assert cell.val is not None
    monkeypatch.chdir(tmp_path)  # type: ignore[attr-defined]
    near = replace(cell, train=cell.train.relative_to(tmp_path), val=cell.val.relative_to(tmp_path))
    assert absolute(near) == cell
    assert absolute_roots(DataRoots({"a": Path("a")}, Path("b"))) == DataRoots({"a": tmp_path / "a"}, tmp_path / "b")


def test_roots_are_the_drivers_where_they_are_here_else_the_nodes_own(tmp_path: Path, monkeypatch: object) -> None:
    for name in ("own", "driver", "coco"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("BENCH_DATA_ROOT", str(tmp_path / "own"))  # type: ignore[attr-defined]
    both = {"coco": tmp_path / "coco", "mine": tmp_path / "absent"}
    assert roots_here(DataRoots(both, tmp_path / "driver")) == DataRoots(
        {"coco": tmp_path / "coco"}, tmp_path / "driver"
    )
    assert roots_here(DataRoots(both, tmp_path / "absent")).root == tmp_path / "own"
    monkeypatch.delenv("BENCH_DATA_ROOT")  # type: ignore[attr-defined]
    assert roots_here(DataRoots({}, tmp_path / "absent")).root is None


def test_weights_that_are_not_there_or_are_others_are_refused(tmp_path: Path) -> None:
    (cell,) = cells_of(tmp_path)
    path = tmp_path / "weights"
    path.write_bytes(b"weights")
    options = {**cell.spec.options, "backbone_weights": f"sha256:{sha256_of(path)}"}
    cell = replace(
        cell,
        spec=cell.spec.model_copy(update={"options": options}),
        weights={"backbone_weights": str(path)},
    )
    assert with_data(cell, DataRoots(), tmp_path / "own", 1).weights == cell.weights
    path.write_bytes(b"others")
    with pytest.raises(UserError, match="backbone_weights: the file at "):
        with_data(cell, DataRoots(), tmp_path / "own", 1)

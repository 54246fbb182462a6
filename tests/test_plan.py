"""Suite x profile x data -> runs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

import bench.plan
from bench.data.catalog import DataRoots
from bench.data.native.scenes import Scenes
from bench.data.scene import Scene
from bench.errors import UserError
from bench.named import load_named
from bench.plan import Choice, Plan, make_plan
from bench.record import Status
from bench.spec import ModelEntry, Profile, Suite
from bench.store import Store

PROFILE = Profile(
    name="tiny", summary="s", label="l", reproduction=False, epochs=1, max_side=32, train_images=3, val_images=2
)


def suite(**changes: object) -> Suite:
    values: dict[str, object] = {
        "name": "t",
        "title": "t",
        "task": "panoptic",
        "sizes": ["64x64"],
        "models": ["unet-small"],
        "datasets": ["scenes"],
        "seeds": [0, 1],
    }
    return Suite.model_validate({**values, **changes})


def plan_of(tmp_path: Path, choice_suite: Suite, prepare: bool = False, **choice: object) -> Plan:
    roots = DataRoots()
    chosen = Choice(choice_suite, choice.pop("profile", PROFILE), roots, tmp_path / "prepared", **choice)  # type: ignore[arg-type]
    return make_plan(chosen, Store(tmp_path / "results"), (lambda what, done, of: None) if prepare else None)


def rows(plan: Plan) -> list[tuple[str, str, int]]:
    return [(cell.spec.model, cell.spec.dataset, cell.spec.seed) for cell in plan.cells]


def test_floors_come_first_and_once_networks_once_a_seed(tmp_path: Path) -> None:
    assert rows(plan_of(tmp_path, suite())) == [
        ("majority", "scenes", 0),
        ("position-prior", "scenes", 0),
        ("unet-small", "scenes", 0),
        ("unet-small", "scenes", 1),
    ]


def test_runs_are_pending_then_missing_then_done(tmp_path: Path) -> None:
    assert {cell.state for cell in plan_of(tmp_path, suite()).cells} == {"pending"}
    plan = plan_of(tmp_path, suite(), prepare=True)
    assert {cell.state for cell in plan.cells} == {"missing"}
    assert plan.cells == plan_of(tmp_path, suite()).cells  # what is prepared is found again
    store, spec = Store(tmp_path / "results"), plan.cells[2].spec
    number = store.begin(spec)
    store.write_attempt(spec.run_id, number, {"seconds_total": 12.5})
    store.finish(Status(run_id=spec.run_id, state="failed", attempt=number, reason="test"))
    assert [cell.state for cell in plan_of(tmp_path, suite()).cells] == ["missing", "missing", "failed", "missing"]


def test_an_absent_dataset_is_named_and_scenes_runs_only_where_nothing_else_is_there(tmp_path: Path) -> None:
    alone = plan_of(tmp_path, suite(datasets=["coco"]))
    assert sorted(alone.missing) == ["coco"]
    assert {cell.spec.dataset for cell in alone.cells} == {"scenes"}
    asked = plan_of(tmp_path, suite(datasets=["coco"]), datasets=("coco",))
    assert asked.cells == ()


def test_the_users_models_and_seeds_replace_the_suites(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, suite(floors=False), models=("detr-small",), seeds=(7,))
    assert rows(plan) == [("detr-small", "scenes", 7)]


def test_a_seed_cap_takes_the_first(tmp_path: Path) -> None:
    profile = PROFILE.model_copy(update={"max_seeds": 1})
    assert rows(plan_of(tmp_path, suite(floors=False), profile=profile)) == [("unet-small", "scenes", 0)]


def test_every_option_stands_in_the_spec_and_weights_by_their_content(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    file.write_bytes(b"abc")
    entry = ModelEntry(name="detr-small", options={"backbone_weights": str(file)})
    (cell,) = plan_of(tmp_path, suite(models=[entry.model_dump()], floors=False, seeds=[0])).cells
    assert cell.spec.options == {"backbone_weights": "sha256:" + hashlib.sha256(b"abc").hexdigest()}
    assert cell.weights == {"backbone_weights": str(file)}
    assert str(tmp_path) not in cell.spec.canonical()
    assert cell.spec.recipe.name == "detr"


def test_absent_weights_are_the_users_mistake(tmp_path: Path) -> None:
    models = [{"name": "detr-small", "options": {"backbone_weights": "/nowhere.pth"}}]
    with pytest.raises(UserError, match="no file at /nowhere"):
        plan_of(tmp_path, suite(models=models))


def test_a_profile_decides_the_backbone_weights_and_the_epochs(tmp_path: Path) -> None:
    profile = PROFILE.model_copy(update={"backbone_weights": "imagenet", "epochs": 9})
    cells = plan_of(tmp_path, suite(models=["detr-small", "unet-small"], floors=False), profile=profile).cells
    assert cells[0].spec.options == {"backbone_weights": "imagenet"}
    assert cells[-1].spec.options == {"width": 16, "grouping": "greedy", "contrastive_weight": 0.5}
    assert {cell.spec.recipe.epochs for cell in cells} == {9}


@pytest.mark.parametrize("name", ["smoke", "quick", "full", "paper"])
def test_every_profile_loads_under_its_name(name: str) -> None:
    assert load_named("profile", name, Profile).name == name


def test_only_full_and_paper_may_stand_beside_the_paper() -> None:
    profiles = [load_named("profile", name, Profile) for name in ("smoke", "quick", "full", "paper")]
    assert [profile.reproduction for profile in profiles] == [False, False, True, True]


def test_a_network_is_skipped_with_a_reason_where_it_cannot_take_the_size(tmp_path: Path) -> None:
    models = [
        "maskattn-unet-released",
        "unet-small",
        {"name": "maskattn-unet-released", "options": {"fixed_layernorm": False}},
    ]
    made = plan_of(tmp_path, suite(models=models, sizes=["24x24", "32x32"], floors=False, seeds=[0]))
    assert [(cell.spec.model, cell.spec.size) for cell in made.cells] == [
        ("maskattn-unet-released", (24, 24)),
        ("unet-small", (32, 32)),
        ("maskattn-unet-released", (32, 32)),
    ]
    assert made.skipped == (
        "maskattn-unet-released takes 128x128 images alone, not 24x24, while fixed_layernorm is on",
        "maskattn-unet-released takes 128x128 images alone, not 32x32, while fixed_layernorm is on",
        "unet-small takes heights and widths that are multiples of 16, not 24x24",
    )


def test_shares_of_the_training_split_are_runs_of_their_own(tmp_path: Path) -> None:
    profile = PROFILE.model_copy(update={"train_images": 20})
    made = plan_of(tmp_path, suite(train_percent=[10, 100], seeds=[0], floors=False), True, profile=profile)
    few, whole = (cell.spec for cell in made.cells)
    assert (few.budget.train_percent, whole.budget.train_percent) == (10, 100)
    assert few.train_hash != whole.train_hash
    assert few.val_hash == whole.val_hash
    assert few.run_id != whole.run_id


def test_a_suite_may_name_a_recipe(tmp_path: Path) -> None:
    models = [{"name": "unet-small", "recipe": "released-coco-panoptic"}, "unet-small"]
    made = plan_of(tmp_path, suite(models=models, floors=False, seeds=[0]))
    assert [cell.spec.recipe.name for cell in made.cells] == ["released-coco-panoptic", "maskattn-paper"]
    with pytest.raises(UserError, match="did you mean 'released-coco-panoptic'"):
        plan_of(tmp_path, suite(models=[{"name": "unet-small", "recipe": "released-coco-panotic"}]))


def test_the_task_decides_the_u_nets_batch(tmp_path: Path) -> None:
    profile = PROFILE.model_copy(update={"max_batch": None})
    tasks = ("semantic", "instance", "panoptic")
    plans = [plan_of(tmp_path, suite(task=task, floors=False, seeds=[0]), profile=profile) for task in tasks]
    assert [plan.cells[0].spec.recipe.batch_size for plan in plans] == [8, 14, 14]
    assert [plan.cells[0].spec.task for plan in plans] == list(tasks)


def test_a_split_is_read_once_for_all_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[str, str]] = []
    original = Scenes.scene

    def counted(self: Scenes, split: str, id: str, halve: bool = False) -> Scene:
        drawn.append((split, id))
        return original(self, split, id, halve)

    monkeypatch.setattr(Scenes, "scene", counted)
    made = plan_of(tmp_path, suite(sizes=["32x32", "16x16"], seeds=[0], floors=False), prepare=True)
    assert [cell.spec.size for cell in made.cells] == [(32, 32), (16, 16)]
    assert len(drawn) == len(set(drawn)) == 5  # 3 to train, 2 to evaluate


def test_a_file_of_weights_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"weights")
    read: list[Path] = []
    original = bench.plan.sha256_of
    monkeypatch.setattr("bench.plan.sha256_of", lambda path: read.append(path) or original(path))
    models = [{"name": "detr-small", "options": {"backbone_weights": str(weights)}}]
    plan_of(tmp_path, suite(models=models, sizes=["32x32", "16x16"]))
    assert read.count(weights) == 1

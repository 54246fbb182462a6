"""The search over learning rates: who trains on what, what is best, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.cli import main, parser
from bench.data.catalog import DataRoots
from bench.data.native.scenes import Scenes
from bench.data.prepared import load, prepare
from bench.data.preparing.shares import hold_out, share_ids
from bench.data.view import View
from bench.errors import UserError
from bench.files import write_json
from bench.plan import Choice, Plan, make_plan
from bench.record import Metrics, Network, Scores, Status
from bench.spec import Profile, RunSpec, Suite
from bench.store import Store
from bench.tune import FACTORS, HELD_OUT, Search, best_factor, read_factors, search_plan, searched_scores, tuned_plan

IDS = st.lists(st.text(min_size=1, max_size=5), min_size=10, max_size=60, unique=True)
PROFILE = Profile(
    name="tiny", summary="s", label="l", reproduction=False, epochs=2, max_batch=4, train_images=10, val_images=3
)
SUITE: dict[str, Any] = {
    "name": "t",
    "title": "t",
    "task": "panoptic",
    "sizes": ["32x32"],
    "models": ["unet-small", "detr-small"],
    "datasets": ["scenes"],
    "seeds": [4, 5],
}
COMMAND = "python -m bench tune --suite t"


@given(IDS, st.sampled_from([10, 20, 50]))
def test_every_image_is_either_trained_on_or_held_out(ids: list[str], percent: int) -> None:
    rest, held = hold_out(ids, percent)
    assert sorted(rest + held) == sorted(ids)
    assert len(rest) == len(ids) * (100 - percent) // 100
    assert [set(part) for part in hold_out(ids[::-1], percent)] == [set(rest), set(held)]


@given(IDS)
def test_what_is_held_out_is_nested(ids: list[str]) -> None:
    assert set(hold_out(ids, 10)[1]) <= set(hold_out(ids, 20)[1])
    assert set(hold_out(share_ids(ids, 50), 20)[0]) <= set(hold_out(ids, 20)[0])


def test_one_image_cannot_be_parted() -> None:
    with pytest.raises(UserError, match="20 % of 1 training images leaves none to hold out"):
        hold_out(["a"], 20)


def test_a_view_of_the_rest_and_one_of_the_held_out_share_no_image(tmp_path: Path) -> None:
    whole = prepare(Scenes(), "train", (16, 16), 20, tmp_path)
    rest, held = View(whole, percent=50, held_out=20), View(whole, percent=50, held_out=20, part="held out")
    assert (len(rest), len(held)) == (8, 2)
    assert sorted(rest.ids + held.ids) == sorted(View(whole, percent=50).ids)
    row = whole.ids.index(held.ids[1])
    assert (held.images[1] == whole.images[row]).all()
    assert held.table(1) == whole.table(row)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


@pytest.fixture
def plan(tmp_path: Path, store: Store) -> Plan:
    choice = Choice(Suite.model_validate(SUITE), PROFILE, DataRoots(), tmp_path / "prepared")
    return make_plan(choice, store, lambda what, done, of: None)


def end(store: Store, spec: RunSpec, pq: float | None = None, state: Any = "done") -> None:
    """A hand-made record."""
    number, folder = store.begin(spec), store.folder(spec.run_id)
    values: dict[str, Any] = dict.fromkeys(Scores.model_fields)
    scores = Scores(**values | {"pq": pq, "ap_classes": 1, "instance_truth": "things", "images": 2})
    metrics = Metrics(protocol="standard", train_images=8, final=scores, untrained=None, classes=())
    network = Network.no_network(spec.model, spec.size, 11)
    write_json(folder / "metrics.json", metrics.model_dump(mode="json"))
    write_json(folder / "network.json", network.model_dump(mode="json"))
    store.write_attempt(spec.run_id, number, {"seconds_total": 1.0})
    store.finish(Status(run_id=spec.run_id, state=state, attempt=number, reason="test"))


def search_all(plan: Plan, store: Store, search: Search, scores: dict[str, list[float | None]]) -> None:
    """Ends every candidate: the PQ of each factor, by network."""
    for cell in search_plan(plan, store, search).cells:
        model = cell.spec.model
        end(store, cell.spec, scores[model].pop(0))


SEARCH = Search(seed=4)


def test_every_network_has_the_same_candidates_once_for_all_seeds(plan: Plan, store: Store) -> None:
    cells = search_plan(plan, store, SEARCH).cells
    own = {"unet-small": 5e-4, "detr-small": 3e-4}
    found = [(cell.spec.model, cell.spec.recipe.lr) for cell in cells]
    assert found == [(model, pytest.approx(rate * factor)) for model, rate in own.items() for factor in (0.3, 1, 3)]
    assert {cell.spec.seed for cell in cells} == {4}
    assert {(cell.spec.recipe.epochs, cell.spec.recipe.batch_size) for cell in cells} == {(2, 4)}
    assert len({cell.spec.run_id for cell in cells}) == 6


def test_no_candidate_sees_the_validation_split(plan: Plan, store: Store) -> None:
    validation = {cell.spec.val_hash for cell in plan.cells} | {cell.spec.val_pixels for cell in plan.cells}
    (val_folder,) = {cell.val for cell in plan.cells}
    for cell in search_plan(plan, store, SEARCH).cells:
        spec = cell.spec
        assert {spec.train_hash, spec.val_hash, spec.train_pixels, spec.val_pixels}.isdisjoint(validation)
        assert cell.train == cell.val != val_folder
        held = View(load(cell.val), spec.task, 100, spec.budget.held_out, "held out").ids
        assert len(held) == 10 * HELD_OUT // 100
        assert set(held).isdisjoint(load(val_folder).ids)


def test_a_candidate_of_a_suite_across_sizes_is_evaluated_at_no_other_size(tmp_path: Path, store: Store) -> None:
    suite = Suite.model_validate({**SUITE, "models": ["unet-small"], "sizes": ["32x32", "16x16"], "across": True})
    choice = Choice(suite, PROFILE, DataRoots(), tmp_path / "prepared")
    made = make_plan(choice, store, lambda what, done, of: None)
    tried = search_plan(made, store, SEARCH).cells
    assert len(tried) == 6
    assert not any(cell.spec.also_at or cell.others for cell in tried)
    for cell in tried:
        end(store, cell.spec, pq=0.5 if cell.spec.recipe.lr > 1e-3 else 0.1)
    tuned = [cell for cell in tuned_plan(made, store, SEARCH, COMMAND).cells if cell.spec.also_at]
    assert {(cell.spec.size, cell.spec.recipe.tuning.factor, len(cell.others)) for cell in tuned} == {((32, 32), 3, 1)}


def test_the_best_factor() -> None:
    assert best_factor({0.3: 0.1, 1.0: 0.2, 3.0: 0.15}) == 1.0
    assert best_factor({0.3: 0.1, 1.0: None, 3.0: 0.0}) == 0.3
    assert best_factor({0.3: 0.0, 1.0: 0.0, 3.0: 0.0}) == 1.0
    assert best_factor({0.1: 0.5, 0.3: 0.5, 1.0: 0.2, 3.0: 0.2}) == 0.3
    assert best_factor({0.5: 0.5, 1.0: 0.2, 2.0: 0.5}) == 0.5
    assert best_factor({1.0: None}) is None


def test_each_network_takes_the_best_of_its_own_search(plan: Plan, store: Store) -> None:
    search_all(plan, store, SEARCH, {"unet-small": [0.1, 0.2, 0.3], "detr-small": [0.0, 0.0, 0.0]})
    specs = [cell.spec for cell in tuned_plan(plan, store, SEARCH, COMMAND).cells]
    assert [spec.model for spec in specs[:2]] == ["majority", "position-prior"]
    assert [spec.recipe.tuning for spec in specs[:2]] == [None, None]
    found = [(spec.model, spec.seed, spec.recipe.lr, spec.recipe.name) for spec in specs[2:]]
    assert found == [
        (model, seed, pytest.approx(rate), name)
        for model, rate, name in (
            ("unet-small", 15e-4, "maskattn-paper-tuned"),
            ("detr-small", 3e-4, "detr-scratch-tuned"),
        )
        for seed in (4, 5)
    ]
    assert {(spec.recipe.tuning.metric, spec.recipe.tuning.held_out) for spec in specs[2:]} == {("PQ", HELD_OUT)}
    untuned = {cell.spec.run_id for cell in plan.cells[2:]}
    assert untuned.isdisjoint(spec.run_id for spec in specs)
    assert {(s.val_hash, s.budget) for s in specs} == {(c.spec.val_hash, c.spec.budget) for c in plan.cells}


def test_a_tuned_plan_is_refused_where_a_search_is_not_complete(plan: Plan, store: Store) -> None:
    cells = search_plan(plan, store, SEARCH).cells
    refusal = f"of 2 networks searched, not {{}}; run `{COMMAND}` first"
    both = "U-Net (small) on scenes, DETR (small) on scenes"
    for cell, said in zip(cells, [both] * 3 + ["DETR (small) on scenes"] * 3, strict=True):
        with pytest.raises(UserError) as caught:
            tuned_plan(plan, store, SEARCH, COMMAND)
        assert str(caught.value) == f"{2 - (1 + said.count(','))} {refusal.format(said)}"
        end(store, cell.spec, 0.1)
    assert len(tuned_plan(plan, store, SEARCH, COMMAND).cells) == len(plan.cells)


def test_a_failed_candidate_is_to_be_run_again_and_one_that_diverged_has_no_score(plan: Plan, store: Store) -> None:
    search_all(plan, store, SEARCH, {"unet-small": [0.1, 0.2, 0.3], "detr-small": [0.1, 0.2, 0.3]})
    *_, last = search_plan(plan, store, SEARCH).cells
    end(store, last.spec, state="failed")
    with pytest.raises(UserError, match="1 of 2 networks searched, not DETR"):
        tuned_plan(plan, store, SEARCH, COMMAND)
    end(store, last.spec, state="diverged")
    assert searched_scores(plan, store, SEARCH)[1][1] == {0.3: 0.1, 1.0: 0.2, 3.0: None}
    assert tuned_plan(plan, store, SEARCH, COMMAND).cells[-1].spec.recipe.tuning.factor == 1.0


def test_a_search_without_any_score_chooses_nothing(plan: Plan, store: Store) -> None:
    search_all(plan, store, SEARCH, {"unet-small": [0.1, 0.2, 0.3], "detr-small": [None, None, None]})
    with pytest.raises(UserError, match="no rate of the search has a score for DETR"):
        tuned_plan(plan, store, SEARCH, COMMAND)


def test_another_grid_is_another_search(plan: Plan, store: Store) -> None:
    search_all(plan, store, SEARCH, {"unet-small": [0.1, 0.2, 0.3], "detr-small": [0.1, 0.2, 0.3]})
    wider = Search((0.3, 1.0, 3.0, 10.0), 4)
    assert [cell.state for cell in search_plan(plan, store, wider).cells] == ["done"] * 3 + ["missing"] + [
        "done"
    ] * 3 + ["missing"]
    with pytest.raises(UserError, match="0 of 2"):
        tuned_plan(plan, store, wider, COMMAND)


def test_factors_are_positive_and_hold_the_recipes_own_rate() -> None:
    assert read_factors("3,0.3,1,1") == (0.3, 1.0, 3.0)
    defaults = parser().parse_args(["tune", "--suite", "t"]), parser().parse_args(["run", "--suite", "t", "--tuned"])
    assert read_factors(defaults[0].factors) == read_factors(defaults[1].tuned) == FACTORS
    for text in ("0.3,3", "0,1", "-1,1", "a", "", "1,inf", "1,nan"):
        with pytest.raises(UserError, match="factors of a learning rate are positive numbers"):
            read_factors(text)


def test_floors_have_no_rate_to_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.yaml").write_text(json.dumps({**SUITE, "models": ["majority"]}))
    Path("tiny.yaml").write_text(PROFILE.model_dump_json())
    assert main(["tune", "--suite", "t.yaml", "--profile", "tiny.yaml"]) == 2
    assert "nothing to search: no row of suite t is trained" in capsys.readouterr().err


@pytest.mark.slow
def test_two_networks_are_searched_run_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    suite = {**SUITE, "models": ["unet-small", "maskattn-unet-small"], "seeds": [0], "floors": False}
    Path("t.yaml").write_text(json.dumps(suite))
    Path("tiny.yaml").write_text(PROFILE.model_copy(update={"keep_weights": False, "epochs": 1}).model_dump_json())
    where = ["--suite", "t.yaml", "--profile", "tiny.yaml"]
    assert main(["run", *where, "--tuned", "1,3"]) == 2
    assert "0 of 2 networks searched" in capsys.readouterr().err
    assert main(["tune", *where, "--factors", "1,3"]) == 0
    assert "--tuned 1,3" in capsys.readouterr().out
    assert main(["tune", *where, "--factors", "1,3"]) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert main(["run", *where, "--tuned", "1,3"]) == 0
    assert main(["report", "--suite", "t.yaml"]) == 0
    specs = [json.loads(path.read_text()) for path in Path("results").glob("*/spec.json")]
    assert sorted(spec["budget"]["held_out"] for spec in specs) == [0, 0, 20, 20, 20, 20]
    metrics = {path.parent.name: json.loads(path.read_text()) for path in Path("results").glob("*/metrics.json")}
    seen = {name: (one["train_images"], one["final"]["images"]) for name, one in metrics.items()}
    assert {images for name, images in seen.items() if "search" in name} == {(8, 2)}
    assert {images for name, images in seen.items() if "tuned" in name} == {(10, 3)}
    text = Path("reports/t.md").read_text()
    assert "learning rates searched" in text
    assert "### The search of the learning rates" in text

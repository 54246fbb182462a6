"""Specs, sizes and run ids."""

import hashlib
import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from bench.spec import (
    PROTOCOL_VERSION,
    RECIPE_VERSION,
    Augmentation,
    Budget,
    Profile,
    Recipe,
    RunSpec,
    Suite,
    invalid,
    parse_size,
    size_text,
)

RECIPE = Recipe(name="r", source="test", lr=1e-3, weight_decay=0, batch_size=2, epochs=1).model_dump()
TUNING = {"factors": [0.3, 1.0], "factor": 1.0, "metric": "PQ", "held_out": 20, "seed": 0}


def spec(**changes: object) -> RunSpec:
    values: dict[str, object] = {
        "model": "unet",
        "options": {"width": 64},
        "task": "panoptic",
        "dataset": "scenes",
        "size": "48x64",
        "budget": Budget(),
        "train_hash": "a",
        "val_hash": "b",
        "train_pixels": "c",
        "val_pixels": "d",
        "recipe": RECIPE,
        "precision": "mixed",
        "profile": "smoke",
        "seed": 0,
    }
    return RunSpec.model_validate({**values, **changes})


def test_size_is_height_by_width() -> None:
    assert parse_size("48x64") == (48, 64)
    assert spec().size == (48, 64)
    assert size_text((48, 64)) == "48x64"


@pytest.mark.parametrize("text", ["", "64", "64x", "64,64", "0x64", "64x64x3", "-1x4", "9999x9999", None, 64])
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="height x width"):
        parse_size(text)


def test_run_id_is_slug_and_ten_hex_of_the_canonical_json() -> None:
    one = spec()
    values = one.model_dump(mode="json")
    values["recipe"].pop("source")
    # unused: as in records older than they are
    del values["budget"]["held_out"], values["recipe"]["tuning"], values["also_at"], values["norm_statistics"]
    content = json.dumps(values, sort_keys=True, separators=(",", ":"))
    assert one.run_id == "unet-scenes-48x64-smoke-s0-" + hashlib.sha256(content.encode()).hexdigest()[:10]


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"train_hash": "c"},
        {"val_hash": "c"},
        {"train_pixels": "e"},
        {"val_pixels": "e"},
        {"options": {"width": 32}},
        {"size": "64x48"},
        {"recipe_version": RECIPE_VERSION + 1},
        {"protocol_version": PROTOCOL_VERSION + 1},
        {"task": "semantic"},
        {"recipe": {**RECIPE, "augmentation": None}},
        {"recipe": {**RECIPE, "augmentation": {"flip": 0.0}}},
        {"precision": "float32"},
        {"budget": {"train_images": 5}},
        {"budget": {"train_percent": 25}},
        {"budget": {"held_out": 20}},
        {"recipe": {**RECIPE, "tuning": TUNING}},
        {"also_at": [{"size": "32x32", "val_hash": "b", "val_pixels": "d"}]},
        {"norm_statistics": "frozen"},
    ],
)
def test_everything_that_decides_the_numbers_changes_the_id(change: dict[str, object]) -> None:
    assert spec(**change).run_id != spec().run_id


def test_which_search_was_made_changes_the_id_and_the_name_tells_what_a_run_is_for() -> None:
    tuned = spec(recipe={**RECIPE, "tuning": TUNING})
    wider = spec(recipe={**RECIPE, "tuning": {**TUNING, "factors": [0.3, 1.0, 3.0]}})
    assert tuned.run_id != wider.run_id
    assert tuned.slug == "unet-scenes-48x64-smoke-tuned-s0"
    assert spec(budget={"held_out": 20}).slug == "unet-scenes-48x64-smoke-search-lr0.001-s0"


def test_the_committed_records_keep_their_ids() -> None:
    """A new field of the spec stays out of the id where it is not used."""
    results = Path(__file__).parents[1] / "results"
    specs = sorted(results.glob("*/spec.json"))
    assert specs
    for path in specs:
        assert RunSpec.model_validate_json(path.read_text()).run_id == path.parent.name


def test_a_suite_compares_with_rows_of_its_own() -> None:
    content = {"name": "t", "title": "t", "task": "panoptic", "sizes": ["64x64"], "models": ["unet"], "datasets": ["a"]}
    assert Suite.model_validate({**content, "against": ["unet"]}).against == Suite.model_validate(content).models
    with pytest.raises(ValidationError, match="detr-r50 is not one of the suite's models"):
        Suite.model_validate({**content, "against": ["detr-r50"]})


def test_id_is_pending_until_both_splits_are_known() -> None:
    assert spec(val_hash=None).run_id == "unet-scenes-48x64-smoke-s0-pending"
    other = {"size": "32x32", "val_hash": None, "val_pixels": None}
    assert spec(also_at=[other]).run_id == "unet-scenes-48x64-smoke-s0-pending"
    assert not spec(also_at=[{**other, "val_hash": "b", "val_pixels": "d"}]).is_pending


def test_spec_survives_its_json() -> None:
    assert RunSpec.model_validate_json(spec().model_dump_json()) == spec()


def test_the_wording_of_a_recipes_source_changes_no_id() -> None:
    reworded = spec().recipe.model_copy(update={"source": "the same, said better"})
    assert spec(recipe=reworded).run_id == spec().run_id


def test_spec_is_frozen() -> None:
    with pytest.raises(ValidationError):
        spec().seed = 3  # type: ignore[misc]


def test_profile_caps_the_longest_side_and_keeps_the_ratio() -> None:
    profile = Profile(name="p", summary="", label="", reproduction=False, epochs=1, max_side=64)
    assert profile.fit_size((128, 128)) == (64, 64)
    assert profile.fit_size((96, 128)) == (48, 64)
    assert profile.fit_size((48, 64)) == (48, 64)


def test_unknown_key_of_a_suite_names_the_nearest() -> None:
    content = {"name": "t", "title": "t", "task": "panoptic", "sizes": ["64x64"], "model": ["unet"], "datasets": ["a"]}
    with pytest.raises(ValidationError) as caught:
        Suite.model_validate({**content, "models": ["unet"]})
    assert str(invalid(caught.value, "t.yaml", Suite)) == "unknown key 'model' in t.yaml; did you mean 'models'?"


def test_an_augmentation_has_an_ordered_range_and_a_probability() -> None:
    with pytest.raises(ValidationError, match="lowest first"):
        Augmentation(scale=(1.5, 0.75))
    with pytest.raises(ValidationError):
        Augmentation(flip=1.5)

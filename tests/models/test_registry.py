"""Names, options and builders."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest
import torch

from models.categories import Categories
from models.grouping import CLUSTERS
from models.registry import (
    CHOICES,
    ENTRIES,
    PIXEL_MODEL,
    REGISTRY,
    WEIGHTS,
    Entry,
    UnknownNameError,
    build,
    find,
    full_options,
)


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.is_network], ids=lambda entry: entry.name)
def test_every_builder_is_there_and_takes_the_options(entry: Entry) -> None:
    module, _, function = entry.builder.partition(":")
    parameters = inspect.signature(getattr(importlib.import_module(module), function)).parameters
    named = [name for name, p in parameters.items() if p.kind is not p.VAR_KEYWORD]
    assert named[:3] == ["categories", "size", "task"]
    assert list(entry.options)[: len(named) - 3] == named[3:]
    passed_on = dict(list(entry.options.items())[len(named) - 3 :])
    assert passed_on in ([PIXEL_MODEL, WEIGHTS] if len(named) < len(parameters) else [{}])
    assert full_options(entry.name, entry.options) == entry.options  # the defaults are among the choices


def test_names_and_labels_are_unique() -> None:
    assert len(REGISTRY) == len(ENTRIES) == len({entry.label for entry in ENTRIES})


def test_an_unknown_network_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"^unknown model 'maskatn-unet'; did you mean 'maskattn-unet'\?$"):
        find("maskatn-unet")


def test_a_name_like_no_other_lists_what_there_is() -> None:
    with pytest.raises(UnknownNameError, match=r"^unknown model 'zzzz'; known: majority, .*mask2former-small, "):
        find("zzzz")


def test_an_unknown_option_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"^unknown option of unet 'widht'; did you mean 'width'\?$"):
        full_options("unet", {"widht": 32})
    with pytest.raises(UnknownNameError, match=r"^unknown option of majority 'width'; known: none$"):
        full_options("majority", {"width": 32})


@pytest.mark.parametrize("value", ["32", 32.0, True, None])
def test_an_option_of_the_wrong_type_is_refused(value: object, toy_categories: Categories) -> None:
    with pytest.raises(UnknownNameError, match="option width of unet takes int, got"):
        build("unet", toy_categories, (32, 32), width=value)


def test_an_oracle_is_registered_and_cannot_be_built(toy_categories: Categories) -> None:
    oracles = [entry.name for entry in ENTRIES if not entry.is_network]
    assert oracles == ["oracle-nearest", "oracle-bilinear", "oracle-stride4"]
    for name in oracles:
        with pytest.raises(ValueError, match=rf"^{name} is an oracle, not a network, .* `--suite oracle`$"):
            build(name, toy_categories, (32, 32))


@pytest.mark.parametrize("value", [0, -4])
def test_a_number_below_1_is_refused(value: int) -> None:
    with pytest.raises(UnknownNameError, match=f"^option heads of maskattn-unet takes a number from 1, got {value}$"):
        full_options("maskattn-unet", {"heads": value})


def test_a_value_that_is_no_choice_names_the_nearest() -> None:
    with pytest.raises(
        UnknownNameError, match=r"^unknown mask of maskattn-unet 'learnd'; did you mean 'learned-soft'\?$"
    ):
        full_options("maskattn-unet", {"mask": "learnd"})
    with pytest.raises(
        UnknownNameError, match=r"^unknown placement of self-attention-unet 'x'; known: both, encoder, "
    ):
        full_options("self-attention-unet", {"placement": "x"})
    with pytest.raises(
        UnknownNameError, match=r"^unknown mask of maskattn-unet-released 'static'; known: random-fixed, "
    ):
        full_options("maskattn-unet-released", {"mask": "static"})


def test_every_choice_is_of_an_option() -> None:
    assert set(CHOICES) <= {option for entry in ENTRIES for option in entry.options}
    assert CHOICES["grouping"] == tuple(CLUSTERS)


def test_options_given_stand_over_the_defaults() -> None:
    assert full_options("u-transformer", {"heads": 8}) == {"width": 64, "heads": 8, **PIXEL_MODEL}
    assert full_options("u-transformer", {}) == {"width": 64, "heads": 4, **PIXEL_MODEL}


def test_a_whole_number_will_do_where_a_fraction_is_taken() -> None:
    """As a fraction, so that 1 and 1.0 are the same run."""
    value = full_options("unet", {"contrastive_weight": 1})["contrastive_weight"]
    assert (value, type(value)) == (1.0, float)


def test_the_ablations_differ_from_the_network_in_one_option() -> None:
    whole = find("maskattn-unet").options
    for name, changed in {
        "maskattn-unet-encoder": {"placement": "encoder"},
        "maskattn-unet-decoder": {"placement": "decoder"},
        "maskattn-unet-none": {"placement": "none"},
        "self-attention-unet": {"mask": "none"},
    }.items():
        assert find(name).builder == find("maskattn-unet").builder
        assert find(name).options == {**whole, **changed}


def test_one_seed_gives_one_network(toy_categories: Categories) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(5)
        states.append(build("maskattn-unet-small", toy_categories, (32, 32)).state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize("module", ["models.registry", "models.categories"])
def test_names_can_be_listed_without_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_a_task_that_is_none_is_refused(toy_categories: Categories) -> None:
    with pytest.raises(ValueError, match="unknown task 'panoptc'; did you mean 'panoptic'"):
        build("unet-small", toy_categories, (32, 32), "panoptc")  # type: ignore[arg-type]

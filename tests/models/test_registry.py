"""Names, options and builders; and the contract that every registered network keeps."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from models.categories import Categories
from models.floors import Floor
from models.interface import Batch, SegmentationModel
from models.registry import ENTRIES, REGISTRY, Entry, UnknownNameError, build, find, full_options

QUICK = [entry.name for entry in ENTRIES if entry.is_floor or entry.name.endswith("-small")]
SIZE = (48, 64)


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.is_network], ids=lambda entry: entry.name)
def test_every_builder_is_there_and_takes_the_options(entry: Entry) -> None:
    module, _, function = entry.builder.partition(":")
    builder = getattr(importlib.import_module(module), function)
    code = builder.__code__
    known = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    assert set(entry.options) == set(known) - {"categories", "size"}


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


def test_options_given_stand_over_the_defaults() -> None:
    assert full_options("maskattn-unet", {"heads": 8}) == {"width": 64, "heads": 8}
    assert full_options("maskattn-unet", {}) == {"width": 64, "heads": 4}


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


@pytest.fixture(params=QUICK)
def network(request: pytest.FixtureRequest, toy_categories: Categories) -> SegmentationModel:
    torch.manual_seed(0)
    return build(request.param, toy_categories, SIZE)


def test_an_untrained_network_keeps_the_contract_of_predictions(
    network: SegmentationModel, toy_batch: Callable[..., Batch]
) -> None:
    if isinstance(network, Floor):
        network.fit(toy_batch(SIZE))
    with torch.no_grad():
        predictions = network.eval().decode(network(toy_batch(SIZE).images))
    assert len(predictions) == 2
    for prediction in predictions:
        count = len(prediction.scores)
        assert prediction.semantic.shape == prediction.panoptic.shape == SIZE
        assert prediction.semantic.dtype == prediction.panoptic.dtype == prediction.categories.dtype == torch.int64
        assert set(prediction.semantic.unique().tolist()) <= {0, 1, 2, 3}
        assert set(prediction.panoptic.unique().tolist()) - {0} == set(prediction.segments)
        assert sorted(prediction.segments) == list(range(1, len(prediction.segments) + 1))
        assert all(s.category in range(4) and 0 <= s.score <= 1 for s in prediction.segments.values())
        assert prediction.masks.shape == (count, *SIZE)
        assert prediction.masks.dtype == torch.bool
        assert prediction.categories.shape == (count,)
        assert set(prediction.categories.tolist()) <= {0, 1}
        assert prediction.scores.dtype == torch.float32
        assert all(0 <= score <= 1 for score in prediction.scores.tolist())
        assert count <= 100


def test_outputs_are_named_tensors_with_the_images_first(network: SegmentationModel) -> None:
    outputs = network(torch.rand(3, 3, *SIZE))
    assert outputs
    assert all(isinstance(value, torch.Tensor) and len(value) == 3 for value in outputs.values())


def test_loss_terms_are_finite_scalars(network: SegmentationModel, toy_batch: Callable[..., Batch]) -> None:
    for batch in (toy_batch(SIZE), toy_batch(SIZE, void=True)):
        terms = network.train().loss(network(batch.images), batch)
        assert bool(terms) != network.fits_statistics
        assert all(term.ndim == 0 and term.isfinite() for term in terms.values())


def test_the_optimiser_gets_every_parameter_once(network: SegmentationModel) -> None:
    groups: list[Any] = network.parameter_groups(1e-3, 0.1)
    optimizer = torch.optim.SGD([*groups, {"params": [nn.Parameter(torch.zeros(1))]}])  # refuses a parameter twice
    given = [id(p) for group in optimizer.param_groups[:-1] for p in group["params"]]
    assert sorted(given) == sorted(id(p) for p in network.parameters())

"""Weights and norms of the backbones, on a ResNet-18 of random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from models.backbones import WeightsError, prepare_backbone
from models.blocks import ImageNetNormalization


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(3)
    state = timm.create_model("resnet18").state_dict()
    return {key: torch.rand_like(value) if "running" in key else value for key, value in state.items()}


def backbone() -> nn.Module:
    return timm.create_model("resnet18", features_only=True, out_indices=[1, 2, 3, 4])


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_weights_of_a_file_arrive_whole_with_their_statistics(
    tmp_path: Path, state: dict[str, Tensor], suffix: str
) -> None:
    path = tmp_path / f"resnet18.{suffix}"
    save_file(state, path) if suffix == "safetensors" else torch.save(state, path)
    network = backbone()
    prepare_backbone(network, "resnet18", str(path))
    loaded = network.state_dict()
    assert torch.equal(loaded["layer3.1.conv2.weight"], state["layer3.1.conv2.weight"])
    assert torch.equal(loaded["layer3.1.bn2.running_mean"], state["layer3.1.bn2.running_mean"])
    assert all(torch.equal(value, state[key]) for key, value in loaded.items())


def test_loaded_norms_are_frozen_and_compute_as_batch_norm_does(tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save({"state_dict": state}, tmp_path / "checkpoint.pth")
    network, reference = backbone().train(), backbone().eval()
    prepare_backbone(network, "resnet18", str(tmp_path / "checkpoint.pth"))
    reference.load_state_dict({key: state[key] for key in reference.state_dict()})
    images = torch.rand(1, 3, 32, 32)
    for found, expected in zip(network(images), reference(images), strict=True):
        torch.testing.assert_close(found, expected)
    assert not any(name.endswith(("bn1.weight", "bn1.bias")) for name, _ in network.named_parameters())


def test_without_weights_every_norm_is_a_group_norm() -> None:
    network = backbone()
    prepare_backbone(network, "resnet18", "none")
    norms = [module for module in network.modules() if isinstance(module, nn.GroupNorm)]
    assert len(norms) == 20
    assert not list(network.buffers())  # no statistics left


def test_a_file_that_is_absent_or_no_state_dict_is_refused_in_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"not a checkpoint")
    for path in (tmp_path / "absent.pth", broken):
        with pytest.raises(WeightsError) as refused:
            prepare_backbone(backbone(), "resnet18", str(path))
        assert str(path) in str(refused.value)
        assert "\n" not in str(refused.value)


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    torch.save(nn.Linear(1, 1), tmp_path / "module.pth")
    with pytest.raises(WeightsError, match="not a state dict"):
        prepare_backbone(backbone(), "resnet18", str(tmp_path / "module.pth"))


def test_keys_that_do_not_match_are_named(tmp_path: Path, state: dict[str, Tensor]) -> None:
    changed = {key: value for key, value in state.items() if not key.startswith("layer1.0.conv1")}
    changed["conv1.weight"] = torch.zeros(64, 3, 3, 3)
    changed["stem.weight"] = torch.zeros(1)
    torch.save(changed, tmp_path / "other.pth")
    with pytest.raises(WeightsError) as refused:
        prepare_backbone(backbone(), "resnet18", str(tmp_path / "other.pth"))
    message = str(refused.value)
    assert "1 missing (layer1.0.conv1.weight)" in message
    assert "1 unknown (stem.weight)" in message
    assert "1 of another shape (conv1.weight)" in message


def test_imagenet_weights_without_a_network_are_refused_in_one_line() -> None:
    with pytest.raises(WeightsError, match="no ImageNet weights for resnet18") as refused:
        prepare_backbone(backbone(), "resnet18", "imagenet")
    assert "\n" not in str(refused.value)


def test_images_are_normalised_by_imagenets_statistics() -> None:
    gray = torch.full((1, 3, 1, 1), 0.5)
    expected = [(0.5 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, (0.5 - 0.406) / 0.225]
    torch.testing.assert_close(ImageNetNormalization()(gray).flatten(), torch.tensor(expected))

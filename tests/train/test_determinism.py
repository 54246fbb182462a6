"""What is recorded of the operators that give other bits on a GPU each time. The warnings are torch's own."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

from bench.data.view import View
from bench.train.determinism import operators, settings, watched
from tests.train.resuming import begin

# torch 2.15, aten/src/ATen/Context.cpp
GRID = (
    "grid_sampler_2d_backward_cuda does not have a deterministic implementation, but you set "
    "'torch.use_deterministic_algorithms(True, warn_only=True)'. You can file an issue at "
    "https://github.com/pytorch/pytorch/issues to help us prioritize adding deterministic support for this operation."
)
CUBLAS = (
    "Deterministic behavior was enabled with either `torch.use_deterministic_algorithms(True)` or "
    "`at::Context::setDeterministicAlgorithms(true)`, but this operation is not deterministic because it uses CuBLAS "
    "and you have CUDA >= 10.2."
)


def put() -> torch.Tensor:
    """An operator without a deterministic version on a CPU either."""
    return torch.zeros(3).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))


def test_torch_is_asked_and_its_warning_is_read() -> None:
    found, names = watched(put)
    assert names == ["put_"]
    assert found.shape == (3,)


def test_a_step_without_such_an_operator_names_none() -> None:
    assert watched(lambda: torch.ones(3).sum().item()) == (3.0, [])


def test_the_mode_is_as_before_also_after_an_error() -> None:
    before = settings()
    watched(put)
    with pytest.raises(ZeroDivisionError):
        watched(lambda: 1 / 0)
    assert settings() == before
    assert before["deterministic_algorithms"] is False


def test_other_warnings_are_passed_on() -> None:
    def step() -> None:
        warnings.warn(GRID, UserWarning, stacklevel=1)
        warnings.warn("something else", UserWarning, stacklevel=1)

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        assert watched(step)[1] == ["grid_sampler_2d_backward_cuda"]
    assert [str(one.message) for one in heard] == ["something else"]


def test_each_operator_is_named_once_and_in_order() -> None:
    texts = [GRID, "upsample_x does not have a deterministic implementation, but", CUBLAS, GRID, "other", CUBLAS]
    assert operators(texts) == ["cuBLAS", "grid_sampler_2d_backward_cuda", "upsample_x"]


def test_the_first_step_on_a_gpu_is_watched_and_no_other(
    eight_scenes: View, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU none is; here a trainer believes to be on a GPU."""
    training = begin(eight_scenes, tmp_path / "cpu", epochs=1)
    training.train()
    assert training.trainer.nondeterministic is None
    trainer, calls = begin(eight_scenes, tmp_path / "gpu", epochs=1).trainer, []

    def step(batch: object) -> dict[str, float]:
        calls.append(torch.are_deterministic_algorithms_enabled())
        put()
        trainer.step += 1
        return {"term": 1.0}

    monkeypatch.setattr(trainer, "_step", step)
    monkeypatch.setattr(trainer, "device", torch.device("cuda"))
    monkeypatch.setattr("bench.train.loop.Batch.to", lambda batch, device: batch)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer.train(tmp_path / "history.jsonl", lambda row: None)
    assert calls == [True, False, False, False]
    assert trainer.nondeterministic == ["put_"]

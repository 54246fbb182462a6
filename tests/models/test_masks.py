"""The kinds of mask: what each gives to the attention, what it learns, and what it leaves to chance."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from models.masks import KINDS, MASK_EPS, LearnedMask, RandomFixedMask, RandomResampledMask, half, key_mask
from models.registry import CHOICES

EPS_LOG = math.log(MASK_EPS)


def learned_mask(binary: bool, weight: float = 1.0) -> LearnedMask:
    """Over one channel: the logit of a saliency is weight * token."""
    mask = LearnedMask(1, binary)
    nn.init.constant_(mask.saliency.weight, weight)
    nn.init.zeros_(mask.saliency.bias)
    return mask


def test_the_registry_lists_the_kinds_there_are() -> None:
    assert CHOICES["mask"] == tuple(KINDS)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^unknown mask 'learned'; known: learned-binary, learned-soft, "):
        key_mask("learned", 4, 16)


def test_the_binary_mask_is_binary_forward_and_the_sigmoid_backward() -> None:
    tokens = torch.tensor([[[2.0], [-2.0]]], requires_grad=True)
    bias = learned_mask(binary=True)(tokens)
    torch.testing.assert_close(bias, torch.tensor([[math.log(1 + MASK_EPS), EPS_LOG]]))
    bias.sum().backward()
    slope = torch.tensor([2.0, -2.0]).sigmoid() * torch.tensor([-2.0, 2.0]).sigmoid()
    expected = slope / torch.tensor([1 + MASK_EPS, MASK_EPS])
    assert tokens.grad is not None
    torch.testing.assert_close(tokens.grad[0, :, 0], expected)


def test_the_soft_mask_is_the_logarithm_of_the_sigmoid() -> None:
    tokens = torch.tensor([[[0.0], [math.log(3)], [-1e3]]])
    expected = torch.tensor([[0.5, 0.75, 0.0]]).add(MASK_EPS).log()
    torch.testing.assert_close(learned_mask(binary=False)(tokens), expected)


def test_a_learned_mask_starts_with_most_keys_kept() -> None:
    torch.manual_seed(0)
    bias = key_mask("learned-binary", 64, 0)(torch.randn(2, 500, 64))
    assert 0.8 < float((bias > EPS_LOG / 2).float().mean()) < 1


def test_a_static_mask_is_a_parameter_a_position_without_effect_at_first() -> None:
    mask = key_mask("static", 4, 6)
    assert [p.shape for p in mask.parameters()] == [(1, 6)]
    assert not mask(torch.randn(3, 6, 4)).any()


@given(rows=st.integers(1, 4), positions=st.integers(1, 40), seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=30)
def test_a_half_is_the_places_of_the_smaller_numbers_rounded_up(rows: int, positions: int, seed: int) -> None:
    chance = torch.rand(rows, positions, generator=torch.Generator().manual_seed(seed))
    for numbers, places in zip(chance.tolist(), half(chance).tolist(), strict=True):
        assert [numbers[place] for place in places] == sorted(numbers)[: math.ceil(positions / 2)]


def test_each_position_is_kept_about_as_often_as_the_others() -> None:
    torch.manual_seed(0)
    places = RandomResampledMask()(torch.zeros(4000, 11, 1))
    share = torch.bincount(places.flatten(), minlength=11) / 4000
    torch.testing.assert_close(share, torch.full((11,), 6 / 11), atol=0.04, rtol=0)


def test_a_fixed_mask_comes_from_the_seed_and_stays_with_the_weights() -> None:
    def drawn(seed: int) -> RandomFixedMask:
        torch.manual_seed(seed)
        return RandomFixedMask(64)

    tokens = torch.randn(2, 64, 3)
    first, again, other = drawn(1), drawn(1), drawn(2)
    assert first(tokens).shape == (1, 32)
    assert torch.equal(first(tokens), again(tokens))
    assert not torch.equal(first(tokens), other(tokens))
    assert torch.equal(first(tokens), first.eval()(tokens))
    other.load_state_dict(first.state_dict())
    assert torch.equal(first(tokens), other(tokens))


def test_a_resampled_mask_is_drawn_anew_for_each_image_and_pass_of_the_training() -> None:
    mask, tokens = RandomResampledMask().train(), torch.randn(3, 64, 2)
    torch.manual_seed(0)
    first, second = mask(tokens), mask(tokens)
    torch.manual_seed(0)
    assert torch.equal(mask(tokens), first)
    assert len({frozenset(row.tolist()) for row in torch.cat([first, second])}) == 6


def test_a_resampled_mask_is_one_and_the_same_in_evaluation() -> None:
    mask, tokens = RandomResampledMask().eval(), torch.randn(3, 64, 2)
    before = torch.get_rng_state()
    places = mask(tokens)
    assert torch.equal(torch.get_rng_state(), before)  # and takes nothing from the training's chance
    assert places.shape == (1, 32)
    assert torch.equal(places, mask(torch.randn(1, 64, 2)))


@pytest.mark.parametrize("kind", ["learned-binary", "learned-soft"])
def test_a_learned_mask_depends_on_the_image_and_on_nothing_else(kind: str) -> None:
    torch.manual_seed(0)
    mask = key_mask(kind, 5, 0)
    tokens: Tensor = torch.randn(2, 9, 5)
    shuffled = torch.randperm(9)
    torch.testing.assert_close(mask(tokens)[:, shuffled], mask(tokens[:, shuffled]))
    assert not torch.equal(mask(tokens)[0], mask(tokens)[1])

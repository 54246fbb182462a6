"""Masked attention against the plain formula of the paper's Eqs. 1 and 2, which forms the whole score matrix."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from models.attention import MaskAttention, MultiHeadAttention, kept_keys_attention, key_masked_attention
from models.masks import KINDS, MASK_EPS, LearnedMask, half

EPS_LOG = math.log(MASK_EPS)
DROPPED = -math.inf
Inputs = tuple[Tensor, Tensor, Tensor]


def plain(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, scale: float | None = None) -> Tensor:
    scores = torch.einsum("bhnd,bhmd->bhnm", q, k) * (scale or 1 / math.sqrt(q.shape[-1])) + bias[:, None, None, :]
    return torch.einsum("bhnm,bhme->bhne", scores.softmax(-1), v)


def features(width: int, queries: int, keys: int, seed: int, batch: int = 2, heads: int = 2) -> Inputs:
    torch.manual_seed(seed)
    q, k, v = (torch.randn(batch, heads, n, width, dtype=torch.float64).requires_grad_() for n in (queries, keys, keys))
    return q, k, v


def random_bias(rows: int, keys: int) -> Tensor:
    return torch.where(torch.rand(rows, keys) > 0.4, 0.0, EPS_LOG).double().requires_grad_()


def dropped_but(places: Tensor, keys: int) -> Tensor:
    """The bias that keeps the keys at these places alone."""
    return torch.full((len(places), keys), DROPPED, dtype=torch.float64).scatter(1, places, 0.0)


def assert_the_same(found: Tensor, expected: Tensor, tensors: Sequence[Tensor]) -> None:
    """Values and all gradients to 1e-10."""
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)
    weight = torch.randn_like(found)
    ours, theirs = (torch.autograd.grad(out, tensors, weight, retain_graph=True) for out in (found, expected))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=0)


shapes = {
    "width": st.integers(1, 17),  # one more feature and padding of 0 to 7
    "queries": st.integers(1, 9),
    "keys": st.integers(1, 9),
    "seed": st.integers(0, 10_000),
}


@settings(deadline=None, max_examples=30)
@given(**shapes, rows=st.sampled_from([1, 2]))
def test_with_a_bias_it_is_the_plain_formula(width: int, queries: int, keys: int, seed: int, rows: int) -> None:
    q, k, v = features(width, queries, keys, seed)
    bias = random_bias(rows, keys)
    assert_the_same(key_masked_attention(q, k, v, bias), plain(q, k, v, bias), (q, k, v, bias))


@settings(deadline=None, max_examples=50)
@given(
    **shapes, rows=st.sampled_from([1, 3]), share=st.sampled_from([0.1, 0.5, 1.0]), scale=st.sampled_from([None, 0.3])
)
def test_with_keys_dropped_it_is_the_plain_formula(
    width: int, queries: int, keys: int, seed: int, rows: int, share: float, scale: float | None
) -> None:
    """Any number of keys an image, other numbers in other images; at least one, or the formula has no value."""
    q, k, v = features(width, queries, keys, seed, batch=3)
    kept = torch.rand(rows, keys) < share
    kept[torch.arange(rows), torch.randint(keys, (rows,))] = True
    bias = torch.where(kept, 0.0, DROPPED).double()
    assert_the_same(kept_keys_attention(q, k, v, kept, scale), plain(q, k, v, bias, scale), (q, k, v))


@settings(deadline=None, max_examples=30)
@given(**shapes, rows=st.sampled_from([1, 2]))
def test_over_the_places_of_kept_keys_it_is_the_plain_formula(
    width: int, queries: int, keys: int, seed: int, rows: int
) -> None:
    q, k, v = features(width, queries, keys, seed)
    places = half(torch.rand(rows, keys))
    assert_the_same(key_masked_attention(q, k, v, places), plain(q, k, v, dropped_but(places, keys)), (q, k, v))


@pytest.mark.parametrize("width", range(7, 15))
def test_every_padding_from_0_to_7_is_the_plain_formula(width: int) -> None:
    q, k, v = features(width, 6, 5, width)
    bias = random_bias(2, 5)
    torch.testing.assert_close(key_masked_attention(q, k, v, bias), plain(q, k, v, bias), atol=1e-10, rtol=0)


def test_without_a_mask_it_is_ordinary_attention() -> None:
    q, k, v = features(5, 6, 7, 0)
    assert_the_same(key_masked_attention(q, k, v, None), plain(q, k, v, torch.zeros(2, 7).double()), (q, k, v))


def test_an_image_with_every_key_at_the_small_weight_attends_as_if_none_were() -> None:
    q, k, v = features(4, 3, 6, 1)
    bias = torch.full((2, 6), EPS_LOG, dtype=torch.float64, requires_grad=True)
    found = key_masked_attention(q, k, v, bias)
    torch.testing.assert_close(found, plain(q, k, v, torch.zeros_like(bias)), atol=1e-10, rtol=0)
    gradients = torch.autograd.grad(found.sum(), (q, k, v, bias))
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)


@pytest.mark.parametrize("others", [0.0, 0.6])
def test_an_image_with_every_key_dropped_attends_to_nothing(others: float) -> None:
    q, k, v = features(4, 3, 6, 1, batch=3)
    kept = torch.rand(3, 6) < others
    kept[0] = False
    found = kept_keys_attention(q, k, v, kept)
    gradients = torch.autograd.grad(found.square().sum() + found.sum(), (q, k, v))
    assert not found[0].any()
    assert not any(gradient[0].any() for gradient in gradients)
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)


def test_a_dropped_key_may_hold_anything() -> None:
    """It is not computed, so that not even its nonsense gets through."""
    q, k, v = (tensor.detach() for tensor in features(4, 3, 6, 1))
    places = torch.tensor([[0, 2, 3, 5]])
    kept = torch.tensor([[True, False, True, True, False, True]])
    expected = key_masked_attention(q, k, v, places)
    k[:, :, 1], v[:, :, 4] = torch.inf, torch.nan
    assert torch.equal(key_masked_attention(q, k, v, places), expected)
    assert torch.equal(kept_keys_attention(q, k, v, kept), expected)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["bias", "places", "kept"])
def test_the_call_that_is_traced_for_counting_gives_the_same(kind: str) -> None:
    tensors = [t.detach().float() for t in features(6, 5, 7, 2)]
    chance = torch.rand(2, 7)
    tensors.append({"bias": chance.log(), "places": half(chance), "kept": chance > 0.4}[kind])
    call = kept_keys_attention if kind == "kept" else key_masked_attention
    traced = torch.jit.trace(call, tensors, check_trace=False)
    torch.testing.assert_close(traced(*tensors), call(*tensors), atol=1e-6, rtol=1e-5)


def test_a_dropped_key_gets_a_gradient_of_the_size_of_a_kept_one() -> None:
    """The weight it keeps and the slope of the logarithm there cancel."""
    q, k, v = features(4, 6, 5, 3)
    logits = torch.tensor([[2.0, -2.0, 2.0, -2.0, 2.0]] * 2, dtype=torch.float64, requires_grad=True)
    mask = LearnedMask(1, binary=True).double()
    nn.init.ones_(mask.saliency.weight)
    nn.init.zeros_(mask.saliency.bias)
    key_masked_attention(q, k, v, mask(logits[..., None])).square().sum().backward()
    assert logits.grad is not None
    sizes = logits.grad.abs()
    assert bool((sizes > 1e-4).all())
    assert float(sizes.max() / sizes.min()) < 1e3


def test_a_key_at_the_small_weight_is_hardly_attended_to() -> None:
    q, k, v = features(4, 3, 5, 4)
    bias = torch.zeros(2, 5, dtype=torch.float64)
    bias[:, 2] = EPS_LOG
    kept = [0, 1, 3, 4]
    without = plain(q, k[:, :, kept], v[:, :, kept], bias[:, kept])
    torch.testing.assert_close(key_masked_attention(q, k, v, bias), without, atol=100 * MASK_EPS, rtol=0)


def mask_by_hand(kind: str, mask: nn.Module, normed: Tensor) -> Tensor:
    """The bias of each kind as a formula of its weights. In evaluation, where nothing is left to chance."""
    positions = normed.shape[1]
    if kind.startswith("learned"):
        soft = torch.sigmoid(normed @ mask.saliency.weight[0] + mask.saliency.bias)
        hard = torch.where(soft > 0.5, 1.0, 0.0).double()
        return torch.log((hard + (soft - soft.detach()) if kind == "learned-binary" else soft) + MASK_EPS)
    if kind == "static":
        return mask.bias.expand(2, -1)
    if kind == "none":
        return torch.zeros(2, positions).double()
    return dropped_but(mask(normed), positions).expand(2, -1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("height", "width", "heads"), [(3, 5, 3), (4, 4, 4), (1, 2, 1)])
def test_the_module_is_equations_1_and_2_with_residuals(kind: str, height: int, width: int, heads: int) -> None:
    """Values and the gradients of the input and of every weight."""
    torch.manual_seed(0)
    channels = 12
    module = MaskAttention(channels, heads, kind, height * width).double().eval()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    x = torch.randn(2, channels, height, width, dtype=torch.float64, requires_grad=True)

    tokens = x.reshape(2, channels, height * width).permute(0, 2, 1)
    normed = module.norm_attention(tokens)
    attention = module.attention
    q, k, v = (
        (normed @ f.weight.T + f.bias).reshape(2, -1, heads, channels // heads).permute(0, 2, 1, 3)
        for f in (attention.query, attention.key, attention.value)
    )
    heads_out = plain(q, k, v, mask_by_hand(kind, module.mask, normed)).permute(0, 2, 1, 3).reshape(2, -1, channels)
    attended = tokens + attention.output(heads_out)
    inner = module.ffn[0](module.norm_ffn(attended))
    refined = attended + module.ffn[2](inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2))))
    assert_the_same(module(x), refined.permute(0, 2, 1).reshape(x.shape), (x, *module.parameters()))


def test_channels_that_do_not_divide_into_heads_are_refused() -> None:
    with pytest.raises(ValueError, match="10 channels do not divide into 4 heads"):
        MultiHeadAttention(10, 4)


MEMORY = """
import torch
from pathlib import Path
from models.attention import MaskAttention
from models.masks import KINDS
torch.set_num_threads(1)
def peak(side, kinds):
    for kind in kinds:
        module = MaskAttention(64, 4, kind, side * side)
        x = torch.randn(1, 64, side, side, requires_grad=True)
        module(x).square().mean().backward()
        assert x.grad.isfinite().all()
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])  # ru_maxrss is the parent's too
before = peak(16, KINDS)
print(peak(96, KINDS) - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_no_mask_forms_the_score_matrix() -> None:
    """Four heads of 9,216 x 9,216 scores would take 1.3 GiB, one of them 0.3 GiB."""
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True, timeout=300)
    assert int(done.stdout) / 2**20 < 0.25  # GiB

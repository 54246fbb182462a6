"""Masked attention against the plain formula of the paper's Eqs. 1 and 2, which forms the whole score matrix."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from models.attention import MASK_EPS, KeyMask, MaskAttention, MultiHeadAttention, key_masked_attention

EPS_LOG = math.log(MASK_EPS)


def plain(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    scores = torch.einsum("bhnd,bhmd->bhnm", q, k) / math.sqrt(q.shape[-1]) + bias[:, None, None, :]
    return torch.einsum("bhnm,bhme->bhne", scores.softmax(-1), v)


def inputs(width: int, queries: int, keys: int, seed: int, batch: int = 2, heads: int = 2) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(batch, heads, n, width) for n in (queries, keys, keys)]
    features = [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]
    bias = torch.where(torch.rand(batch, keys, generator=generator) > 0.4, 0.0, EPS_LOG).double()
    return tuple(tensor.requires_grad_() for tensor in (*features, bias))


@settings(deadline=None, max_examples=30)
@given(
    width=st.integers(1, 17),  # one more feature and padding of 0 to 7
    queries=st.integers(1, 9),
    keys=st.integers(1, 9),
    seed=st.integers(0, 10_000),
)
def test_masked_attention_and_its_gradients_are_the_plain_formula(
    width: int, queries: int, keys: int, seed: int
) -> None:
    tensors = inputs(width, queries, keys, seed)
    found, expected = key_masked_attention(*tensors), plain(*tensors)
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)
    weight = torch.randn(found.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    pairs = zip(
        torch.autograd.grad(found, tensors, weight), torch.autograd.grad(expected, tensors, weight), strict=True
    )
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=0)


@pytest.mark.parametrize("width", range(7, 15))
def test_every_padding_from_0_to_7_is_the_plain_formula(width: int) -> None:
    q, k, v, bias = inputs(width, 6, 5, width)
    torch.testing.assert_close(key_masked_attention(q, k, v, bias), plain(q, k, v, bias), atol=1e-10, rtol=0)


def test_without_a_mask_it_is_ordinary_attention() -> None:
    q, k, v, bias = inputs(5, 6, 7, 0)
    expected = plain(q, k, v, torch.zeros_like(bias))
    torch.testing.assert_close(key_masked_attention(q, k, v, None), expected, atol=1e-10, rtol=0)


def test_a_row_with_every_key_dropped_attends_as_if_none_were() -> None:
    q, k, v, _ = inputs(4, 3, 6, 1)
    bias = torch.full((2, 6), EPS_LOG, dtype=torch.float64, requires_grad=True)
    found = key_masked_attention(q, k, v, bias)
    torch.testing.assert_close(found, plain(q, k, v, torch.zeros_like(bias)), atol=1e-10, rtol=0)
    gradients = torch.autograd.grad(found.sum(), (q, k, v, bias))
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)


@pytest.mark.filterwarnings("ignore")
def test_the_call_that_is_traced_for_counting_gives_the_same() -> None:
    tensors = tuple(t.detach().float() for t in inputs(6, 5, 7, 2))
    traced = torch.jit.trace(key_masked_attention, tensors, check_trace=False)
    torch.testing.assert_close(traced(*tensors), key_masked_attention(*tensors), atol=1e-6, rtol=1e-5)


def key_mask(weight: float) -> KeyMask:
    """Over one channel: logit = weight * token."""
    mask = KeyMask(1)
    nn.init.constant_(mask.saliency.weight, weight)
    nn.init.zeros_(mask.saliency.bias)
    return mask


def test_the_mask_is_binary_forward_and_the_sigmoid_backward() -> None:
    tokens = torch.tensor([[[2.0], [-2.0]]], requires_grad=True)
    bias = key_mask(1.0)(tokens)
    torch.testing.assert_close(bias, torch.tensor([[math.log(1 + MASK_EPS), EPS_LOG]]))
    bias.sum().backward()
    slope = torch.tensor([2.0, -2.0]).sigmoid() * torch.tensor([-2.0, 2.0]).sigmoid()
    expected = slope / torch.tensor([1 + MASK_EPS, MASK_EPS])
    assert tokens.grad is not None
    torch.testing.assert_close(tokens.grad[0, :, 0], expected)


def test_a_dropped_key_gets_a_gradient_of_the_size_of_a_kept_one() -> None:
    """The weight it keeps and the slope of the logarithm there cancel."""
    q, k, v, _ = inputs(4, 6, 5, 3)
    logits = torch.tensor([[2.0, -2.0, 2.0, -2.0, 2.0]] * 2, dtype=torch.float64, requires_grad=True)
    mask = key_mask(1.0).double()
    key_masked_attention(q, k, v, mask(logits[..., None])).square().sum().backward()
    assert logits.grad is not None
    sizes = logits.grad.abs()
    assert bool((sizes > 1e-4).all())
    assert float(sizes.max() / sizes.min()) < 1e3


def test_the_mask_module_is_equations_1_and_2_with_residuals() -> None:
    torch.manual_seed(0)
    channels, heads, height, width = 12, 3, 3, 5
    module = MaskAttention(channels, heads).double()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    x = torch.randn(2, channels, height, width, dtype=torch.float64)

    tokens = x.reshape(2, channels, height * width).permute(0, 2, 1)
    normed = module.norm_attention(tokens)
    kept = (module.mask.saliency(normed)[..., 0] > 0).double()
    assert 0 < kept.mean() < 1
    attention = module.attention
    q, k, v = (
        f(normed).reshape(2, -1, heads, 4).permute(0, 2, 1, 3)
        for f in (attention.query, attention.key, attention.value)
    )
    heads_out = plain(q, k, v, (kept + MASK_EPS).log()).permute(0, 2, 1, 3).reshape(2, -1, channels)
    attended = tokens + attention.output(heads_out)
    inner = module.ffn[0](module.norm_ffn(attended))
    refined = attended + module.ffn[2](inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2))))
    expected = refined.permute(0, 2, 1).reshape(x.shape)
    torch.testing.assert_close(module(x), expected, atol=1e-10, rtol=0)


def test_a_dropped_key_is_hardly_attended_to() -> None:
    q, k, v, _ = inputs(4, 3, 5, 4)
    bias = torch.zeros(2, 5, dtype=torch.float64)
    bias[:, 2] = EPS_LOG
    kept = [0, 1, 3, 4]
    without = plain(q, k[:, :, kept], v[:, :, kept], bias[:, kept])
    torch.testing.assert_close(key_masked_attention(q, k, v, bias), without, atol=100 * MASK_EPS, rtol=0)


def test_channels_that_do_not_divide_into_heads_are_refused() -> None:
    with pytest.raises(ValueError, match="10 channels do not divide into 4 heads"):
        MultiHeadAttention(10, 4)


MEMORY = """
import resource, torch
from models.attention import MaskAttention
torch.set_num_threads(1)
def peak(side):
    x = torch.randn(1, 64, side, side, requires_grad=True)
    module(x).square().mean().backward()
    assert x.grad.isfinite().all()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
module = MaskAttention(64, 4)
before = peak(16)
print(peak(128) - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux only")
def test_no_score_matrix_is_formed_at_128x128() -> None:
    """Four heads of 16,384 x 16,384 scores would take 4 GiB."""
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True, timeout=300)
    assert int(done.stdout) / 2**20 < 1.5  # GiB

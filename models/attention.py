"""Multi-head attention with a mask over keys (paper Sec. 3.2, Eqs. 1 and 2).

Shapes: B images, h heads, N = H W positions, C channels, d = C / h. The (N, N) score matrix is never formed in
training or evaluation: `scaled_dot_product_attention` works tile by tile. It passes a gradient to features, but not to
a mask, so a learned mask, one bias a key, rides along as one more feature of queries and keys. Of a mask that drops
keys altogether only the kept keys are computed.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.masks import key_mask

WIDTH_MULTIPLE = 8  # fused kernels want the width of a head divisible by this
FFN_FACTOR = 4  # inner width of the feed-forward part over C; the paper does not say (Vaswani et al. 2017)


def key_masked_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(q k^T / sqrt(d) + M) v, Eq. 1, with the same M for every query and head.

    q: (B, h, N, d), k and v: (B, h, M, d). mask: a float a key (B, M), added to the logits; or int64 (B, K), the places
    of the K keys kept, where M is 0, and minus infinity for all others; or bool (B, M), True = kept, where images keep
    different numbers of keys, or none. 1 stands for B where all images share it. None is no mask. Returns (B, h, N, d).
    """
    if mask is None:
        return F.scaled_dot_product_attention(q, k, v)
    if mask.dtype == torch.bool:
        return kept_keys_attention(q, k, v, mask)
    if mask.dtype != torch.int64:
        return _biased_attention(q, k, v, mask)
    if torch.jit.is_tracing():  # counting FLOPs: the dense product of the equation
        kept = torch.zeros(len(mask), k.shape[2], device=k.device).scatter(1, mask, 1.0) > 0
        return F.scaled_dot_product_attention(q, k, v, attn_mask=kept[:, None, None, :])
    return F.scaled_dot_product_attention(q, *_gathered(k, v, mask))


def kept_keys_attention(q: Tensor, k: Tensor, v: Tensor, kept: Tensor, scale: float | None = None) -> Tensor:
    """Attention over the kept keys alone, where images may keep different numbers of them.

    q: (B, h, N, d), k and v: (B, h, M, d), kept: (B, M) or (1, M) bool; scale: 1 / sqrt(d) by default. Returns
    (B, h, N, d), zeros (and zero gradients) for an image that keeps none. The shorter lists of keys are padded to the
    longest, so that the work falls with the number of keys kept.
    """
    kept = kept.expand(len(k), -1)
    if torch.jit.is_tracing():  # as above
        return F.scaled_dot_product_attention(q, k, v, attn_mask=kept[:, None, None, :], scale=scale)
    counts = kept.sum(1)
    fewest, most = torch.stack([counts.min(), counts.max().clamp(min=1)]).tolist()
    k, v = _gathered(k, v, kept.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most])
    if fewest == most:
        return F.scaled_dot_product_attention(q, k, v, scale=scale)
    filled = torch.arange(most, device=k.device) < counts.clamp(min=1)[:, None]  # one place always, for the softmax
    attended = F.scaled_dot_product_attention(q, k, v, attn_mask=filled[:, None, None, :], scale=scale)
    return attended * (counts > 0)[:, None, None, None]


def _gathered(k: Tensor, v: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """k and v: (B, h, M, d), places: (B, K) or (1, K) -> (B, h, K, d) each."""
    index = places[:, None, :, None]
    return torch.take_along_dim(k, index, 2), torch.take_along_dim(v, index, 2)


def _biased_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """Eq. 1 with a bias (B, M) or (1, M) that may need a gradient."""
    if torch.jit.is_tracing():  # as above, so that padding is not counted
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias[:, None, None, :])
    batch, heads, keys, width = k.shape
    padding = -(width + 1) % WIDTH_MULTIPLE
    extra = bias[:, None, :, None].expand(batch, heads, keys, 1).to(k.dtype)
    wide_q = F.pad(torch.cat([q * width**-0.5, torch.ones_like(q[..., :1])], dim=-1), (0, padding))
    wide_k = F.pad(torch.cat([k, extra], dim=-1), (0, padding))
    wide_v = F.pad(v, (0, padding + 1))
    return F.scaled_dot_product_attention(wide_q, wide_k, wide_v, scale=1.0)[..., :width]


class MultiHeadAttention(nn.Module):
    """Projections, attention and output projection over flattened positions."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"{channels} channels do not divide into {heads} heads")
        self.heads = heads
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.output = nn.Linear(channels, channels)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """query: (B, N, C), key and value: (B, M, C), mask as in key_masked_attention -> (B, N, C)."""
        attended = key_masked_attention(
            self._split(self.query(query)), self._split(self.key(key)), self._split(self.value(value)), mask
        )
        merged: Tensor = self.output(attended.transpose(1, 2).flatten(2))
        return merged

    def _split(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, h, N, d)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class MaskAttention(nn.Module):
    """The mask attention module: masked self-attention with residual, then Eq. 2. (B, C, H, W) -> (B, C, H, W).

    A layer norm over channels comes before the attention and before the feed-forward part; the equations have none,
    and without one the sums grow from module to module. `positions` is H W, to which some masks are tied.
    """

    def __init__(self, channels: int, heads: int, mask: str, positions: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(channels)
        self.mask = key_mask(mask, channels, positions)
        self.attention = MultiHeadAttention(channels, heads)
        self.norm_ffn = nn.LayerNorm(channels)
        self.ffn = nn.Sequential(
            nn.Linear(channels, FFN_FACTOR * channels), nn.GELU(), nn.Linear(FFN_FACTOR * channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        tokens = x.flatten(2).transpose(1, 2)
        normed = self.norm_attention(tokens)
        attended = tokens + self.attention(normed, normed, normed, self.mask(normed))
        refined = attended + self.ffn(self.norm_ffn(attended))
        return refined.transpose(1, 2).unflatten(2, (height, width))

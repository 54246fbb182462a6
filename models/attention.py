"""Multi-head attention with a mask over keys (paper Sec. 3.2, Eqs. 1 and 2).

Shapes: B images, h heads, N = H W positions, C channels, d = C / h. The (N, N) score matrix is never formed in
training or evaluation: the mask, one bias a key, rides along as one more feature of queries and keys through
`scaled_dot_product_attention`, which works tile by tile and passes a gradient to features, but not to a mask.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MASK_EPS = 1e-4  # weight a dropped key keeps, so that it still gets a gradient and can return
WIDTH_MULTIPLE = 8  # fused kernels want the width of a head divisible by this
FFN_FACTOR = 4  # inner width of the feed-forward part over C; the paper does not say (Vaswani et al. 2017)


def key_masked_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """softmax(q k^T / sqrt(d) + bias) v, Eq. 1.

    q: (B, h, N, d), k and v: (B, h, M, d), bias: (B, M), added to the logits of every query, or None. Returns
    (B, h, N, d).
    """
    if bias is None:
        return F.scaled_dot_product_attention(q, k, v)
    if torch.jit.is_tracing():  # counting FLOPs: the plain call, so that padding is not counted
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias[:, None, None, :])
    width = q.shape[-1]
    padding = -(width + 1) % WIDTH_MULTIPLE
    extra = bias[:, None, :, None].expand(-1, k.shape[1], -1, 1).to(k.dtype)
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

    def forward(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
        """query: (B, N, C), key and value: (B, M, C), bias: (B, M) or None -> (B, N, C)."""
        attended = key_masked_attention(
            self._split(self.query(query)), self._split(self.key(key)), self._split(self.value(value)), bias
        )
        merged: Tensor = self.output(attended.transpose(1, 2).flatten(2))
        return merged

    def _split(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, h, N, d)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class KeyMask(nn.Module):
    """A binary mask over keys, predicted from the features and binarised straight-through (AUDIT A26: the paper
    calls M 'learnable', 'binary' and 'dynamically computed' and gives no relaxation; this reading satisfies all)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.saliency = nn.Linear(channels, 1)
        nn.init.constant_(self.saliency.bias, 1.0)  # starts with most keys kept

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens: (B, N, C) -> bias (B, N): log(1 + eps) where kept, log(eps) where dropped."""
        soft = self.saliency(tokens).squeeze(-1).sigmoid()
        hard = (soft > 0.5).to(soft.dtype)
        kept = hard + soft - soft.detach()  # forward: hard; backward: the gradient of soft
        return (kept + MASK_EPS).log()


class MaskAttention(nn.Module):
    """The mask attention module: masked self-attention with residual, then Eq. 2. (B, C, H, W) -> (B, C, H, W).

    A layer norm over channels comes before the attention and before the feed-forward part; the equations have none,
    and without one the sums grow from module to module.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(channels)
        self.mask = KeyMask(channels)
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

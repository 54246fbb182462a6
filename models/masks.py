"""The mask M of Eq. 1 as one bias a key position: each reading of the paper is a kind with a name.

The paper calls M 'learnable', 'binary' and 'dynamically computed', and gives neither a shape nor a relaxation
(AUDIT A26). Every kind is a module from tokens (B, N, C) to what `attention.key_masked_attention` takes:
    learned-binary    predicted from the features, binarised straight-through; this satisfies all three words
    learned-soft      predicted from the features, not binarised
    static            M is a parameter, one a position
    random-fixed      a random half of the positions, drawn once when the network is built
    random-resampled  a random half of the positions of each image, drawn anew in every pass of the training
    none              no mask: ordinary self-attention
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from models.parallel import noise

MASK_EPS = 1e-4  # weight a dropped key keeps, so that it still gets a gradient and can return
EVALUATION_SEED = 0


class LearnedMask(nn.Module):
    """A saliency of each position, (B, N, C) -> bias (B, N): log(m + eps), m the saliency or, binary, 0 or 1.

    Kept is log(1 + eps), dropped is log(eps): the slope of the logarithm there makes up for the small weight, so that
    the gradient of a dropped key is as large as that of a kept one.
    """

    def __init__(self, channels: int, binary: bool) -> None:
        super().__init__()
        self.binary = binary
        self.saliency = nn.Linear(channels, 1)
        nn.init.constant_(self.saliency.bias, 1.0)  # starts with most keys kept

    def forward(self, tokens: Tensor) -> Tensor:
        kept = self.saliency(tokens).squeeze(-1).sigmoid()
        if self.binary:
            hard = (kept > 0.5).to(kept.dtype)
            kept = hard + kept - kept.detach()  # forward: hard; backward: the gradient of the sigmoid
        return (kept + MASK_EPS).log()


class StaticMask(nn.Module):
    """M itself is the parameter: bias (1, N), the same for every image. Starts without effect."""

    def __init__(self, positions: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, positions))

    def forward(self, _tokens: Tensor) -> Tensor:
        return self.bias


class RandomFixedMask(nn.Module):
    """The places (1, N/2) of a random half of the positions, which are kept; saved with the weights."""

    places: Tensor

    def __init__(self, positions: int) -> None:
        super().__init__()
        self.register_buffer("places", half(torch.rand(1, positions)))

    def forward(self, _tokens: Tensor) -> Tensor:
        return self.places


class RandomResampledMask(nn.Module):
    """The places (B, N/2) of a random half of each image's positions, which are kept.

    In evaluation a half is dropped too, as in training, but always the same one of N positions: then a prediction
    depends neither on chance nor on the other images of the batch.
    """

    def forward(self, tokens: Tensor) -> Tensor:
        batch, positions, _ = tokens.shape
        if self.training:
            return half(noise(batch, positions, tokens.device))
        chance = torch.Generator().manual_seed(EVALUATION_SEED)
        return half(torch.rand(1, positions, generator=chance)).to(tokens.device)


class NoMask(nn.Module):
    def forward(self, _tokens: Tensor) -> None:
        return None


def half(chance: Tensor) -> Tensor:
    """(B, N) random numbers -> int64 (B, N/2), places of the smaller half of each row, rounded up."""
    return chance.argsort(dim=1)[:, : (chance.shape[1] + 1) // 2]


KINDS: dict[str, Callable[[int, int], nn.Module]] = {
    "learned-binary": lambda channels, _: LearnedMask(channels, binary=True),
    "learned-soft": lambda channels, _: LearnedMask(channels, binary=False),
    "static": lambda _, positions: StaticMask(positions),
    "random-fixed": lambda _, positions: RandomFixedMask(positions),
    "random-resampled": lambda _, __: RandomResampledMask(),
    "none": lambda _, __: NoMask(),
}
TIED_TO_SIZE = ("static", "random-fixed")


def key_mask(kind: str, channels: int, positions: int) -> nn.Module:
    """The mask of one module over C channels and N positions. Raises ValueError for an unknown kind."""
    if kind not in KINDS:
        raise ValueError(f"unknown mask '{kind}'; known: {', '.join(KINDS)}")
    return KINDS[kind](channels, positions)

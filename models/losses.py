"""The losses of the U-Net family (paper Sec. 3.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from models.categories import VOID
from models.interface import Batch

TEMPERATURE = 0.1  # tau of Eq. 4; the paper gives none, this is SupCon's (Khosla et al. 2020)
PIXELS_PER_IMAGE = 512  # pixels of instances sampled for Eq. 6, which allows a subset


def cross_entropy(logits: Tensor, semantic: Tensor) -> Tensor:
    """Eq. 3 as a mean over labelled pixels (AUDIT A27: as a sum it would swamp Eq. 6); 0 where all is void.

    logits: (B, K, H, W), semantic: (B, H, W) with 255 = void. Flattened, since the two-dimensional form has no
    deterministic GPU kernel.
    """
    labels = semantic.flatten()
    flat = logits.movedim(1, -1).flatten(0, -2).float()
    total = F.cross_entropy(flat, labels, ignore_index=VOID, reduction="sum")
    return total / (labels != VOID).sum().clamp(min=1)


def instance_contrastive(embedding: Tensor, batch: Batch) -> Tensor:
    """Eqs. 4 to 6 over sampled pixels of thing instances, mean over images that have at least two such pixels.

    embedding: (B, E, H, W), made unit vectors here (the paper does not say; without that Eq. 4 is unbounded). A pixel
    is not its own positive. Crowd, stuff and void take no part.
    """
    losses = []
    for vectors, segments, table in zip(embedding, batch.segments, batch.tables, strict=True):
        things = [number for number, s in table.items() if s.is_thing and not s.is_crowd]
        instances = segments * torch.isin(segments, torch.tensor(things, device=segments.device))
        ids, places = sample_pixels(instances.flatten())
        pixels = F.normalize(vectors.flatten(1).T[places].float(), dim=-1)
        term = contrastive(pixels, ids)
        if term is not None:
            losses.append(term)
    return torch.stack(losses).mean() if losses else embedding.float().sum() * 0.0


def sample_pixels(instances: Tensor, limit: int = PIXELS_PER_IMAGE) -> tuple[Tensor, Tensor]:
    """(P,) instance ids, 0 = none -> ids and places of at most `limit` pixels, small instances first served.

    Every instance gets an equal share: a pixel's rank within its own instance, in random order, decides.
    """
    places = instances.nonzero().flatten()
    places = places[torch.randperm(len(places), device=places.device)]
    ids = instances[places]
    order = ids.argsort(stable=True)
    _, counts = torch.unique_consecutive(ids[order], return_counts=True)
    starts = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device) - starts
    chosen = rank.argsort(stable=True)[:limit]
    return ids[chosen], places[chosen]


def contrastive(pixels: Tensor, ids: Tensor, temperature: float = TEMPERATURE) -> Tensor | None:
    """Eqs. 4 to 6 for one image. pixels: (P, E) unit vectors, ids: (P,). None where no pixel has a partner."""
    similarity = pixels @ pixels.T / temperature
    own = torch.eye(len(ids), dtype=torch.bool, device=ids.device)
    positive = (ids[:, None] == ids) & ~own
    partners = positive.sum(1)
    if not partners.any():
        return None
    log_normaliser = similarity.masked_fill(own, -torch.inf).logsumexp(1, keepdim=True)  # log D, Eq. 4
    pair = (log_normaliser - similarity).masked_fill(~positive, 0.0)  # Eq. 5
    counted = partners > 0
    return (pair.sum(1)[counted] / partners[counted]).mean()  # Eq. 6

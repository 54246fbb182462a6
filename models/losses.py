"""The losses of the U-Net family (paper Secs. 3.3 and 4.2). Each is safe under mixed precision and with nothing to see.

The contrastive loss is taken over a sample of pixels, weighted so that it estimates the loss over all of them: a pixel
of an instance of which n of N pixels were drawn stands for N/n pixels.

Each is a mean over the whole batch: where processes share one, the mean of their values is (`models.parallel`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from models.categories import VOID
from models.interface import Batch
from models.parallel import divisor, largest, noise

TEMPERATURE = 0.1  # tau of Eq. 4; the paper gives none, this is SupCon's (Khosla et al. 2020)
# Pixels of instances sampled of an image for Eq. 6, which allows a subset. On `scenes` at 128x128 (up to 4,154 pixels
# of instances) 512 give a loss that is off by 0.002 of 6.7 (embeddings half apart) to 0.026 of 9.9 (random ones), with
# a deviation of 0.02 to 0.05 from draw to draw. 1,024 halve that for six times the time, 0.6 s a batch of 14 on a core.
PIXELS_PER_IMAGE = 512
NOWHERE = -1  # category of what is no instance
NEVER = -1e4  # a logit whose exponential is 0 beside any similarity, and still finite where nothing else is there


def cross_entropy(logits: Tensor, semantic: Tensor) -> Tensor:
    """Eq. 3 as a mean over labelled pixels (AUDIT A27: as a sum it would swamp Eq. 6); 0 where all is void.

    logits: (B, K, H, W), semantic: (B, H, W) with 255 = void. Flattened, since the two-dimensional form has no
    deterministic GPU kernel.
    """
    return _mean_cross_entropy(_by_pixel(logits), semantic.flatten(), VOID)


def instance_classification(logits: Tensor, batch: Batch) -> Tensor:
    """Sec. 4.2's "standard classification loss for each predicted instance": the mean over thing instances of the
    cross-entropy between the logits averaged over an instance's pixels and its category; 0 without an instance.

    logits: (B, K, H, W). The paper names neither the pixels nor a weight: ours are those of the true instance (a
    grouping has no gradient), and the weight is 1.
    """
    ids, categories = _instances(batch)
    slots = categories.shape[1]
    slot = (ids + slots * torch.arange(len(ids), device=ids.device)[:, None]).flatten()
    pixels = _by_pixel(logits)
    totals = pixels.new_zeros(categories.numel(), pixels.shape[1]).index_add(0, slot, pixels)
    areas = torch.bincount(slot, minlength=categories.numel())
    labels = categories.flatten().masked_fill(areas == 0, NOWHERE)
    return _mean_cross_entropy(totals / areas.clamp(min=1)[:, None], labels, NOWHERE)


def instance_contrastive(embedding: Tensor, batch: Batch, limit: int = PIXELS_PER_IMAGE) -> Tensor:
    """Eqs. 4 to 6, mean over images in which some instance has two pixels; 0 where there is none.

    embedding: (B, E, H, W), made unit vectors here (the paper does not say; without that Eq. 4 is unbounded).
    D of Eq. 4 runs over the pixels of all thing instances of the same image but the pixel itself: the paper's
    negatives "belong to different instances", which stuff, void and crowds do not, and a pixel is not its own
    positive. A pixel alone in its instance has no positive: it is a negative of others and not in the mean.
    """
    ids, categories = _instances(batch)
    most = largest(int((categories != NOWHERE).sum(1).amax()), embedding.device)
    ids, places, areas = sample_pixels(ids, max(limit, 2 * most))  # with one pixel of each there would be no pair
    with torch.autocast(embedding.device.type, enabled=False):
        vectors = _precise(embedding).flatten(2)
        sampled = vectors.gather(2, places[:, None].expand(-1, vectors.shape[1], -1)).mT
        losses, counted = contrastive(F.normalize(sampled, dim=-1), ids, areas)
    return losses.sum() / divisor(counted.sum())


def sample_pixels(instances: Tensor, limit: int = PIXELS_PER_IMAGE) -> tuple[Tensor, Tensor, Tensor]:
    """At most `limit` pixels of the instances of each image, an equal share an instance, small ones whole.

    instances: (B, P) instance of each pixel, 0 = none. A pixel's rank within its own instance, in random order,
    decides. Returns ids (0 = no pixel), places and whole areas of their instances in pixels, each
    (B, min(limit, P)).
    """
    chance = noise(len(instances), instances.shape[1], instances.device).double()
    order = (instances + chance).argsort(dim=1, stable=True)
    ids = instances.gather(1, order)
    first, end = torch.searchsorted(ids, ids), torch.searchsorted(ids, ids, right=True)
    rank = torch.arange(ids.shape[1], device=ids.device) - first
    # Chance decides between instances where the limit falls within a rank.
    priority = (rank + chance).masked_fill(ids == 0, torch.inf)
    chosen = priority.topk(min(limit, ids.shape[1]), dim=1, largest=False).indices
    return ids.gather(1, chosen), order.gather(1, chosen), (end - first).gather(1, chosen)


def contrastive(pixels: Tensor, ids: Tensor, areas: Tensor, temperature: float = TEMPERATURE) -> tuple[Tensor, Tensor]:
    """Eqs. 4 to 6 of each image, estimated from a sample of its pixels; exact where the sample is everything.

    pixels: (B, P, E) unit vectors; ids: (B, P), 0 = no pixel; areas: (B, P) pixels that the instance has in all.
    Returns losses (B,), and (B,) bool: whether any pixel has a partner; the loss is 0 where none has.
    """
    here = ids > 0
    same = ids[:, :, None] == ids[:, None]
    itself = torch.eye(ids.shape[1], dtype=torch.bool, device=ids.device)
    partners = same.sum(2) - 1
    paired = here & (partners > 0)
    stands_for = (areas / (partners + 1)).to(pixels.dtype)  # N/n
    # Of its own instance a pixel sees n - 1 others for N - 1.
    own = ((areas - 1) / partners.clamp(min=1)).to(pixels.dtype)
    weight = torch.where(same, own[:, :, None], stands_for[:, None])

    similarity = pixels @ pixels.mT / temperature
    counted = here[:, None] & ~itself
    log_normaliser = (similarity + weight.log()).masked_fill(~counted, NEVER).logsumexp(2)  # log D, Eq. 4
    attraction = (similarity * (same & ~itself)).sum(2) / partners.clamp(min=1)
    of_pixel = log_normaliser - attraction  # Eq. 5, mean over the partners
    share = stands_for * paired
    return (of_pixel * share).sum(1) / share.sum(1).clamp(min=1), paired.any(1)  # Eq. 6


def _instances(batch: Batch) -> tuple[Tensor, Tensor]:
    """ids (B, H * W): the segment of each pixel where that is a thing and no crowd, else 0; categories (B, S): of
    each such segment by its number, else NOWHERE."""
    slots = 1 + max((number for table in batch.tables for number in table), default=0)
    categories = torch.full((len(batch.tables), slots), NOWHERE)
    for row, table in zip(categories, batch.tables, strict=True):
        for number, segment in table.items():
            if segment.is_thing and not segment.is_crowd:
                row[number] = segment.category
    segments = batch.segments.flatten(1)
    categories = categories.to(segments.device)
    return segments * (categories.gather(1, segments) != NOWHERE), categories


def _by_pixel(logits: Tensor) -> Tensor:
    """(B, K, H, W) -> (B * H * W, K), at least float32."""
    return _precise(logits).movedim(1, -1).flatten(0, -2)


def _precise(values: Tensor) -> Tensor:
    """At least float32."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _mean_cross_entropy(logits: Tensor, labels: Tensor, ignored: int) -> Tensor:
    """logits: (N, K), labels: (N,). 0, with zero gradients, where every label is `ignored`."""
    total = F.cross_entropy(logits, labels, ignore_index=ignored, reduction="sum")
    return total / divisor((labels != ignored).sum())

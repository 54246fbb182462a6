"""From pixel embeddings to instances, inside each predicted thing class.

The paper trains embeddings (Eqs. 4 to 6) and never says how instances are read out of them (AUDIT A30). `greedy` is
ours. `components` and `dbscan` are the two ways of the released evaluator, which looks inside each
predicted class too. The score is the same for all three: the mean probability of the class over the instance.

An object whose pixels fall into two classes becomes two instances here. On a half-trained network one grouping over all
thing classes, each group taking its likeliest class, did better: PQ 27 instead of 23 on `scenes` at 64x64.

Shape letters: P pixels of one class in an image, E embedding width, S seeds.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

MAX_INSTANCES = 100  # detections an image that COCO's AP looks at
SAME_INSTANCE = 0.85  # cosine from which on two pixels are one instance
MIN_PIXELS = 8  # smaller groups are noise
SEEDS = 8  # tried at once, or more where few pixels are left:
PAIRS = 2**15  # of a seed and a pixel; more would save rounds and cost products
SHIFTS = 3  # mean-shift steps of a centre
DBSCAN_RADIUS = 0.5  # the released evaluator's eps and min_samples
DBSCAN_MIN_PIXELS = 5
EIGHT_NEIGHBOURS = ((1, 1, 1), (1, 1, 1), (1, 1, 1))

Cluster = Callable[[Tensor, Tensor, Tensor], Tensor]


def check_grouping(name: str) -> None:
    """Raises ValueError for a grouping that does not exist or lacks its library: before a training, not after it."""
    if name not in CLUSTERS:
        raise ValueError(f"unknown grouping '{name}'; known: {', '.join(CLUSTERS)}")
    if name == "dbscan" and importlib.util.find_spec("sklearn") is None:
        raise ValueError("grouping dbscan needs scikit-learn, which is not installed: pip install scikit-learn")


def group(name: str, semantic: Tensor, embedding: Tensor, confidence: Tensor, is_thing: Tensor) -> Tensor:
    """Instances of one image. semantic, confidence: (H, W) class and its probability; embedding: (E, H, W);
    is_thing: (K,) bool -> (H, W) int64: instance of each pixel from 1, 0 = none.

    Every instance lies in one class. At most MAX_INSTANCES are left, by falling mean confidence.
    """
    vectors, sureness = embedding.flatten(1).T.contiguous(), confidence.flatten()
    instances = torch.zeros_like(semantic).flatten()
    count = 0
    present = torch.bincount(semantic.flatten(), minlength=len(is_thing)) > 0
    for category in (present & is_thing).nonzero().flatten().tolist():
        region = semantic == category
        places = region.flatten().nonzero().flatten()
        found = CLUSTERS[name](region, vectors[places], sureness[places])
        instances[places] = torch.where(found > 0, found + count, 0)
        count += int(found.max())
    return _best(instances, sureness, count).view_as(semantic)


def _best(instances: Tensor, confidence: Tensor, count: int) -> Tensor:
    """Renumbers `count` instances by falling mean confidence; drops the empty and those past the limit. (H W) each."""
    areas = torch.bincount(instances, minlength=count + 1)
    totals = confidence.new_zeros(count + 1).index_add(0, instances, confidence)
    present = areas[1:].nonzero().flatten() + 1
    order = (totals[present] / areas[present]).argsort(descending=True, stable=True)
    best = present[order[:MAX_INSTANCES]]
    number = torch.zeros_like(areas)
    number[best] = torch.arange(1, len(best) + 1, device=best.device)
    return number[instances]


def greedy(_region: Tensor, vectors: Tensor, confidence: Tensor) -> Tensor:
    """Greedy mean shift on the unit sphere. vectors: (P, E), confidence: (P,) -> group of each from 1, 0 = none.

    The most confident pixels left are the seeds. Each seed's centre moves to the mean of what lies within SAME_INSTANCE
    and takes those pixels away; it counts where they are MIN_PIXELS or more and no earlier centre is that near. In the
    end each pixel joins the nearest centre, unless there is none.
    """
    vectors = F.normalize(vectors.float(), dim=1)
    centres = vectors.new_zeros(0, vectors.shape[1])
    left = vectors
    while len(left) >= MIN_PIXELS and len(centres) < MAX_INSTANCES:
        seeds = confidence.topk(min(max(SEEDS, PAIRS // len(left)), len(left))).indices
        found, near = _shift(left, left[seeds])
        centres = _distinct(torch.cat([centres, found[near.sum(0) >= MIN_PIXELS]]))
        gone = near.any(1)
        gone[seeds] = True  # a seed that its own centre has left behind is not tried again
        kept = (~gone).nonzero().flatten()
        left, confidence = left[kept], confidence[kept]
    if not len(centres):
        return torch.zeros(len(vectors), dtype=torch.int64, device=vectors.device)
    return (vectors @ centres[:MAX_INSTANCES].T).argmax(1) + 1


def _shift(vectors: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Centres (S, E) after SHIFTS moves, and (P, S) bool: what lies within SAME_INSTANCE of each."""
    for _ in range(SHIFTS):
        near = (vectors @ centres.T > SAME_INSTANCE).to(vectors.dtype)
        centres = F.normalize(near.T @ vectors, dim=1)
    return centres, vectors @ centres.T > SAME_INSTANCE


def _distinct(centres: Tensor) -> Tensor:
    """(S, E) -> those that have no earlier one within SAME_INSTANCE."""
    close = (centres @ centres.T > SAME_INSTANCE).tolist()
    kept: list[int] = []
    for number, row in enumerate(close):
        if not any(row[other] for other in kept):
            kept.append(number)
    return centres[kept]


def components(region: Tensor, _vectors: Tensor, _confidence: Tensor) -> Tensor:
    """8-connected components of a class's region (H, W), whatever the embeddings -> (P,) from 1."""
    labels, _ = ndimage.label(region.cpu().numpy(), structure=EIGHT_NEIGHBOURS)
    return torch.from_numpy(labels).to(region.device, torch.int64)[region]


def dbscan(_region: Tensor, vectors: Tensor, _confidence: Tensor) -> Tensor:
    """DBSCAN (Ester et al. 1996) of the raw embeddings (P, E), noise dropped -> (P,) from 1, 0 = none."""
    from sklearn.cluster import DBSCAN

    labels = DBSCAN(eps=DBSCAN_RADIUS, min_samples=DBSCAN_MIN_PIXELS).fit_predict(vectors.float().cpu().numpy())
    return torch.from_numpy(labels).to(vectors.device, torch.int64) + 1


CLUSTERS: dict[str, Cluster] = {"greedy": greedy, "components": components, "dbscan": dbscan}

"""Instances of the U-Net family: greedy grouping against DBSCAN, and the sampled contrastive loss against all pairs.

Seconds are those of the processor, on one thread, so that what else runs on the machine counts little.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.data.scene import Instance
from bench.evaluate.detections import encode, encode_masks
from bench.evaluate.instance import InstanceAccumulator
from models.categories import Segment
from models.grouping import group
from models.heads import EMBEDDING, read_instances
from models.interface import Batch
from models.losses import instance_contrastive

SIDE, ROWS, COLUMNS = 128, 4, 5  # 20 instances an image
THINGS = STUFF = 2  # thing classes 0 and 1, and one of stuff
IS_THING = torch.tensor([True] * THINGS + [False])
IMAGES = 4
ALL = 10**6  # more pixels than any image has: no sampling


class Drawn(NamedTuple):
    """segments (H, W), 0 = stuff; categories of segments; logits (K, H, W) and embedding (E, H, W) of a network."""

    segments: Tensor
    categories: dict[int, int]
    logits: Tensor
    embedding: Tensor


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def ellipses(generator: torch.Generator) -> Tensor:
    """Twenty that nearly touch, on a grid."""
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    segments = torch.zeros(SIDE, SIDE, dtype=torch.int64)
    for number in range(ROWS * COLUMNS):
        height, width = SIDE / ROWS, SIDE / COLUMNS
        row, column = height * (number // COLUMNS + 0.5), width * (number % COLUMNS + 0.5)
        scale = 0.75 + 0.3 * torch.rand(2, generator=generator)
        inside = ((rows - row) / (height / 2 * scale[0])) ** 2 + ((columns - column) / (width / 2 * scale[1])) ** 2 < 1
        segments[inside] = number + 1
    return segments


def draw(noise: float, generator: torch.Generator) -> Drawn:
    """Unit vectors an instance plus normal noise of that deviation in each of the 16 directions; unsure classes."""
    segments = ellipses(generator)
    categories = {n: int(torch.randint(THINGS, (1,), generator=generator)) for n in range(1, ROWS * COLUMNS + 1)}
    semantic = torch.tensor([STUFF, *categories.values()])[segments]
    centres = F.normalize(torch.randn(len(categories) + 1, EMBEDDING, generator=generator), dim=1)
    return Drawn(
        segments,
        categories,
        3 * F.one_hot(semantic).movedim(-1, 0) + 0.7 * torch.randn(THINGS + 1, SIDE, SIDE, generator=generator),
        centres[segments].movedim(-1, 0) + noise * torch.randn(EMBEDDING, SIDE, SIDE, generator=generator),
    )


def average_precision(drawn: list[Drawn], grouping: str) -> float:
    accumulator = InstanceAccumulator(THINGS + 1)
    for image in drawn:
        prediction = read_instances(image.logits, image.embedding, IS_THING, grouping)
        rles = encode_masks(np.stack([(image.segments == n).numpy() for n in image.categories]))
        truth = [Instance(category, False, rle) for category, rle in zip(image.categories.values(), rles, strict=True)]
        masks, categories = prediction.masks.numpy(), prediction.categories.numpy()
        accumulator.add(truth, encode(masks, categories, prediction.scores.numpy()))
    return accumulator.result().ap or 0.0


def fastest(call: Callable[[], object], rounds: int) -> float:
    """Processor seconds of the fastest of some rounds, after one that does not count."""
    call()
    times = []
    for _ in range(rounds):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


def seconds(grouping: str, drawn: list[Drawn], rounds: int) -> float:
    """Of the grouping alone, over all images."""
    total = 0.0
    for image in drawn:
        confidence, semantic = image.logits.softmax(0).max(0)
        total += fastest(partial(group, grouping, semantic, image.embedding, confidence, IS_THING), rounds)
    return total


@pytest.mark.perf
@pytest.mark.parametrize("noise", [0.05, 0.1, 0.15, 0.2])
def test_greedy_grouping_against_dbscan(noise: float, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")
    generator = torch.Generator().manual_seed(0)
    drawn = [draw(noise, generator) for _ in range(IMAGES)]

    ours, theirs = seconds("greedy", drawn, rounds=12), seconds("dbscan", drawn, rounds=3)
    precision, precision_of_dbscan = (average_precision(drawn, name) for name in ("greedy", "dbscan"))
    with capsys.disabled():
        sys.stdout.write(
            f"\nnoise {noise}: greedy grouping takes {ours / theirs:.3f} of DBSCAN's time, "
            f"AP {precision:.3f} against {precision_of_dbscan:.3f}\n"
        )
    assert precision >= precision_of_dbscan
    if noise <= 0.1:  # beyond, DBSCAN finds nothing but noise, and soon
        assert precision_of_dbscan > 0.5
        assert ours <= theirs / 20


def batch_of(images: int, side: int) -> tuple[Tensor, Batch]:
    """Embeddings, and images filled by 20 instances."""
    segments = (torch.arange(side * side) * 20 // (side * side) + 1).view(1, side, side).expand(images, -1, -1)
    table = dict.fromkeys(range(1, 21), Segment(0, True, False))
    embedding = torch.randn(images, EMBEDDING, side, side, generator=torch.Generator().manual_seed(0))
    return embedding.requires_grad_(), Batch(torch.zeros(0), segments, segments, [table] * images)


@pytest.mark.perf
def test_the_sampled_loss_of_a_batch_against_all_pairs_of_an_image(capsys: pytest.CaptureFixture[str]) -> None:
    """All pairs of 128x128 pixels are 2.7e8 an image: at 64x64 they fit."""
    embedding, batch = batch_of(14, 128)
    whole_embedding, whole_batch = batch_of(1, 64)
    sampled = fastest(lambda: instance_contrastive(embedding, batch).backward(), rounds=3)
    whole = fastest(lambda: instance_contrastive(whole_embedding, whole_batch, ALL).backward(), rounds=3)
    with capsys.disabled():
        sys.stdout.write(
            f"\ncontrastive loss and its gradient: 14 sampled images of 128x128 take {sampled / whole:.2f} of the time "
            f"of all pairs of one image of 64x64 (a 224th of the pairs of 14 of 128x128)\n"
        )
    assert sampled < whole

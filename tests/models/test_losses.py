"""The losses against literal loops over Eqs. 3 to 6."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.categories import VOID, Segment
from models.interface import Batch
from models.losses import PIXELS_PER_IMAGE, contrastive, cross_entropy, instance_contrastive, sample_pixels

THING = Segment(0, True, False)


def contrastive_by_loops(pixels: list[list[float]], ids: list[int], tau: float) -> float:
    """Eq. 6: mean over pixels of the mean over positive partners of Eq. 5, with Eq. 4's normaliser."""

    def similarity(i: int, j: int) -> float:
        return math.exp(sum(a * b for a, b in zip(pixels[i], pixels[j], strict=True)) / tau)

    of_pixels = []
    for i in range(len(ids)):
        positive = [k for k in range(len(ids)) if k != i and ids[k] == ids[i]]
        negative = [n for n in range(len(ids)) if ids[n] != ids[i]]
        if positive:
            normaliser = sum(similarity(i, m) for m in positive + negative)
            of_pixels.append(sum(-math.log(similarity(i, k) / normaliser) for k in positive) / len(positive))
    return sum(of_pixels) / len(of_pixels)


def unit(count: int, seed: int) -> Tensor:
    return F.normalize(torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=1)


def embedding_of(segments: Tensor, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(segments), 3, *segments.shape[1:], generator=generator)


def batch_of(segments: list[list[list[int]]], table: dict[int, Segment]) -> Batch:
    ids = torch.tensor(segments)
    return Batch(torch.zeros(len(ids), 3, *ids.shape[1:]), torch.full_like(ids, VOID), ids, [table] * len(ids))


def test_cross_entropy_is_the_mean_over_labelled_pixels() -> None:
    logits = torch.randn(2, 3, 2, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    semantic = torch.tensor([[[0, 1, 2, VOID], [1, 1, VOID, 0]], [[2, VOID, VOID, VOID], [VOID, VOID, 0, 1]]])
    terms = []
    for b in range(2):
        for y in range(2):
            for x in range(4):
                label = int(semantic[b, y, x])
                if label != VOID:
                    values = logits[b, :, y, x].tolist()
                    terms.append(math.log(sum(map(math.exp, values))) - values[label])
    assert float(cross_entropy(logits, semantic)) == pytest.approx(sum(terms) / len(terms), rel=1e-6)


def test_cross_entropy_is_zero_with_zero_gradients_where_all_is_void() -> None:
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = cross_entropy(logits, torch.full((1, 2, 2), VOID))
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("ids", [[1, 1, 2, 2, 2], [1, 2, 1, 3, 2, 1], [4, 4], [1, 2, 3, 3]])
@pytest.mark.parametrize("tau", [0.1, 1.0])
def test_contrastive_is_equations_4_to_6(ids: list[int], tau: float) -> None:
    pixels = unit(len(ids), seed=len(ids))
    found = contrastive(pixels, torch.tensor(ids), tau)
    assert found is not None
    assert float(found) == pytest.approx(contrastive_by_loops(pixels.tolist(), ids, tau), rel=1e-9)


@pytest.mark.parametrize("ids", [[], [1], [1, 2, 3]])
def test_contrastive_has_nothing_to_say_without_partners(ids: list[int]) -> None:
    assert contrastive(unit(len(ids), 0), torch.tensor(ids, dtype=torch.int64)) is None


def test_only_things_that_are_no_crowd_take_part() -> None:
    table = {1: THING, 2: Segment(1, True, False), 3: Segment(2, False, False), 4: Segment(0, True, True)}
    batch = batch_of([[[0, 1, 1, 2], [3, 3, 2, 4], [4, 0, 3, 2]]], table)
    embedding = embedding_of(batch.segments).requires_grad_()
    loss = instance_contrastive(embedding, batch)
    vectors = F.normalize(embedding[0].detach().double().flatten(1).T, dim=1)
    ids = batch.segments.flatten()
    chosen = (ids == 1) | (ids == 2)
    expected = contrastive_by_loops(vectors[chosen].tolist(), ids[chosen].tolist(), 0.1)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert embedding.grad is not None
    assert not embedding.grad[0, :, ~chosen.view(3, 4)].any()


def test_the_mean_is_over_images_that_have_pairs() -> None:
    segments = [[[1, 1, 2, 2]], [[1, 2, 2, 2]], [[0, 0, 0, 1]]]
    batch = batch_of(segments, {1: THING, 2: THING})
    embedding = embedding_of(batch.segments)
    each = []
    for vectors, ids in zip(embedding[:2].double(), batch.segments[:2], strict=True):
        each.append(
            contrastive_by_loops(F.normalize(vectors.flatten(1).T, dim=1).tolist(), ids.flatten().tolist(), 0.1)
        )
    assert float(instance_contrastive(embedding, batch)) == pytest.approx(sum(each) / 2, rel=1e-5)


@pytest.mark.parametrize(
    ("segments", "table"),
    [
        ([[[0, 0], [0, 0]]], {}),
        ([[[0, 0], [0, 0]]], {1: THING}),  # its pixels were cropped away
        ([[[1, 2], [3, 4]]], dict.fromkeys(range(1, 5), THING)),
        ([[[1, 1], [0, 0]]], {1: Segment(2, False, False)}),
        ([[[1, 1], [0, 0]]], {1: Segment(0, True, True)}),
    ],
    ids=["void", "vanished", "one pixel each", "stuff", "crowd"],
)
def test_images_without_pairs_give_zero_with_finite_gradients(
    segments: list[list[list[int]]], table: dict[int, Segment]
) -> None:
    batch = batch_of(segments, table)
    embedding = embedding_of(batch.segments).requires_grad_()
    loss = instance_contrastive(embedding, batch)
    loss.backward()
    assert float(loss.detach()) == 0
    assert embedding.grad is not None
    assert bool(embedding.grad.isfinite().all())


def test_one_pixel_among_larger_instances_gives_finite_gradients() -> None:
    batch = batch_of([[[1, 2, 2, 2], [2, 3, 3, 0]]], dict.fromkeys((1, 2, 3), THING))
    embedding = embedding_of(batch.segments).requires_grad_()
    instance_contrastive(embedding, batch).backward()
    assert embedding.grad is not None
    assert bool(embedding.grad.isfinite().all())
    assert bool(embedding.grad[0, :, 0, 0].any())  # it is a negative of the others


def test_separated_instances_have_a_lower_loss_than_random_ones(toy_batch: Callable[..., Batch]) -> None:
    batch = toy_batch((8, 8))
    perfect = torch.zeros(2, 4, 8, 8)
    perfect.scatter_(1, (batch.segments % 4)[:, None], 1.0)
    assert instance_contrastive(perfect, batch) < instance_contrastive(torch.randn(2, 4, 8, 8), batch)
    assert instance_contrastive(perfect, batch) < instance_contrastive(torch.ones(2, 4, 8, 8), batch)


def test_the_length_of_an_embedding_does_not_matter(toy_batch: Callable[..., Batch]) -> None:
    batch = toy_batch((8, 8))
    embedding = embedding_of(batch.segments)
    torch.testing.assert_close(instance_contrastive(7 * embedding, batch), instance_contrastive(embedding, batch))


def sampled_counts(sizes: dict[int, int], limit: int) -> dict[int, int]:
    instances = torch.cat([torch.full((size,), id) for id, size in sizes.items()])
    instances = instances[torch.randperm(len(instances))]
    ids, places = sample_pixels(instances, limit)
    assert torch.equal(instances[places], ids)
    assert len(places.unique()) == len(places) <= limit
    return {id: int((ids == id).sum()) for id in sizes}


def test_instances_share_the_sample_equally_and_small_ones_come_whole() -> None:
    assert sampled_counts({0: 50, 3: 500, 7: 400, 9: 5}, limit=65) == {0: 0, 3: 30, 7: 30, 9: 5}


def test_everything_is_taken_below_the_limit() -> None:
    assert sampled_counts({0: 9, 1: 4, 2: 1}, limit=512) == {0: 0, 1: 4, 2: 1}


def test_the_limit_holds_where_it_does_not_divide() -> None:
    assert sorted(sampled_counts(dict.fromkeys(range(1, 8), 10), limit=17).values()) == [2, 2, 2, 2, 3, 3, 3]


def test_an_image_with_many_pixels_is_sampled_to_the_limit() -> None:
    batch = batch_of([[[1] * 64] * 64], {1: THING})
    embedding = embedding_of(batch.segments).requires_grad_()
    instance_contrastive(embedding, batch).backward()
    assert embedding.grad is not None
    assert int(embedding.grad.abs().sum(1).bool().sum()) == PIXELS_PER_IMAGE


def test_the_sample_is_a_function_of_torchs_seed() -> None:
    instances = torch.arange(600) % 3
    samples = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        samples.append(sample_pixels(instances, 30)[1].tolist())
    assert samples[0] == samples[1] != samples[2]

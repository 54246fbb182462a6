"""The losses against literal loops over Eqs. 3 to 6, and their sampled form against the whole."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.categories import VOID, Segment
from models.interface import Batch
from models.losses import (
    PIXELS_PER_IMAGE,
    contrastive,
    cross_entropy,
    instance_classification,
    instance_contrastive,
    sample_pixels,
)

THING = Segment(0, True, False)
ALL = 10**6  # more pixels than any image has: no sampling


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


def whole(embedding: Tensor, ids: Tensor, tau: float = 0.1) -> float:
    """The loops over every pixel of one image that has an id. embedding: (E, H, W); ids: (H, W)."""
    vectors = F.normalize(embedding.double().flatten(1).T, dim=1)
    chosen = ids.flatten() > 0
    return contrastive_by_loops(vectors[chosen].tolist(), ids.flatten()[chosen].tolist(), tau)


def embedding_of(segments: Tensor, seed: int = 0, width: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(segments), width, *segments.shape[1:], generator=generator, dtype=torch.float64)


def batch_of(segments: list[list[list[int]]], *tables: dict[int, Segment]) -> Batch:
    """One table for each image, or one for all."""
    ids = torch.tensor(segments)
    every = list(tables) if len(tables) == len(ids) else [*tables] * len(ids)
    return Batch(torch.zeros(len(ids), 3, *ids.shape[1:]), torch.full_like(ids, VOID), ids, every)


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
    assert float(cross_entropy(logits, semantic)) == pytest.approx(sum(terms) / len(terms), rel=1e-10)


def test_cross_entropy_is_zero_with_zero_gradients_where_all_is_void() -> None:
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = cross_entropy(logits, torch.full((1, 2, 2), VOID))
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_classification_is_the_cross_entropy_of_each_instances_mean_logits() -> None:
    table = {
        1: Segment(2, True, False),
        2: Segment(0, True, False),
        3: Segment(1, False, False),
        4: Segment(1, True, True),
        5: Segment(1, True, False),  # without a pixel
    }
    other = {1: Segment(1, True, False)}
    batch = batch_of([[[1, 1, 2], [0, 3, 2], [4, 1, 3]], [[1, 0, 0], [0, 1, 0], [0, 0, 0]]], table, other)
    logits = torch.randn(2, 3, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    terms = []
    for image, number, category in ((0, 1, 2), (0, 2, 0), (1, 1, 1)):
        region = batch.segments[image] == number
        mean = [float(channel[region].mean()) for channel in logits[image]]
        terms.append(math.log(sum(map(math.exp, mean))) - mean[category])
    assert float(instance_classification(logits, batch)) == pytest.approx(sum(terms) / 3, rel=1e-10)


@pytest.mark.parametrize("ids", [[1, 1, 2, 2, 2], [1, 2, 1, 3, 2, 1], [4, 4], [1, 2, 3, 3]])
@pytest.mark.parametrize("tau", [0.1, 1.0])
def test_contrastive_is_equations_4_to_6(ids: list[int], tau: float) -> None:
    pixels = torch.randn(len(ids), 3, generator=torch.Generator().manual_seed(len(ids)), dtype=torch.float64)
    pixels = F.normalize(pixels, dim=1)
    areas = torch.tensor([ids.count(id) for id in ids])
    losses, counted = contrastive(pixels[None], torch.tensor([ids]), areas[None], tau)
    assert counted.tolist() == [True]
    assert float(losses) == pytest.approx(contrastive_by_loops(pixels.tolist(), ids, tau), rel=1e-10)


@pytest.mark.parametrize("size", [(3, 5), (12, 16), (20, 24)])
def test_with_every_pixel_the_loss_is_the_double_loop(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(size[0])
    segments = torch.randint(5, (2, *size), generator=generator)
    batch = batch_of(segments.tolist(), dict.fromkeys(range(1, 5), THING))
    embedding = embedding_of(segments, width=6)
    expected = sum(whole(e, ids) for e, ids in zip(embedding, segments, strict=True)) / 2
    assert float(instance_contrastive(embedding, batch, ALL)) == pytest.approx(expected, rel=1e-10)


def test_its_gradient_is_the_slope_of_the_double_loop() -> None:
    segments = torch.tensor([[[1, 1, 2], [2, 2, 3]]])
    batch = batch_of(segments.tolist(), dict.fromkeys(range(1, 4), THING))
    embedding = embedding_of(segments).requires_grad_()
    assert torch.autograd.gradcheck(lambda e: instance_contrastive(e, batch), embedding, atol=1e-7)
    instance_contrastive(embedding, batch).backward()
    step = torch.zeros_like(embedding)
    step[0, 1, 0, 2] = 1e-5
    with torch.no_grad():
        slope = (whole((embedding + step)[0], segments[0]) - whole((embedding - step)[0], segments[0])) / 2e-5
    assert embedding.grad is not None
    assert float(embedding.grad[0, 1, 0, 2]) == pytest.approx(slope, rel=1e-6)


def two_large_one_small() -> tuple[Tensor, Batch, float]:
    """Instances of 1400, 560 and 40 pixels in noisy clusters: embedding, batch, and the loss over all pixels."""
    ids = torch.cat([torch.full((n,), id) for id, n in ((1, 1400), (2, 560), (3, 40))]).view(1, 40, 50)
    centres = torch.eye(4, dtype=torch.float64)[ids[0]].movedim(-1, 0)
    embedding = centres[None] + 0.4 * embedding_of(ids, width=4)
    batch = batch_of(ids.tolist(), dict.fromkeys(range(1, 4), THING))
    return embedding, batch, float(instance_contrastive(embedding, batch, ALL))


def mean_loss(embedding: Tensor, batch: Batch, limit: int, draws: int) -> float:
    torch.manual_seed(0)
    return sum(float(instance_contrastive(embedding, batch, limit)) for _ in range(draws)) / draws


def test_the_bias_of_the_sample_goes_to_zero() -> None:
    """Unweighted, the loss over 128 of 2000 pixels is off by about ln(2000/128) = 2.7."""
    embedding, batch, exact = two_large_one_small()
    biases = [abs(mean_loss(embedding, batch, limit, draws=80) - exact) for limit in (32, 128, 512)]
    assert biases[0] < 0.2
    assert biases[1] < biases[0] / 2
    assert biases[2] < 0.01
    assert exact - mean_loss_without_weights(embedding, batch, 128) > math.log(2000 / 128) - 0.5


def mean_loss_without_weights(embedding: Tensor, batch: Batch, limit: int) -> float:
    """Each sampled pixel stands for itself alone."""
    torch.manual_seed(0)
    ids, places, _ = sample_pixels(batch.segments.flatten(1), limit)
    pixels = F.normalize(embedding.flatten(2)[0].T[places[0]], dim=1)
    return contrastive_by_loops(pixels.tolist(), ids[0].tolist(), 0.1)


def test_the_sample_of_a_step_gives_the_direction_of_the_whole_gradient() -> None:
    embedding, batch, _ = two_large_one_small()
    gradients = []
    for limit, draws in ((ALL, 1), (PIXELS_PER_IMAGE, 20)):
        torch.manual_seed(0)
        leaf = embedding.clone().requires_grad_()
        torch.stack([instance_contrastive(leaf, batch, limit) for _ in range(draws)]).mean().backward()
        assert leaf.grad is not None
        gradients.append(leaf.grad.flatten())
    assert F.cosine_similarity(gradients[0], gradients[1], dim=0) > 0.9
    assert gradients[1].norm() / gradients[0].norm() == pytest.approx(1, abs=0.2)


def test_only_things_that_are_no_crowd_take_part() -> None:
    table = {1: THING, 2: Segment(1, True, False), 3: Segment(2, False, False), 4: Segment(0, True, True)}
    batch = batch_of([[[0, 1, 1, 2], [3, 3, 2, 4], [4, 0, 3, 2]]], table)
    embedding = embedding_of(batch.segments).requires_grad_()
    loss = instance_contrastive(embedding, batch)
    chosen = batch.segments[0] * (batch.segments[0] <= 2)
    assert float(loss.detach()) == pytest.approx(whole(embedding[0].detach(), chosen), rel=1e-10)
    loss.backward()
    assert embedding.grad is not None
    assert not embedding.grad[0, :, chosen == 0].any()


def test_the_mean_is_over_images_that_have_pairs_and_an_id_is_the_images_own() -> None:
    segments = [[[1, 1, 2, 2]], [[1, 2, 2, 2]], [[0, 0, 0, 1]]]
    batch = batch_of(segments, {1: THING, 2: THING}, {1: Segment(2, False, False), 2: THING}, {1: THING})
    embedding = embedding_of(batch.segments)
    expected = (whole(embedding[0], batch.segments[0]) + whole(embedding[1, :, :, 1:], torch.tensor([[2, 2, 2]]))) / 2
    assert float(instance_contrastive(embedding, batch)) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(
    ("segments", "table"),
    [
        ([[[0, 0], [0, 0]]], {}),
        ([[[0, 0], [0, 0]]], {1: THING}),  # its pixels were cropped away
        ([[[1, 2], [3, 4]]], dict.fromkeys(range(1, 5), THING)),
        ([[[1, 0], [0, 0]]], {1: THING}),
        ([[[1, 1], [0, 0]]], {1: Segment(2, False, False)}),
        ([[[1, 1], [0, 0]]], {1: Segment(0, True, True)}),
    ],
    ids=["void", "vanished", "one pixel each", "one pixel", "stuff", "crowd"],
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
    assert not embedding.grad.any()


@pytest.mark.parametrize("table", [{}, {1: Segment(0, False, False)}, {1: Segment(0, True, True)}])
def test_without_an_instance_there_is_nothing_to_classify(table: dict[int, Segment]) -> None:
    logits = torch.randn(1, 2, 2, 2, requires_grad=True)
    loss = instance_classification(logits, batch_of([[[int(1 in table)] * 2] * 2], table))
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_one_instance_alone_is_drawn_together() -> None:
    batch = batch_of([[[1, 1], [1, 0]]], {1: THING})
    embedding = embedding_of(batch.segments)
    same = torch.ones_like(embedding)
    assert float(instance_contrastive(same, batch)) == pytest.approx(math.log(2))  # two partners, equally near
    assert instance_contrastive(embedding, batch) > math.log(2)


def test_one_pixel_among_larger_instances_is_a_negative_of_the_others() -> None:
    batch = batch_of([[[1, 2, 2, 2], [2, 3, 3, 0]]], dict.fromkeys((1, 2, 3), THING))
    embedding = embedding_of(batch.segments).requires_grad_()
    instance_contrastive(embedding, batch).backward()
    assert embedding.grad is not None
    assert bool(embedding.grad.isfinite().all())
    assert bool(embedding.grad[0, :, 0, 0].any())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_outputs_lose_nothing_but_their_own_rounding(
    dtype: torch.dtype, toy_batch: Callable[..., Batch]
) -> None:
    """Also under autocast, whose products would else be of half precision."""
    batch = toy_batch((16, 16))
    maps = (100 * torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))).to(dtype)
    for loss in (
        lambda x: cross_entropy(x, batch.semantic),
        lambda x: instance_classification(x, batch),
        lambda x: instance_contrastive(x, batch, ALL),
    ):
        leaf = maps.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            found = loss(leaf)
        found.backward()
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), loss(maps.double()), rtol=1e-4, atol=1e-4)
        assert leaf.grad is not None
        assert bool(leaf.grad.isfinite().all())


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
    instances = instances[torch.randperm(len(instances))][None]
    ids, places, areas = (found[0] for found in sample_pixels(instances, limit))
    assert torch.equal(instances[0, places], ids)
    assert len(places.unique()) == len(places) == min(limit, instances.numel())
    assert all(sizes[id] == area for id, area in zip(ids.tolist(), areas.tolist(), strict=True))
    return {id: int((ids == id).sum()) for id in sizes if id}


def test_instances_share_the_sample_equally_and_small_ones_come_whole() -> None:
    assert sampled_counts({0: 50, 3: 500, 7: 400, 9: 5}, limit=65) == {3: 30, 7: 30, 9: 5}


def test_everything_is_taken_below_the_limit() -> None:
    assert sampled_counts({0: 9, 1: 4, 2: 1}, limit=12) == {1: 4, 2: 1}


def test_the_limit_holds_where_it_does_not_divide_and_chance_decides_who_gets_more() -> None:
    found = [sampled_counts(dict.fromkeys(range(1, 8), 10), limit=17) for _ in range(50)]
    assert all(sorted(counts.values()) == [2, 2, 2, 2, 3, 3, 3] for counts in found)
    assert all({counts[id] for counts in found} == {2, 3} for id in range(1, 8))


def test_every_pixel_of_an_instance_is_as_likely_as_the_others() -> None:
    torch.manual_seed(0)
    times = torch.zeros(20)
    for _ in range(400):
        ids, places, _ = sample_pixels(torch.tensor([[1] * 10 + [2] * 6 + [0] * 4]), 8)
        times[places[ids > 0]] += 1
    assert times[16:].sum() == 0
    torch.testing.assert_close(times[:10] / 400, torch.full((10,), 0.4), atol=0.1, rtol=0)
    torch.testing.assert_close(times[10:16] / 400, torch.full((6,), 4 / 6), atol=0.1, rtol=0)


def test_an_image_with_many_pixels_is_sampled_to_the_limit() -> None:
    batch = batch_of([[[1] * 64] * 64], {1: THING})
    embedding = embedding_of(batch.segments).requires_grad_()
    instance_contrastive(embedding, batch).backward()
    assert embedding.grad is not None
    assert int(embedding.grad.abs().sum(1).bool().sum()) == PIXELS_PER_IMAGE


def test_more_instances_than_half_the_sample_still_have_a_pair_each() -> None:
    segments = torch.arange(1, 401).repeat_interleave(4).view(1, 40, 40)
    batch = batch_of(segments.tolist(), dict.fromkeys(range(1, 401), THING))
    embedding = embedding_of(segments).requires_grad_()
    instance_contrastive(embedding, batch).backward()
    assert embedding.grad is not None
    seen = embedding.grad[0].abs().sum(0).bool()
    assert all(int(seen[segments[0] == id].sum()) == 2 for id in range(1, 401))


def test_the_sample_is_a_function_of_torchs_seed() -> None:
    instances = torch.arange(600)[None] % 3
    samples = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        samples.append(sample_pixels(instances, 30)[1].tolist())
    assert samples[0] == samples[1] != samples[2]

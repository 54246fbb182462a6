"""Pixels to instances: the three groupings on vectors drawn by hand, and what they have in common."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from models.grouping import CLUSTERS, MAX_INSTANCES, MIN_PIXELS, check_grouping, dbscan, greedy, group

ANYWHERE = torch.empty(0)  # greedy and dbscan do not look at the region
IS_THING = torch.tensor([True, True, False])
needs_sklearn = pytest.mark.skipif(importlib.util.find_spec("sklearn") is None, reason="needs scikit-learn")
GROUPINGS = [pytest.param(name, marks=needs_sklearn if name == "dbscan" else ()) for name in CLUSTERS]


def noisy(axis: int, count: int, seed: int = 0, width: int = 4) -> Tensor:
    """Unit vectors near one axis."""
    noise = 0.1 * torch.randn(count, width, generator=torch.Generator().manual_seed(seed))
    return F.normalize(F.one_hot(torch.tensor(axis), width) + noise, dim=1)


def clustered(vectors: Tensor, confidence: Tensor) -> list[int]:
    return greedy(ANYWHERE, vectors, confidence).tolist()


def test_two_separated_clusters_are_two_groups_in_any_order() -> None:
    vectors = torch.cat([noisy(0, 20), noisy(1, 30)])
    shuffled = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    groups = greedy(ANYWHERE, vectors[shuffled], torch.linspace(0.5, 1, 50))
    truth = (shuffled >= 20).long()
    assert sorted(groups.unique().tolist()) == [1, 2]
    assert all(len(groups[truth == cluster].unique()) == 1 for cluster in (0, 1))


def test_the_length_of_a_vector_does_not_matter_to_greedy() -> None:
    lengths = torch.linspace(0.01, 100, 50)[:, None]
    vectors = torch.cat([noisy(0, 20), noisy(1, 30)])
    assert clustered(vectors * lengths, torch.ones(50)) == clustered(vectors, torch.ones(50))


def test_many_clusters_are_found_over_several_rounds_of_seeds() -> None:
    """The most confident pixels, the first seeds, are all in one cluster."""
    vectors = torch.eye(30).repeat_interleave(40, dim=0)
    groups = greedy(ANYWHERE, vectors, torch.linspace(1, 0, len(vectors)))
    assert groups.view(30, 40).tolist() == [[n] * 40 for n in range(1, 31)]


def test_the_centre_moves_from_an_odd_seed_to_the_middle_of_its_cluster() -> None:
    angles = torch.tensor([0.5] + [0.0] * 10 + [-0.25] * 10)  # first and last are 0.75 rad apart, the limit is 0.55
    vectors = torch.stack([angles.cos(), angles.sin()], dim=1)
    assert clustered(vectors, torch.tensor([0.9] + [0.5] * 20)) == [1] * 21


def test_the_rim_of_a_wide_cluster_is_no_second_instance() -> None:
    """A ring 0.6 rad around its pole, past the limit of 0.55: the mean of any arc of it lies within the limit."""
    around = torch.arange(48) * torch.pi / 24
    tilt = torch.full_like(around, 0.6)
    ring = torch.stack([tilt.sin() * around.cos(), tilt.sin() * around.sin(), tilt.cos()], dim=1)
    vectors = torch.cat([torch.tensor([[0.0, 0.0, 1.0]] * 40), ring])
    assert clustered(vectors, torch.linspace(1, 0.5, 88)) == [1] * 88


@pytest.mark.parametrize("count", range(MIN_PIXELS))
def test_fewer_pixels_than_the_minimum_are_no_group(count: int) -> None:
    assert clustered(noisy(0, count), torch.ones(count)) == [0] * count


def test_the_minimum_is_a_group() -> None:
    assert clustered(noisy(0, MIN_PIXELS), torch.ones(MIN_PIXELS)) == [1] * MIN_PIXELS


def test_a_cluster_below_the_minimum_joins_the_nearest_group() -> None:
    vectors = torch.cat([noisy(0, 9), noisy(1, 9), F.normalize(torch.tensor([[0.0, 0.5, 0.9, 0.0]] * 2), dim=1)])
    groups = clustered(vectors, torch.cat([torch.full((18,), 0.5), torch.ones(2)]))
    assert groups[18:] == [groups[9]] * 2
    assert len(set(groups)) == 2


def test_scattered_pixels_and_zero_vectors_stay_ungrouped() -> None:
    assert clustered(torch.eye(20), torch.ones(20)) == [0] * 20
    assert clustered(torch.zeros(20, 6), torch.ones(20)) == [0] * 20


@needs_sklearn
def test_dbscan_drops_noise_and_looks_at_raw_vectors() -> None:
    """Ten points 0.1 apart are one cluster, stretched 8 times they are noise; a far point is noise."""
    line = torch.stack([0.1 * torch.arange(10), torch.zeros(10)], dim=1)
    vectors = torch.cat([line, torch.tensor([[9.0, 9.0]])])
    assert dbscan(ANYWHERE, vectors, torch.ones(11)).tolist() == [1] * 10 + [0]
    assert dbscan(ANYWHERE, 8 * vectors, torch.ones(11)).tolist() == [0] * 11


def image(classes: list[str], instances: list[str]) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of digits: class and instance of each pixel -> semantic (H, W), embedding (10, H, W), confidence (H, W)."""
    semantic, which = (torch.tensor([[int(c) for c in row] for row in rows]) for rows in (classes, instances))
    return semantic, F.one_hot(which, 10).movedim(-1, 0).float(), torch.full(semantic.shape, 0.5)


@pytest.mark.parametrize("name", GROUPINGS)
def test_instances_lie_in_one_thing_class_each_and_stuff_has_none(name: str) -> None:
    """One embedding over two thing classes and stuff: two instances."""
    semantic, embedding, confidence = image(["000111222"] * 3, ["333333333"] * 3)
    found = group(name, semantic, embedding, confidence, IS_THING)
    assert found.tolist() == [[1, 1, 1, 2, 2, 2, 0, 0, 0]] * 3


@pytest.mark.parametrize("name", ["greedy", pytest.param("dbscan", marks=needs_sklearn)])
def test_touching_instances_of_a_class_are_told_apart_by_embedding_and_parts_put_together(name: str) -> None:
    semantic, embedding, confidence = image(["00000002000"] * 3, ["11112222111"] * 3)
    confidence[:, :3] = 0.6
    found = group(name, semantic, embedding, confidence, IS_THING)
    assert found[0].tolist() == [1, 1, 1, 1, 2, 2, 2, 0, 1, 1, 1]


def test_components_look_at_the_region_alone_and_join_diagonal_neighbours() -> None:
    semantic, embedding, confidence = image(["0222", "2022", "2220", "1120"], ["1234"] * 4)
    found = group("components", semantic, embedding, confidence, IS_THING)
    assert found.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 2], [3, 3, 0, 2]]


def test_components_are_scipys_of_each_class() -> None:
    rng = np.random.default_rng(0)
    semantic = rng.integers(3, size=(20, 24))
    found = group("components", torch.from_numpy(semantic), torch.zeros(2, 20, 24), torch.ones(20, 24), IS_THING)
    count = 0
    for category in (0, 1):
        expected, number = ndimage.label(semantic == category, structure=np.ones((3, 3)))
        ours = np.where(semantic == category, found.numpy(), 0)
        pairs = set(zip(expected.flatten().tolist(), ours.flatten().tolist(), strict=True))
        assert len(pairs) == number + 1  # a bijection, 0 to 0
        assert (0, 0) in pairs
        count += number
    assert len(found.unique()) == count + 1


def test_the_surest_instance_comes_first() -> None:
    semantic, embedding, confidence = image(["00000000"] * 2, ["11112222"] * 2)
    confidence[:, 4:] = 0.9
    assert group("greedy", semantic, embedding, confidence, IS_THING)[0].tolist() == [2] * 4 + [1] * 4


@pytest.mark.parametrize("name", GROUPINGS)
def test_at_most_a_hundred_instances_of_the_highest_mean_confidence_are_left(name: str) -> None:
    """120 instances of 8 pixels of which the classes have 60 each, far apart in space and embedding."""
    semantic = torch.full((40, 60), 2)
    which = torch.zeros(40, 60, dtype=torch.int64)
    confidence = torch.full((40, 60), 0.99)
    for n in range(120):
        place = (slice(n // 12 * 4, n // 12 * 4 + 2), slice(n % 12 * 5, n % 12 * 5 + 4))
        semantic[place], which[place], confidence[place] = n % 2, n, 0.3 + n / 1000
    embedding = F.one_hot(which, 120).movedim(-1, 0).float()
    found = group(name, semantic, embedding, confidence, IS_THING)
    assert int(found.max()) == MAX_INSTANCES == 100
    assert found[::4, ::5].flatten().tolist() == [0] * 20 + list(range(100, 0, -1))


@pytest.mark.parametrize("name", GROUPINGS)
def test_random_maps_are_numbered_without_a_gap(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    for width in (2, 8):
        semantic = torch.randint(3, (15, 17), generator=generator)
        embedding = torch.randn(width, 15, 17, generator=generator)
        confidence = torch.rand(15, 17, generator=generator)
        found = group(name, semantic, embedding, confidence, IS_THING)
        assert found.unique().tolist() == list(range(int(found.min()), int(found.max()) + 1))
        assert not found[semantic == 2].any()
        assert all(len(semantic[found == n].unique()) == 1 for n in range(1, int(found.max()) + 1))


@pytest.mark.parametrize("name", GROUPINGS)
def test_without_a_thing_pixel_there_is_nothing(name: str) -> None:
    assert not group(name, *image(["22", "22"], ["11", "11"]), IS_THING).any()


@pytest.mark.parametrize("name", GROUPINGS)
def test_half_precision_embeddings_are_grouped_alike(name: str) -> None:
    semantic, embedding, confidence = image(["00000002000"] * 3, ["11112222111"] * 3)
    expected = group(name, semantic, embedding, confidence, IS_THING)
    assert torch.equal(group(name, semantic, embedding.bfloat16(), confidence, IS_THING), expected)


def test_an_unknown_grouping_and_a_missing_library_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="unknown grouping 'greed'; known: greedy, components, dbscan"):
        check_grouping("greed")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    check_grouping("greedy")
    with pytest.raises(ValueError, match="grouping dbscan needs scikit-learn"):
        check_grouping("dbscan")

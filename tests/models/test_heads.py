"""Grouping and read-out on embeddings and probabilities drawn by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.heads import MAX_INSTANCES, MIN_PIXELS, PixelHeads, coordinates, group, read_out
from models.interface import Prediction

IS_THING = torch.tensor([True, True, False, False])


def noisy(axis: int, count: int, seed: int = 0, width: int = 4) -> Tensor:
    """Unit vectors near one axis."""
    noise = 0.1 * torch.randn(count, width, generator=torch.Generator().manual_seed(seed))
    return F.normalize(F.one_hot(torch.tensor(axis), width) + noise, dim=1)


def image(rows: list[str], sure: float = 0.9) -> tuple[Tensor, Tensor]:
    """Each character is a pixel: its class in lower case letters a to d; upper case has another embedding.

    Returns logits (4, H, W) with `sure` for the class, and embedding (4, H, W).
    """
    classes = torch.tensor([["abcd".index(char.lower()) for char in row] for row in rows])
    upper = torch.tensor([[int(char.isupper()) for char in row] for row in rows])
    rest = (1 - sure) / 3
    probabilities = rest + (sure - rest) * F.one_hot(classes, 4).movedim(-1, 0)
    return probabilities.log(), F.one_hot(upper, 4).movedim(-1, 0).float()


def assert_contract(prediction: Prediction, size: tuple[int, int]) -> None:
    assert prediction.semantic.shape == prediction.panoptic.shape == size
    assert set(prediction.panoptic.unique().tolist()) - {0} == set(prediction.segments)
    assert sorted(prediction.segments) == list(range(1, len(prediction.segments) + 1))
    count = len(prediction.scores)
    assert prediction.masks.shape == (count, *size)
    assert prediction.masks.dtype == torch.bool
    assert prediction.categories.shape == (count,)
    assert all(bool(IS_THING[category]) for category in prediction.categories.tolist())


def test_two_separated_clusters_are_two_groups() -> None:
    vectors = torch.cat([noisy(0, 20), noisy(1, 30)])
    shuffled = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    groups = group(vectors[shuffled], torch.linspace(0.5, 1, 50))
    truth = (shuffled >= 20).long()
    assert sorted(groups.unique().tolist()) == [1, 2]
    assert all(len(groups[truth == cluster].unique()) == 1 for cluster in (0, 1))


def test_the_most_confident_cluster_is_the_first_group() -> None:
    confidence = torch.cat([torch.full((10,), 0.6), torch.full((10,), 0.9)])
    assert group(torch.cat([noisy(0, 10), noisy(1, 10)]), confidence).tolist() == [2] * 10 + [1] * 10


def test_the_centre_moves_from_an_odd_seed_to_the_middle_of_its_cluster() -> None:
    angles = torch.tensor([0.7] + [0.0] * 5 + [-0.3] * 5)  # first and last are 1 rad apart, the limit is 0.8
    vectors = torch.stack([angles.cos(), angles.sin()], dim=1)
    assert group(vectors, torch.tensor([0.9] + [0.5] * 10)).tolist() == [1] * 11


@pytest.mark.parametrize("count", range(MIN_PIXELS))
def test_fewer_pixels_than_the_minimum_are_no_group(count: int) -> None:
    assert group(noisy(0, count), torch.ones(count)).tolist() == [0] * count


def test_the_minimum_is_a_group() -> None:
    assert group(noisy(0, MIN_PIXELS), torch.ones(MIN_PIXELS)).tolist() == [1] * MIN_PIXELS


def test_a_cluster_below_the_minimum_joins_the_nearest_group() -> None:
    vectors = torch.cat([noisy(0, 9), noisy(1, 9), F.normalize(torch.tensor([[0.0, 0.5, 0.9, 0.0]] * 2), dim=1)])
    groups = group(vectors, torch.cat([torch.full((18,), 0.5), torch.ones(2)]))
    assert groups[18:].tolist() == [int(groups[9])] * 2
    assert len(groups.unique()) == 2


def test_scattered_pixels_without_any_group_stay_ungrouped() -> None:
    assert group(torch.eye(6), torch.ones(6)).tolist() == [0] * 6


def test_there_are_at_most_a_hundred_groups() -> None:
    vectors = torch.eye(120).repeat_interleave(MIN_PIXELS, dim=0)
    assert int(group(vectors, torch.ones(len(vectors))).max()) == MAX_INSTANCES == 100


def test_stuff_is_one_segment_a_class_and_things_one_a_group() -> None:
    prediction = read_out(*image(["aaccAA", "aaddAA", "ccccdd"]), IS_THING)
    assert_contract(prediction, (3, 6))
    assert [segment.category for segment in prediction.segments.values()] == [2, 3, 0, 0]
    assert (prediction.panoptic == 1).sum() == 2 + 4
    assert (prediction.panoptic == 2).sum() == 2 + 2
    assert torch.equal(prediction.semantic, torch.tensor([[0, 0, 2, 2, 0, 0], [0, 0, 3, 3, 0, 0], [2, 2, 2, 2, 3, 3]]))
    assert prediction.categories.tolist() == [0, 0]
    assert prediction.scores.tolist() == pytest.approx([0.9, 0.9])


def test_instances_are_the_thing_segments() -> None:
    prediction = read_out(*image(["aaccBB", "aaddBB", "ccccdd"]), IS_THING)
    things = {n: s for n, s in prediction.segments.items() if IS_THING[s.category]}
    assert prediction.categories.tolist() == [s.category for s in things.values()]
    assert prediction.scores.tolist() == pytest.approx([s.score for s in things.values()])
    assert torch.equal(prediction.masks, torch.stack([prediction.panoptic == n for n in things]))


def test_a_group_takes_the_class_of_its_mean_probability_not_of_most_pixels() -> None:
    weak, strong = torch.tensor([0.5, 0.4, 0.1, 0.0]), torch.tensor([0.05, 0.9, 0.05, 0.0])
    probabilities = torch.stack([weak, weak, weak, strong, strong], dim=1)[:, None]
    prediction = read_out((probabilities + 1e-9).log(), torch.ones(4, 1, 5), IS_THING)
    assert prediction.semantic.tolist() == [[0, 0, 0, 1, 1]]
    assert prediction.panoptic.tolist() == [[1] * 5]
    assert prediction.segments[1].category == 1
    assert prediction.segments[1].score == pytest.approx((3 * 0.4 + 2 * 0.9) / 5)


def test_a_group_is_never_stuff() -> None:
    """Thing pixels whose mean probability is highest for stuff."""
    one, other = torch.tensor([0.4, 0.0, 0.39, 0.21]), torch.tensor([0.0, 0.4, 0.39, 0.21])
    probabilities = torch.stack([one, one, one, other, other], dim=1)[:, None]
    prediction = read_out((probabilities + 1e-9).log(), torch.ones(4, 1, 5), IS_THING)
    assert prediction.categories.tolist() == [0]


def test_too_few_thing_pixels_are_void_and_keep_their_semantic_label() -> None:
    prediction = read_out(*image(["acc", "acc", "ccc"]), IS_THING)
    assert_contract(prediction, (3, 3))
    assert prediction.panoptic.tolist() == [[0, 1, 1], [0, 1, 1], [1, 1, 1]]
    assert prediction.semantic[0, 0] == 0
    assert len(prediction.masks) == 0


@pytest.mark.parametrize("rows", [["cd", "cd"], ["aa", "aa"], ["aA", "Aa"]], ids=["stuff", "one thing", "no group"])
def test_the_contract_holds_for_images_of_one_sort(rows: list[str]) -> None:
    assert_contract(read_out(*image(rows), IS_THING), (2, 2))


def test_random_outputs_keep_the_contract() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        logits = 5 * torch.randn(4, 9, 11, generator=generator)
        prediction = read_out(logits, torch.randn(3, 9, 11, generator=generator), IS_THING)
        assert_contract(prediction, (9, 11))
        assert all(0 <= segment.score <= 1 for segment in prediction.segments.values())


def test_coordinates_run_from_minus_one_to_one_by_row_and_by_column() -> None:
    rows, columns = coordinates(torch.zeros(2, 7, 3, 5))[1]
    assert rows[:, 0].tolist() == rows[:, 4].tolist() == [-1, 0, 1]
    assert columns[0].tolist() == columns[2].tolist() == [-1, -0.5, 0, 0.5, 1]


def test_only_the_embedding_sees_where_a_pixel_is() -> None:
    torch.manual_seed(0)
    logits, embedding = PixelHeads(8, 5)(torch.ones(1, 8, 4, 4))
    assert torch.allclose(logits, logits[..., :1, :1].expand_as(logits))
    assert not torch.allclose(embedding[..., 0, 0], embedding[..., 3, 3])

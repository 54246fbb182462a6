"""The heads, and the read-out of probabilities and embeddings drawn by hand."""

from __future__ import annotations

import importlib.util

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.grouping import CLUSTERS
from models.heads import EMBEDDING, PixelHeads, coordinates, read_classes, read_instances
from models.interface import Prediction

IS_THING = torch.tensor([True, True, False, False])


def image(rows: list[str], sure: float = 0.9) -> tuple[Tensor, Tensor]:
    """Each character is a pixel: its class in lower case letters a to d; upper case has another embedding.

    Returns logits (4, H, W) with `sure` for the class, and embedding (4, H, W).
    """
    classes = torch.tensor([["abcd".index(char.lower()) for char in row] for row in rows])
    upper = torch.tensor([[int(char.isupper()) for char in row] for row in rows])
    rest = (1 - sure) / 3
    probabilities = rest + (sure - rest) * F.one_hot(classes, 4).movedim(-1, 0)
    return probabilities.log(), F.one_hot(upper, 4).movedim(-1, 0).float()


def read(logits: Tensor, embedding: Tensor, grouping: str = "greedy") -> Prediction:
    return read_instances(logits, embedding, IS_THING, grouping)


def assert_contract(prediction: Prediction, size: tuple[int, int]) -> None:
    assert prediction.semantic.shape == prediction.panoptic.shape == size
    assert prediction.semantic.dtype == prediction.panoptic.dtype == torch.int64
    assert set(prediction.panoptic.unique().tolist()) - {0} == set(prediction.segments)
    assert sorted(prediction.segments) == list(range(1, len(prediction.segments) + 1))
    for number, segment in prediction.segments.items():
        assert prediction.semantic[prediction.panoptic == number].unique().tolist() == [segment.category]
        assert 0 <= segment.score <= 1
    count = len(prediction.scores)
    assert prediction.masks.shape == (count, *size)
    assert prediction.masks.dtype == torch.bool
    assert prediction.categories.shape == (count,)
    assert prediction.categories.dtype == torch.int64
    assert prediction.scores.dtype == torch.float32


def assert_instances_are_the_thing_segments(prediction: Prediction) -> None:
    things = {n: s for n, s in prediction.segments.items() if IS_THING[s.category]}
    assert prediction.categories.tolist() == [s.category for s in things.values()]
    assert prediction.scores.tolist() == pytest.approx([s.score for s in things.values()])
    assert all((prediction.panoptic == n).equal(mask) for n, mask in zip(things, prediction.masks, strict=True))


def test_stuff_is_one_segment_a_class_and_things_one_a_group() -> None:
    prediction = read(*image(["aaccAA", "aaccAA", "aaddAA", "aaddAA", "ccccdd"]))
    assert_contract(prediction, (5, 6))
    assert_instances_are_the_thing_segments(prediction)
    assert [segment.category for segment in prediction.segments.values()] == [0, 0, 2, 3]
    areas = prediction.panoptic.flatten().bincount().tolist()
    assert areas == [0, 8, 8, 4 + 4, 4 + 2]
    rows = [[0, 0, 2, 2, 0, 0]] * 2 + [[0, 0, 3, 3, 0, 0]] * 2 + [[2, 2, 2, 2, 3, 3]]
    assert prediction.semantic.tolist() == rows
    assert prediction.categories.tolist() == [0, 0]
    assert prediction.scores.tolist() == pytest.approx([0.9, 0.9])


def test_an_instance_is_scored_by_the_mean_probability_of_its_class_and_the_surest_comes_first() -> None:
    logits, embedding = image(["aaaabbbb"] * 2)
    logits[0, :, :2] += 0.5
    logits[1, :, 4:] += 3
    prediction = read(logits, embedding)
    chances = logits.softmax(0)
    assert prediction.categories.tolist() == [1, 0]
    expected = [float(chances[1, :, 4:].mean()), float(chances[0, :, :4].mean())]
    assert prediction.scores.tolist() == pytest.approx(expected)
    assert_instances_are_the_thing_segments(prediction)


def test_too_few_thing_pixels_are_void_and_keep_their_semantic_label() -> None:
    prediction = read(*image(["acc", "acc", "ccc"]))
    assert_contract(prediction, (3, 3))
    assert prediction.panoptic.tolist() == [[0, 1, 1], [0, 1, 1], [1, 1, 1]]
    assert prediction.semantic[0, 0] == 0
    assert len(prediction.masks) == 0


@pytest.mark.parametrize("rows", [["cd", "cd"], ["aa", "aa"], ["aA", "Aa"]], ids=["stuff", "one thing", "no group"])
def test_the_contract_holds_for_images_of_one_sort(rows: list[str]) -> None:
    prediction = read(*image(rows))
    assert_contract(prediction, (2, 2))
    assert_instances_are_the_thing_segments(prediction)
    assert_contract(read_classes(image(rows)[0]), (2, 2))


@pytest.mark.parametrize("grouping", CLUSTERS)
def test_random_outputs_keep_the_contract(grouping: str) -> None:
    if grouping == "dbscan" and importlib.util.find_spec("sklearn") is None:
        pytest.skip("needs scikit-learn")
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        logits = 5 * torch.randn(4, 9, 11, generator=generator)
        prediction = read(logits, torch.randn(3, 9, 11, generator=generator), grouping)
        assert_contract(prediction, (9, 11))
        assert_instances_are_the_thing_segments(prediction)


def test_the_semantic_task_has_one_segment_a_class_and_no_instances() -> None:
    prediction = read_classes(image(["aaccAA", "aaddAA", "ccccdd"])[0])
    assert_contract(prediction, (3, 6))
    assert prediction.segments == {1: (0, pytest.approx(0.9)), 2: (2, pytest.approx(0.9)), 3: (3, pytest.approx(0.9))}
    assert prediction.panoptic.tolist() == [[1, 1, 2, 2, 1, 1], [1, 1, 3, 3, 1, 1], [2, 2, 2, 2, 3, 3]]
    assert len(prediction.masks) == len(prediction.scores) == 0


def test_coordinates_run_from_minus_one_to_one_by_row_and_by_column() -> None:
    rows, columns = coordinates(torch.zeros(2, 7, 3, 5))[1]
    assert rows[:, 0].tolist() == rows[:, 4].tolist() == [-1, 0, 1]
    assert columns[0].tolist() == columns[2].tolist() == [-1, -0.5, 0, 0.5, 1]


def test_only_the_embedding_sees_where_a_pixel_is() -> None:
    torch.manual_seed(0)
    outputs = PixelHeads(8, 5, embeds=True)(torch.ones(1, 8, 4, 4))
    logits, embedding = outputs["logits"], outputs["embedding"]
    assert embedding.shape == (1, EMBEDDING, 4, 4)
    assert torch.allclose(logits, logits[..., :1, :1].expand_as(logits))
    assert not torch.allclose(embedding[..., 0, 0], embedding[..., 3, 3])


def test_without_an_embedding_there_are_logits_alone() -> None:
    heads = PixelHeads(8, 5, embeds=False)
    assert heads(torch.ones(1, 8, 4, 4)).keys() == {"logits"}
    assert sum(p.numel() for p in heads.parameters()) == 8 * 5 + 5

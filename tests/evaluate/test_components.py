"""Connected components as instances: scipy labels a class at a time, pycocotools matches their masks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from bench.data.scene import Instance
from bench.evaluate.coco import Outcome, match
from bench.evaluate.components import MOST, confidence_map, label_components, match_components
from bench.evaluate.detections import encode, encode_masks
from bench.evaluate.instance import COCO_IOU
from models.categories import VOID, PredictedSegment

THRESHOLDS = np.array(COCO_IOU)


def drawn(seed: int, classes: int = 4, side: int = 24) -> np.ndarray:
    """Blobs of classes with some void."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.random((classes, side, side)), (0, 1.5, 1.5))
    labels = smooth.argmax(axis=0)
    labels[rng.random(labels.shape) < 0.03] = VOID
    return labels


def moved(labels: np.ndarray, seed: int) -> np.ndarray:
    """The same, some classes exchanged and some pixels lost."""
    rng = np.random.default_rng(seed)
    found = np.roll(labels, rng.integers(0, 2), axis=1)
    found[rng.random(found.shape) < 0.02] = 0
    return found


@pytest.mark.parametrize("seed", range(5))
def test_labels_are_scipys_class_by_class(seed: int):
    semantic = drawn(seed)
    labels, categories = label_components(semantic)
    assert ((labels == 0) == (semantic == VOID)).all()
    total = 0
    for category in range(4):
        expected, count = ndimage.label(semantic == category, structure=np.ones((3, 3)))
        mine = np.where(semantic == category, labels, 0)
        assert (categories == category).sum() == count
        assert len(set(zip(expected.ravel(), mine.ravel(), strict=True))) == count + (semantic != category).any()
        total += count
    assert labels.max() == len(categories) == total


def test_diagonal_neighbours_are_one_component_and_classes_never_join():
    labels, categories = label_components(np.array([[0, 1, 0], [1, 0, 2], [2, 2, VOID]]))
    assert labels.tolist() == [[1, 2, 1], [2, 1, 3], [3, 3, 0]]
    assert categories.tolist() == [0, 1, 2]


def test_a_map_of_void_has_no_component():
    void = np.full((3, 3), VOID)
    assert label_components(void)[1].tolist() == []
    assert match_components(void, void, np.zeros((3, 3)), THRESHOLDS) == []


def test_confidence_is_the_segments_score_and_nothing_on_void():
    panoptic = np.array([[0, 7], [300, 7]])
    segments = {300: PredictedSegment(1, 0.25), 7: PredictedSegment(0, 0.5)}
    assert confidence_map(panoptic, segments).tolist() == [[0.0, 0.5], [0.25, 0.5]]
    assert confidence_map(np.zeros((2, 2), int), {}).tolist() == [[0.0, 0.0], [0.0, 0.0]]


def by_pycocotools(truth: np.ndarray, prediction: np.ndarray, confidence: np.ndarray) -> list[Outcome]:
    """The same components as masks, through COCOeval."""
    true_labels, true_categories = label_components(truth)
    labels, categories = label_components(prediction)
    true_masks = true_labels[None] == np.arange(1, len(true_categories) + 1)[:, None, None]
    masks = labels[None] == np.arange(1, len(categories) + 1)[:, None, None]
    scores = np.array([confidence[mask].mean() for mask in masks])
    rles = encode_masks(true_masks)
    instances = [Instance(int(k), False, rle) for k, rle in zip(true_categories, rles, strict=True)]
    return match(instances, encode(masks, categories, scores, MOST), THRESHOLDS)


@pytest.mark.parametrize("seed", range(12))
def test_matches_are_pycocotools(seed: int):
    truth = drawn(seed)
    prediction = moved(truth, seed) if seed % 3 else drawn(seed + 100, side=24)
    confidence = np.random.default_rng(seed).integers(0, 8, truth.shape) / 8  # sums and means are exact
    mine, theirs = (
        match_components(truth, prediction, confidence, THRESHOLDS),
        by_pycocotools(truth, prediction, confidence),
    )
    assert [one.category for one in mine] == [one.category for one in theirs]
    for one, other in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, rtol=1e-12)
        np.testing.assert_array_equal(one.ranks, other.ranks)
        np.testing.assert_array_equal(one.matched, other.matched)
        assert not one.ignored.any()
        assert len(one.truth_ignored) == len(other.truth_ignored)
    if seed % 3:
        assert any(one.matched.any() for one in mine)


def test_two_halves_share_their_truth_at_one_half_and_only_the_first_takes_it():
    truth = np.zeros((2, 9), int)
    truth[:, 4] = VOID
    truth[:, 5:] = 1
    prediction = truth.copy()
    prediction[:, :4] = [[0, VOID, 0, 0], [0, VOID, 0, 0]]
    outcome = match_components(truth, prediction, np.ones((2, 9)), np.array([0.25, 0.5]))[0]
    assert outcome.matched.tolist() == [[True, False], [False, True]]  # IoU 1 / 4 and 1 / 2, equal scores: by place


def test_of_two_equally_like_the_last_is_taken_as_coco_does():
    truth = np.array([[0, 0, 0, 0, VOID, 0, 0, 0, 0]])
    prediction = np.array(
        [[0, VOID, 0, 0, 0, 0, 0, VOID, VOID]]
    )  # 2 / 7 with either; what is left is 1 / 4 of the first
    confidence = np.array([[0.5, 0, 0.9, 0.9, 0.9, 0.9, 0.9, 0, 0]])
    (outcome,) = match_components(truth, prediction, confidence, np.array([0.2]))
    assert outcome.matched.tolist() == [[True, True]]


def test_only_the_best_hundred_are_kept():
    prediction = np.full((25, 25), VOID)
    prediction[::2, ::2] = 0  # 169 single pixels
    confidence = np.linspace(0, 1, 625).reshape(25, 25)
    (outcome,) = match_components(np.full((25, 25), VOID), prediction, confidence, THRESHOLDS)
    assert outcome.scores.tolist() == sorted(confidence[::2, ::2].ravel(), reverse=True)[:MOST]
    assert outcome.ranks.tolist() == list(range(MOST))

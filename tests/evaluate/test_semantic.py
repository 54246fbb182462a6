"""mIoU: hand cases, and torchmetrics on random label maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex

from bench.evaluate.semantic import confusion, iou_per_class, mean_iou, pixels_per_class

VOID = 255


def test_perfect_prediction_is_one_and_absent_classes_do_not_count():
    truth = np.array([[0, 0], [2, VOID]], dtype=np.uint8)
    matrix = confusion(truth, truth, 4)
    assert mean_iou(matrix) == 1.0
    np.testing.assert_array_equal(iou_per_class(matrix), [1, np.nan, 1, np.nan])


def test_hand_case_with_void_in_truth_and_in_prediction():
    truth = np.array([[0, 0, 0, 1, 1, VOID]])
    prediction = np.array([[0, 1, VOID, 1, 1, 0]])
    matrix = confusion(truth, prediction, 2)
    np.testing.assert_array_equal(matrix, [[1, 1, 1], [0, 2, 0]])
    # class 0: 1 hit of 3 true pixels, its prediction on void is not counted; class 1: 2 hits, 2 true, 3 predicted
    assert iou_per_class(matrix).tolist() == [1 / 3, 2 / 3]
    assert mean_iou(matrix) == pytest.approx(0.5)
    assert mean_iou(matrix, [1]) == pytest.approx(2 / 3)
    assert [values.tolist() for values in pixels_per_class(matrix)] == [[1, 2], [3, 2], [1, 3]]


def test_predicting_void_everywhere_scores_zero_not_none():
    truth = np.zeros((2, 2), dtype=np.uint8)
    assert mean_iou(confusion(truth, np.full((2, 2), VOID), 3)) == 0.0


def test_no_labelled_pixel_is_none():
    assert mean_iou(confusion(np.full((2, 2), VOID), np.zeros((2, 2)), 3)) is None
    assert mean_iou(confusion(np.zeros((1, 1)), np.zeros((1, 1)), 3), [1, 2]) is None
    assert mean_iou(np.zeros((3, 4), dtype=np.int64), []) is None


def test_a_class_only_predicted_counts_as_zero():
    matrix = confusion(np.array([[0, 0, 0, 0]]), np.array([[0, 0, 0, 1]]), 3)
    assert mean_iou(matrix) == pytest.approx((3 / 4 + 0) / 2)


def test_split_iou_is_not_the_mean_of_image_ious():
    full = confusion(np.zeros((1, 4)), np.zeros((1, 4)), 2)
    poor = confusion(np.array([[0, 1]]), np.array([[1, 1]]), 2)
    # together: class 0 has 4 of 5, class 1 has 1 of 2; image by image the mean would be (1 + (0 + 1/2) / 2) / 2
    assert mean_iou(full + poor) == pytest.approx((4 / 5 + 1 / 2) / 2)


@pytest.mark.parametrize("bad", [np.array([[7]]), np.array([[-1]])])
def test_unknown_labels_are_refused(bad: np.ndarray):
    with pytest.raises(ValueError, match=r"expected 0 \.\. 2"):
        confusion(np.array([[0]]), bad, 3)
    with pytest.raises(ValueError, match="truth holds labels"):
        confusion(bad, np.array([[0]]), 3)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"\(1, 2\)"):
        confusion(np.zeros((1, 2)), np.zeros((2, 1)), 3)


@pytest.mark.parametrize("seed", range(20))
def test_equals_torchmetrics(seed: int):
    classes = 6
    rng = np.random.default_rng(seed)
    truth = rng.choice([0, 1, 2, 4, VOID], size=(13, 17)).astype(np.uint8)
    prediction = np.where(rng.random(truth.shape) < 0.5, truth, rng.choice([0, 1, 4, VOID], size=truth.shape))
    matrix = confusion(truth, prediction, classes)

    # torchmetrics has no predicted void: a class of its own takes it
    known = torch.from_numpy(np.where(prediction == VOID, classes, prediction).astype(np.int64))
    target = torch.from_numpy(truth.astype(np.int64))
    referee = MulticlassConfusionMatrix(classes + 1, ignore_index=VOID)(known, target)
    np.testing.assert_array_equal(matrix, referee[:classes].numpy())

    solid = np.where(prediction == VOID, 0, prediction)
    jaccard = MulticlassJaccardIndex(classes, ignore_index=VOID)(torch.from_numpy(solid.astype(np.int64)), target)
    assert mean_iou(confusion(truth, solid, classes)) == pytest.approx(float(jaccard), abs=1e-6)  # theirs is float32

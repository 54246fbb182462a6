"""mIoU averaged over batches, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.evaluate.batch_mean import BatchMeanIoU


def mean_of(images: list[list[list[int]]], size: int) -> float | None:
    """images: (intersection, truth, predicted) of each class."""
    batches = BatchMeanIoU(len(images[0][0]), size)
    for pixels in images:
        batches.add(np.array(pixels))
    return batches.result()


ONE = [[6, 0], [8, 0], [6, 2]]  # class 0: 6 / 8; class 1 is only predicted: 0 / 2
TWO = [[0, 4], [0, 4], [4, 4]]  # class 0 is only predicted: 0 / 4; class 1: 4 / 4


def test_two_images_by_hand():
    each = ((6 / 8 + 0) / 2 + (0 + 1) / 2) / 2
    together = (6 / 12 + 4 / 6) / 2
    assert mean_of([ONE, TWO], 1) == pytest.approx(each)
    assert mean_of([ONE, TWO], 2) == pytest.approx(together)
    assert (each, together) == (pytest.approx(0.4375), pytest.approx(7 / 12))


def test_the_last_batch_weighs_as_much_as_a_full_one():
    assert mean_of([ONE, ONE, TWO], 2) == pytest.approx((mean_of([ONE], 1) + mean_of([TWO], 1)) / 2)


def test_a_class_that_is_absent_takes_no_part_and_a_batch_without_any_neither():
    nothing = [[0, 0], [0, 0], [0, 0]]
    assert mean_of([[[2, 0], [4, 0], [2, 0]]], 1) == 0.5
    assert mean_of([nothing, ONE, nothing], 1) == mean_of([ONE], 1)
    assert mean_of([nothing], 1) is None


def test_what_is_predicted_on_void_enlarges_the_union():
    assert mean_of([[[4], [4], [8]]], 1) == 0.5


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 9), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_equals_the_mean_over_batches_taken_apart(size: int, images: int, seed: int):
    rng = np.random.default_rng(seed)
    intersection = rng.integers(0, 5, (images, 4)) * rng.integers(0, 2, (images, 4))
    pixels = np.stack([intersection, intersection + rng.integers(0, 3, (images, 4)), intersection], axis=1)
    expected = []
    for start in range(0, images, size):
        both, truth, predicted = pixels[start : start + size].sum(axis=0)
        ious = [b / (t + p - b) for b, t, p in zip(both, truth, predicted, strict=True) if t + p - b]
        expected += [np.mean(ious)] if ious else []
    result = mean_of(pixels.tolist(), size)
    assert result == (pytest.approx(np.mean(expected)) if expected else None)

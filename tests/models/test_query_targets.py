"""What a query network is trained on, by hand on a 2 x 4 map."""

from __future__ import annotations

import pytest
import torch

from models.categories import TASKS, VOID, Segment, Task
from models.interface import Batch
from models.query_targets import boxes_from_masks, query_targets

THING, STUFF = 0, 1


def one_image(rows: list[list[int]], table: dict[int, Segment]) -> Batch:
    segments = torch.tensor([rows])
    return Batch(torch.zeros(1, 3, *segments.shape[1:]), torch.zeros_like(segments), segments, [table])


def test_things_are_targets_each_and_stuff_one_for_its_category() -> None:
    table = {
        1: Segment(STUFF, False, False),
        2: Segment(THING, True, False),
        3: Segment(THING, True, False),
        4: Segment(STUFF, False, False),
    }
    (targets,) = query_targets(one_image([[1, 2, 3, 0], [4, 2, 3, 0]], table), "panoptic")
    assert targets.labels.tolist() == [THING, THING, STUFF]
    assert targets.masks.tolist() == [
        [[0, 1, 0, 0], [0, 1, 0, 0]],
        [[0, 0, 1, 0], [0, 0, 1, 0]],
        [[1, 0, 0, 0], [1, 0, 0, 0]],
    ]


def test_the_instance_task_has_no_stuff_target() -> None:
    table = {1: Segment(STUFF, False, False), 2: Segment(THING, True, False), 3: Segment(THING, True, False)}
    (targets,) = query_targets(one_image([[1, 2, 3, 0], [1, 2, 3, 0]], table), "instance")
    assert targets.labels.tolist() == [THING, THING]
    assert targets.masks.tolist() == [[[0, 1, 0, 0]] * 2, [[0, 0, 1, 0]] * 2]


def test_the_semantic_task_has_one_target_a_category_crowds_included_and_void_left_out() -> None:
    batch = one_image([[1, 2, 3, 0], [1, 2, 4, 0]], {})
    batch.semantic = torch.tensor([[[STUFF, THING, THING, VOID], [STUFF, THING, THING, VOID]]])
    (targets,) = query_targets(batch, "semantic")
    assert targets.labels.tolist() == [THING, STUFF]
    assert targets.masks.dtype == torch.float32
    assert targets.masks.tolist() == [[[0, 1, 1, 0]] * 2, [[1, 0, 0, 0]] * 2]


@pytest.mark.parametrize("task", ["instance", "panoptic"])
def test_crowds_and_segments_without_a_pixel_give_no_target(task: Task) -> None:
    table = {
        1: Segment(THING, True, True),
        2: Segment(STUFF, False, True),
        7: Segment(THING, True, False),
        9: Segment(STUFF, False, False),
    }
    (targets,) = query_targets(one_image([[1, 2, 0, 0], [1, 2, 0, 0]], table), task)
    assert targets.labels.shape == (0,)
    assert targets.masks.shape == (0, 2, 4)
    assert boxes_from_masks(targets.masks).shape == (0, 4)


@pytest.mark.parametrize("task", TASKS)
def test_an_image_of_void_gives_no_target(task: Task) -> None:
    batch = one_image([[0, 0], [0, 0]], {})
    batch.semantic[:] = VOID
    (targets,) = query_targets(batch, task)
    assert targets.labels.dtype == torch.int64
    assert targets.masks.shape == (0, 2, 2)


def test_boxes_are_half_open_fractions_of_the_image() -> None:
    masks = torch.zeros(3, 4, 8)
    masks[0, 1:3, 2:6] = 1  # x from 2 to 6 of 8, y from 1 to 3 of 4
    masks[1, 3, 7] = 1  # the last pixel alone
    masks[2, 0, 0] = masks[2, 3, 7] = 1  # two corners: the whole image
    assert boxes_from_masks(masks).tolist() == [
        [0.5, 0.5, 0.5, 0.5],
        [0.9375, 0.875, 0.125, 0.25],
        [0.5, 0.5, 1.0, 1.0],
    ]


@pytest.mark.parametrize("number", [255, 65535])
def test_segment_numbers_may_be_as_large_as_the_prepared_form_allows(number: int) -> None:
    (targets,) = query_targets(one_image([[number, 0]], {number: Segment(THING, True, False)}), "panoptic")
    assert targets.masks.tolist() == [[[1, 0]]]

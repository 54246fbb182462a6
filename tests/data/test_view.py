"""What a run sees of a prepared split: a task's categories and a share of the images."""

from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest

from bench.data.native.scenes import Scenes
from bench.data.prepared import Prepared, prepare
from bench.data.scene import semantic_of
from bench.data.view import View, task_categories
from models.categories import Categories, Category


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(Scenes(), "train", (32, 48), 20, tmp_path_factory.mktemp("prepared"))


def test_the_whole_of_the_panoptic_task_is_the_prepared_split_itself(prepared: Prepared) -> None:
    view = View(prepared)
    assert (view.categories, view.ids, len(view), view.size) == (prepared.categories, prepared.ids, 20, (32, 48))
    assert view.images is prepared.images
    assert view.segments is prepared.segments
    assert [view.table(n) for n in range(20)] == [prepared.table(n) for n in range(20)]


def test_the_instance_task_has_the_things_and_one_background(prepared: Prepared) -> None:
    """Every labelled pixel that is no thing is background; void stays void; things keep name and dataset id."""
    view = View(prepared, "instance")
    old, new = prepared.categories, view.categories
    assert [e for e in new.entries if e.isthing] == [e for e in old.entries if e.isthing]
    assert [e.name for e in new.entries if not e.isthing] == ["background"]
    assert new.entries[-1].name == "background"
    seen = set()
    for image in range(len(view)):
        before = semantic_of(prepared.segments[image], prepared.table(image))
        after = semantic_of(view.segments[image], view.table(image))
        for label, entry in enumerate(old.entries):
            where = before == label
            expected = new.index_of[entry.id] if entry.isthing else len(new) - 1
            assert (after[where] == expected).all()
            seen |= {entry.isthing} if where.any() else set()
        assert (after[before == 255] == 255).all()
        assert all(s.is_thing == new.is_thing[s.category] for s in view.table(image).values())
    assert seen == {True, False}


def test_the_background_takes_an_id_that_is_free() -> None:
    categories = Categories((Category(0, "road", False, (0, 0, 0)), Category(9, "car", True, (1, 1, 1))))
    found = task_categories(categories, "instance")
    assert [(e.id, e.name) for e in found.entries] == [(9, "car"), (10, "background")]
    assert task_categories(categories, "semantic") is categories


@pytest.mark.parametrize("percent", [10, 25, 50, 75])
def test_a_share_holds_its_rows_and_nothing_else(prepared: Prepared, percent: int) -> None:
    view = View(prepared, "panoptic", percent)  # type: ignore[arg-type]
    assert len(view) == len(view.ids) == 20 * percent // 100
    assert set(view.ids) < set(prepared.ids)
    for image, id in enumerate(view.ids):
        row = prepared.ids.index(id)
        np.testing.assert_array_equal(view.images[image], prepared.images[row])
        np.testing.assert_array_equal(view.segments[image], prepared.segments[row])
        assert view.table(image) == prepared.table(row)
    np.testing.assert_array_equal(view.images[0:2], np.stack([view.images[0], view.images[1]]))


def test_shares_lie_within_one_another(prepared: Prepared) -> None:
    shares = [set(View(prepared, "panoptic", percent).ids) for percent in (10, 25, 50, 75, 100)]
    assert all(small < large for small, large in pairwise(shares))


def test_a_loader_process_can_open_it(prepared: Prepared) -> None:
    view = View(prepared, "instance", 50)
    again = pickle.loads(pickle.dumps(view))
    assert again.ids == view.ids
    np.testing.assert_array_equal(again.segments[3], view.segments[3])
    assert again.table(3) == view.table(3)

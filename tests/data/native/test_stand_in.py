"""Pictures of scenes under other categories."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.data.native.category_tables import table
from bench.data.native.scenes import CATEGORIES, Scenes
from bench.data.native.stand_in import StandIn
from bench.data.prepared import prepare
from models.categories import Categories, Category


def categories(*is_thing: bool) -> Categories:
    return Categories(tuple(Category(9 + n, f"c{n}", thing, (n, n, n)) for n, thing in enumerate(is_thing)))


@pytest.mark.parametrize("name", ["coco", "ade20k", "cityscapes"])
def test_things_are_things_and_stuff_is_stuff(name: str) -> None:
    source = StandIn(table(name))
    for id in source.ids("val")[:20]:
        ours, drawn = source.scene("val", id), Scenes().scene("val", id)
        assert np.array_equal(ours.image, drawn.image)
        assert np.array_equal(ours.segments, drawn.segments)
        assert [s.is_thing for s in ours.table.values()] == [s.is_thing for s in drawn.table.values()]
        assert all(source.categories.is_thing[s.category] == s.is_thing for s in ours.table.values())


def test_as_many_kinds_are_seen_as_there_are_to_see() -> None:
    def seen(found: Categories) -> set[int]:
        source = StandIn(found)
        return {s.category for id in source.ids("val")[:40] for s in source.scene("val", id).table.values()}

    assert len(seen(table("coco"))) == 16
    assert seen(CATEGORIES) == set(range(16))
    assert len(seen(table("cityscapes"))) == 8 + 6
    assert seen(categories(True, True)) == {0, 1}  # no stuff: it is shown as things
    assert seen(categories(False)) == {0}


def test_scenes_own_categories_change_nothing() -> None:
    id = Scenes().ids("train")[3]
    assert StandIn(CATEGORIES).scene("train", id).table == Scenes().scene("train", id).table


def test_it_is_prepared_like_any_dataset(tmp_path: Path) -> None:
    found = prepare(StandIn(table("coco")), "train", (16, 16), 4, tmp_path)
    assert len(found) == 4
    assert found.categories == table("coco")
    other = prepare(StandIn(table("cityscapes")), "train", (16, 16), 4, tmp_path)
    assert other.folder != found.folder

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from bench.data.native.drawing import Draws, color
from bench.data.native.scenes import CATEGORIES, SIZES, Scenes
from bench.data.scene import Scene
from bench.errors import UserError

FIRST_16 = "154ff78985c1d1e6b9be96669e7a13476709859776ad02014695811b0b63dac6"


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    source = Scenes()
    return [source.scene("train", id) for id in source.ids("train")[:50]]


def test_every_machine_makes_the_same_bytes(scenes: list[Scene]) -> None:
    digest = hashlib.sha256()
    for scene in scenes[:16]:
        digest.update(scene.image.tobytes())
        digest.update(scene.segments.astype("<i4").tobytes())
    assert digest.hexdigest() == FIRST_16


def test_splitmix64_gives_its_published_first_values() -> None:
    draws = Draws(1234567)
    assert [draws.word() for _ in range(3)] == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_splits_do_not_share_images_and_have_no_end() -> None:
    source = Scenes()
    assert {split: len(source.ids(split)) for split in source.splits} == SIZES
    assert not np.array_equal(source.scene("train", "train-000003").image, source.scene("val", "val-000003").image)
    assert source.scene("val", "val-7654321").image.shape == (128, 128, 3)
    with pytest.raises(UserError, match="expected an id like val-000017"):
        source.scene("val", "train-000003")


def test_tables_name_exactly_the_segments(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert scene.image.shape == (128, 128, 3)
        assert sorted(set(np.unique(scene.segments).tolist()) - {0}) == list(range(1, len(scene.table) + 1))
        assert list(scene.table) == list(range(1, len(scene.table) + 1))
        assert scene.instances is None
        for number, segment in scene.table.items():
            assert segment.is_thing == CATEGORIES.is_thing[segment.category]
            assert not segment.is_thing or (scene.segments == number).sum() >= 4


def test_fifty_scenes_show_all_there_is(scenes: list[Scene]) -> None:
    assert {segment.category for scene in scenes for segment in scene.table.values()} == set(range(len(CATEGORIES)))
    void = np.mean([(scene.segments == 0).mean() for scene in scenes])
    assert 0.015 < void < 0.045
    crowds = sum(any(segment.is_crowd for segment in scene.table.values()) for scene in scenes)
    assert 2 <= crowds <= 12
    things = [[s.category for s in scene.table.values() if s.is_thing and not s.is_crowd] for scene in scenes]
    assert np.mean([len(some) for some in things]) > 4
    assert sum(len(set(some)) < len(some) for some in things) > 25  # several of one kind in an image
    for scene in scenes:
        stuff = [segment.category for segment in scene.table.values() if not segment.is_thing]
        assert len(stuff) == len(set(stuff)) >= 1


def test_things_are_small_and_large_and_touch(scenes: list[Scene]) -> None:
    areas, touching = [], 0
    for scene in scenes:
        things = [n for n, segment in scene.table.items() if segment.is_thing]
        areas += [(scene.segments == n).sum() for n in things]
        left, right = scene.segments[:, :-1], scene.segments[:, 1:]
        touching += bool((np.isin(left, things) & np.isin(right, things) & (left != right)).any())
    assert min(areas) < 40
    assert max(areas) > 1500
    assert touching > 20


@pytest.fixture(scope="module")
def val_scenes() -> list[Scene]:
    source = Scenes()
    return [source.scene("val", id) for id in source.ids("val")[:150]]


def thing_areas(scene: Scene, segments: np.ndarray) -> np.ndarray:
    """How many pixels of `segments` each thing of the scene has, crowds apart."""
    areas = np.bincount(segments.ravel(), minlength=len(scene.table) + 1)
    return areas[[number for number, segment in scene.table.items() if segment.is_thing and not segment.is_crowd]]


def test_the_documented_statistics_hold_on_the_other_split(val_scenes: list[Scene]) -> None:
    """The docstring of bench/data/native/scenes.py counts the training split; here are 150 images of val."""
    things = np.array(CATEGORIES.is_thing)
    present = np.zeros(len(CATEGORIES))
    for scene in val_scenes:
        present[list({segment.category for segment in scene.table.values()})] += 1 / len(val_scenes)
    assert present[things] == pytest.approx(np.full(10, 0.235), abs=0.09)
    assert present[~things] == pytest.approx(np.full(6, 0.51), abs=0.09)
    pixels = np.stack([scene.image for scene in val_scenes]).reshape(-1, 3) / 255
    assert pixels.mean(axis=0) == pytest.approx(0.47, abs=0.02)
    assert pixels.std(axis=0) == pytest.approx(0.19, abs=0.01)
    areas = np.concatenate([thing_areas(scene, scene.segments) for scene in val_scenes])
    assert len(areas) / len(val_scenes) == pytest.approx(6.7, abs=0.4)
    assert np.median(areas) == pytest.approx(209, rel=0.15)
    assert np.quantile(areas, [0.05, 0.95]) == pytest.approx([13, 1218], rel=0.25)


def test_small_things_vanish_at_the_low_sizes_and_stuff_does_not(val_scenes: list[Scene]) -> None:
    """Nearest sampling written out: at 32x32 the pixel (4i + 2, 4j + 2) stands for 4 x 4."""
    left = {step: [scene.segments[step // 2 :: step, step // 2 :: step] for scene in val_scenes] for step in (2, 4)}
    areas = {
        step: np.concatenate([thing_areas(scene, low) for scene, low in zip(val_scenes, lows, strict=True)])
        for step, lows in left.items()
    }
    assert 0 < (areas[2] == 0).mean() < 0.01
    assert 0.02 < (areas[4] == 0).mean() < 0.05
    assert ((areas[4] > 0) & (areas[4] < 16)).mean() == pytest.approx(0.5, abs=0.05)
    for scene, low in zip(val_scenes, left[4], strict=True):
        assert {n for n, segment in scene.table.items() if not segment.is_thing} <= set(low.ravel().tolist())


def test_no_place_gives_the_stuff_away(scenes: list[Scene]) -> None:
    """The commonest stuff at each place is right for far less than half of the pixels."""
    maps = []
    for scene in scenes:
        lookup = np.array([99] + [s.category if not s.is_thing else 99 for s in scene.table.values()])
        maps.append(lookup[scene.segments])
    stack = np.stack(maps)
    votes = np.stack([(stack == category).sum(axis=0) for category in range(len(CATEGORIES))])
    assert votes.max(axis=0).sum() / (stack != 99).sum() < 0.4


def test_color_covers_the_corners() -> None:
    assert [color(256 * n, 255, 255) for n in range(6)] == [
        (255, 0, 0), (255, 255, 0), (0, 255, 0), (0, 255, 255), (0, 0, 255), (255, 0, 255),
    ]  # fmt: skip
    assert color(99999, 0, 80) == (80, 80, 80)

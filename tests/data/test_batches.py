from __future__ import annotations

import subprocess
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.augment import PAD, augment
from bench.data.batches import batches, epoch_order
from bench.data.epochs import steps_per_epoch
from bench.data.native.scenes import Scenes
from bench.data.prepared import Prepared, prepare
from bench.data.view import View
from bench.spec import Augmentation
from models.categories import Task
from models.interface import Batch

PAPERS = Augmentation()
Scene = tuple[np.ndarray, np.ndarray]  # image, segments


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(Scenes(), "train", (32, 48), 21, tmp_path_factory.mktemp("prepared"))


def epoch(prepared: Prepared, size: int = 4, **changes) -> list[Batch]:
    settings = {"seed": 0, "epoch": 0, "augmentation": PAPERS, "shuffle": True, "drop_last": False} | changes
    return list(batches(prepared, size, **settings))


def same(a: list[Batch], b: list[Batch]) -> bool:
    return len(a) == len(b) and all(
        torch.equal(x.images, y.images) and torch.equal(x.segments, y.segments) and x.tables == y.tables
        for x, y in zip(a, b, strict=True)
    )


def test_a_batch_has_the_interfaces_shapes(prepared: Prepared) -> None:
    batch = epoch(prepared, augmentation=None, shuffle=False)[0]
    assert (batch.images.shape, batch.images.dtype) == ((4, 3, 32, 48), torch.float32)
    assert 0 <= batch.images.min() < batch.images.max() <= 1
    assert batch.semantic.dtype == batch.segments.dtype == torch.int64
    assert np.array_equal(batch.segments[1].numpy(), prepared.segments[1])
    assert np.allclose(batch.images[1].permute(1, 2, 0).numpy() * 255, prepared.images[1], atol=1e-4)
    assert torch.equal(batch.semantic == 255, batch.segments == 0)
    assert batch.tables[1] == prepared.table(1)


def test_crowds_keep_their_semantic_label(prepared: Prepared) -> None:
    for batch in epoch(prepared):
        for semantic, segments, table in zip(batch.semantic, batch.segments, batch.tables, strict=True):
            for number, segment in table.items():
                assert (semantic[segments == number] == segment.category).all()


def test_workers_leave_signals_to_the_run(prepared: Prepared) -> None:
    """SIGTERM reaches every process of a job, as Slurm sends it: the run stops in order, so its workers go on."""
    settings = {"seed": 0, "epoch": 0, "augmentation": PAPERS, "shuffle": True, "drop_last": False}
    found = batches(prepared, 1, **settings, workers=2)
    first = [next(found), next(found)]
    pids = [str(worker.pid) for worker in found._workers]  # type: ignore[attr-defined]
    assert len(pids) == 2
    subprocess.run(["kill", "-TERM", *pids], check=True)  # by another process than the one that started them
    assert same([*first, *found], epoch(prepared, 1))


@pytest.mark.parametrize("workers", [1, 4])
def test_workers_change_nothing(prepared: Prepared, workers: int) -> None:
    assert same(epoch(prepared), epoch(prepared, workers=workers))


@pytest.mark.parametrize("task", ["semantic", "instance", "panoptic"])
def test_workers_open_a_view_themselves(prepared: Prepared, task: Task) -> None:
    view = View(prepared, task, 50)
    assert same(epoch(view), epoch(view, workers=2))
    assert sum(len(batch.tables) for batch in epoch(view)) == 10


def test_a_table_names_what_is_left_in_the_frame(prepared: Prepared) -> None:
    """Zoomed in, segments leave: no table names one without a pixel, and every label of the map has its entry."""
    zoomed = epoch(prepared, augmentation=Augmentation(scale=(2.5, 2.5)), shuffle=False)
    seen = 0
    for number, (segments, table) in enumerate(
        (s, t) for batch in zoomed for s, t in zip(batch.segments, batch.tables, strict=True)
    ):
        assert set(segments.unique().tolist()) - {0} == set(table)
        assert table.items() <= prepared.table(number).items()
        seen += len(prepared.table(number)) - len(table)
    assert seen > 20


def test_seed_and_epoch_change_order_and_augmentation(prepared: Prepared) -> None:
    assert same(epoch(prepared, seed=3, epoch=2), epoch(prepared, seed=3, epoch=2))
    assert not same(epoch(prepared), epoch(prepared, seed=1))
    assert not same(epoch(prepared), epoch(prepared, epoch=1))
    assert not same(epoch(prepared, shuffle=False), epoch(prepared, shuffle=False, epoch=1))
    assert same(
        epoch(prepared, shuffle=False, augmentation=None), epoch(prepared, shuffle=False, augmentation=None, epoch=1)
    )


def test_a_resumed_epoch_goes_on_exactly(prepared: Prepared) -> None:
    assert same(epoch(prepared)[2:], epoch(prepared, first_step=2))


def test_an_epoch_shows_every_image_once(prepared: Prepared) -> None:
    assert sorted(epoch_order(100, 5, 6)) == list(range(100))
    assert [len(batch.tables) for batch in epoch(prepared)] == [4] * 5 + [1]
    assert [len(batch.tables) for batch in epoch(prepared, drop_last=True)] == [4] * 5


def test_too_few_images_still_make_one_batch(prepared: Prepared) -> None:
    assert [len(batch.tables) for batch in epoch(prepared, 64, drop_last=True)] == [21]
    assert (steps_per_epoch(3, 8, True), steps_per_epoch(8, 8, True), steps_per_epoch(17, 8, True)) == (1, 1, 2)
    assert (steps_per_epoch(3, 8, False), steps_per_epoch(17, 8, False), steps_per_epoch(0, 8, True)) == (1, 3, 0)


def block_sample(size: tuple[int, int] = (64, 64)) -> Scene:
    """Blocks of 8 x 8 whose colour is four times their segment number; none is void."""
    rows, columns = np.indices(size) // 8
    segments = (1 + (rows * 8 + columns) % 63).astype(np.uint16)
    return (segments[..., None].repeat(3, 2) * 4).astype(np.uint8), segments


def augmented(sample: Scene, uniforms: tuple[float, float, float, float]) -> Scene:
    out = np.full_like(sample[0], 7), np.full_like(sample[1], 7)  # what was there before must not show
    augment(*sample, PAPERS, uniforms, out)
    return out


@settings(max_examples=40, deadline=None)
@given(st.tuples(*[st.floats(0, 1, exclude_max=True)] * 4), st.tuples(st.floats(0.3, 1), st.floats(1, 3)))
def test_labels_lie_where_the_geometry_says(
    uniforms: tuple[float, float, float, float], scales: tuple[float, float]
) -> None:
    """Pixel by pixel, from the definition: mirror, subtract the place, divide by the scale, nearest."""
    image, segments = block_sample((24, 40))
    by = Augmentation(scale=scales)
    out = np.empty_like(image), np.empty_like(segments)
    augment(image, segments, by, uniforms, out)
    factor = scales[0] + (scales[1] - scales[0]) * uniforms[0]
    scaled = [max(1, round(side * factor)) for side in segments.shape]
    slack = [new - side for new, side in zip(scaled, segments.shape, strict=True)]
    shift = [
        min(abs(s), int(u * (abs(s) + 1))) * (1 if s > 0 else -1) for s, u in zip(slack, uniforms[1:3], strict=True)
    ]
    for y, x in product(range(24), range(40)):
        column = 39 - x if uniforms[3] < by.flip else x
        there = y + shift[0], column + shift[1]
        expected = 0
        if 0 <= there[0] < scaled[0] and 0 <= there[1] < scaled[1]:
            expected = segments[(2 * there[0] + 1) * 24 // (2 * scaled[0]), (2 * there[1] + 1) * 40 // (2 * scaled[1])]
        else:
            assert (out[0][y, x] == PAD).all()
        assert out[1][y, x] == expected


@settings(max_examples=40, deadline=None)
@given(st.tuples(*[st.floats(0, 1, exclude_max=True)] * 4))
def test_labels_move_with_their_pixels(uniforms: tuple[float, float, float, float]) -> None:
    sample = block_sample()
    image, segments = augmented(sample, uniforms)
    assert image.shape == (64, 64, 3)
    assert segments.shape == (64, 64)
    inside = segments > 0
    off = abs(image[..., 0].astype(int) - segments.astype(int) * 4) > 4
    assert (off & inside).sum() < 0.55 * max(1, inside.sum())  # only where bilinear mixes two blocks
    middle = interior(segments)
    assert not (off & middle).any()
    assert (image[interior(segments == 0) & ~inside] == PAD).all()


def interior(labels: np.ndarray) -> np.ndarray:
    """Pixels whose 5 x 5 neighbourhood lies inside and has one label."""
    padded = np.pad(labels.astype(np.int64), 2, constant_values=-1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5))
    return (windows.max(axis=(2, 3)) == windows.min(axis=(2, 3))) & (labels > 0)


def test_flip_alone_is_a_mirror() -> None:
    image, segments = block_sample()
    low, high = PAPERS.scale
    same_scale = (1 - low) / (high - low)
    flipped = augmented((image, segments), (same_scale, 0, 0, 0))
    assert np.array_equal(flipped[1], segments[:, ::-1])
    assert np.array_equal(flipped[0], image[:, ::-1])
    assert np.array_equal(augmented((image, segments), (same_scale, 0, 0, PAPERS.flip))[1], segments)


def test_a_shrunk_image_is_padded_with_void() -> None:
    image, segments = augmented(block_sample(), (0, 0.5, 0, 0.9))
    assert (segments > 0).sum() == 48 * 48
    assert (segments[8:56, :48] > 0).all()
    assert (image[segments == 0] == PAD).all()


def test_augmentation_flips_half_and_reaches_both_scales(prepared: Prepared) -> None:
    void = Counter()
    for n in range(4):
        for batch in epoch(prepared, epoch=n):
            void.update("padded" if (s[0] == 0).all() or (s[-1] == 0).all() else "filled" for s in batch.segments)
    assert void["padded"] > 10
    assert void["filled"] > 20


def test_importing_the_data_room_takes_no_torch(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import sys, bench.data.catalog, bench.data.verify_prepared; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)

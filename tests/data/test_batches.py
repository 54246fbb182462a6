from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.batches import FLIP, PAD, SCALE, Sample, augmented, batches, epoch_order, steps_per_epoch
from bench.data.prepared import Prepared, prepare
from bench.data.scenes import Scenes
from models.categories import Segment
from models.interface import Batch

TABLE = {n: Segment(n % 3, True, False) for n in range(1, 65)}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(Scenes(), "train", (32, 48), 21, tmp_path_factory.mktemp("prepared"))


def epoch(prepared: Prepared, size: int = 4, **changes) -> list[Batch]:
    settings = {"seed": 0, "epoch": 0, "augment": True, "shuffle": True, "drop_last": False} | changes
    return list(batches(prepared, size, **settings))


def same(a: list[Batch], b: list[Batch]) -> bool:
    return len(a) == len(b) and all(
        torch.equal(x.images, y.images) and torch.equal(x.segments, y.segments) and x.tables == y.tables
        for x, y in zip(a, b, strict=True)
    )


def test_a_batch_has_the_interfaces_shapes(prepared: Prepared) -> None:
    batch = epoch(prepared, augment=False, shuffle=False)[0]
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


def test_workers_change_nothing(prepared: Prepared) -> None:
    assert same(epoch(prepared), epoch(prepared, workers=2))


def test_seed_and_epoch_change_order_and_augmentation(prepared: Prepared) -> None:
    assert same(epoch(prepared, seed=3, epoch=2), epoch(prepared, seed=3, epoch=2))
    assert not same(epoch(prepared), epoch(prepared, seed=1))
    assert not same(epoch(prepared), epoch(prepared, epoch=1))
    assert not same(epoch(prepared, shuffle=False), epoch(prepared, shuffle=False, epoch=1))
    assert same(epoch(prepared, shuffle=False, augment=False), epoch(prepared, shuffle=False, augment=False, epoch=1))


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


def block_sample(size: tuple[int, int] = (64, 64)) -> Sample:
    """Blocks of 8 x 8 whose colour is four times their segment number; none is void."""
    rows, columns = np.indices(size) // 8
    segments = (1 + (rows * 8 + columns) % 63).astype(np.uint16)
    return Sample((segments[..., None].repeat(3, 2) * 4).astype(np.uint8), segments, TABLE)


@settings(max_examples=40, deadline=None)
@given(st.tuples(*[st.floats(0, 1, exclude_max=True)] * 4))
def test_labels_move_with_their_pixels(uniforms: tuple[float, float, float, float]) -> None:
    sample = block_sample()
    image, segments, table = augmented(sample, uniforms)
    assert image.shape == (64, 64, 3)
    assert segments.shape == (64, 64)
    assert table is TABLE
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
    sample = block_sample()
    same_scale = (1 - SCALE[0]) / (SCALE[1] - SCALE[0])
    flipped = augmented(sample, (same_scale, 0, 0, 0))
    assert np.array_equal(flipped.segments, sample.segments[:, ::-1])
    assert np.array_equal(flipped.image, sample.image[:, ::-1])
    assert np.array_equal(augmented(sample, (same_scale, 0, 0, FLIP)).segments, sample.segments)


def test_a_shrunk_image_is_padded_with_void() -> None:
    image, segments, _ = augmented(block_sample(), (0, 0.5, 0, 0.9))
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

    code = "import sys, bench.data.catalog, bench.data.verify; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)

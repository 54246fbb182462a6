"""The paired bootstrap at the size of COCO's validation split, all pairs of six networks; and how its time compares
with scoring each resample by itself."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from bench.evaluate.bootstrap import differences, resample, resamples
from bench.evaluate.outcomes import read_outcomes
from bench.evaluate.recompute import recompute
from tests.evaluate.synthetic import Split, draw_run

IMAGES, CLASSES, THINGS, DETECTIONS, RESAMPLES = 5000, 133, 80, 30, 1000
SKILLS = (0.3, 0.4, 0.45, 0.5, 0.5, 0.55)  # Table 4 has six networks
LITERAL = 3  # resamples that are scored by themselves


def drawn_again(path: Path, counts: np.ndarray, to: Path) -> Path:
    """The table in which each image really stands as often as it was drawn, its copies one after the other."""
    table = pq.read_table(path)
    names = np.array([f"{n:06d}" for n in range(len(counts))], dtype=object)
    place = pc.index_in(table["image"], pa.array(names)).to_numpy()
    parts = [
        pc.take(table, np.flatnonzero(counts[place] >= copy))
        .drop_columns("image")
        .add_column(0, "image", pa.array([f"{names[p]}-{copy:03d}" for p in place[counts[place] >= copy]]))
        for copy in range(1, counts.max() + 1)
    ]
    whole = pa.concat_tables(parts)
    order = pc.sort_indices(whole, sort_keys=[("image", "ascending")])
    pq.write_table(whole.take(order).replace_schema_metadata(table.schema.metadata), to)
    return to


def seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


@pytest.mark.slow
@pytest.mark.perf
def test_all_pairs_of_six_networks_on_five_thousand_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    split = Split.draw(IMAGES, CLASSES, THINGS, rng)
    paths = [draw_run(split, skill, DETECTIONS, rng).write(tmp_path / f"{n}.parquet") for n, skill in enumerate(SKILLS)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, start = time.monotonic(), time.process_time()
    drawn = [resample(read_outcomes(path), RESAMPLES, seed=0) for path in paths]
    found = {pair: differences(drawn[pair[0]], drawn[pair[1]]) for pair in combinations(range(len(SKILLS)), 2)}
    took, wall = time.process_time() - start, time.monotonic() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert len(found) == 15
    assert {one.verdict for one in found[0, 5].values()} == {"lower"}
    assert all(one.resamples == RESAMPLES for pair in found.values() for one in pair.values())

    again = tmp_path / "again.parquet"
    things = [k < THINGS for k in range(CLASSES)]
    chosen = [next(resamples(IMAGES, LITERAL, seed=0))[n] for n in range(LITERAL)]
    literal = []
    for n, counts in enumerate(chosen):
        drawn_again(paths[5], counts, again)
        literal.append(seconds(lambda: recompute(again, things)))
        totals = recompute(again, things).totals
        for metric, key in (("mIoU", "miou"), ("PQ", "pq"), ("AP", "ap")):
            assert drawn[5].values[metric][n] == pytest.approx(totals[key], abs=1e-9)
    whole = min(literal) * RESAMPLES * len(SKILLS)
    with capsys.disabled():
        sys.stdout.write(
            f"\n{RESAMPLES} resamples of {IMAGES} images with {DETECTIONS} detections each, 15 pairs of 6 networks: "
            f"{took / 60:.1f} min of one core ({wall / 60:.1f} by the clock), {peak / 1024:.0f} MiB at most "
            f"({before / 1024:.0f} before); each resample by itself would take {whole / took:.0f} times as long\n"
        )
    assert whole > 10 * took
    assert peak - before < 1024 * 1024  # 1 GiB

"""The paired bootstrap against images that are really there several times, a loop over resamples, and planted
differences."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.evaluate import bootstrap, outcomes
from bench.evaluate.bootstrap import Resampled, differences, resample, resamples
from bench.evaluate.outcomes import RunOutcomes, read_outcomes, scores
from bench.evaluate.recompute import recompute
from models.categories import PredictedSegment
from tests.evaluate.conftest import CATEGORIES, RandomScene, draw
from tests.evaluate.evaluated import evaluated
from tests.evaluate.synthetic import Split, draw_run

NAMES = {"mIoU": "miou", "PQ": "pq", "AP": "ap"}
ON_DISK = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SEEDS = st.integers(0, 10_000)


def coarse(scene: RandomScene) -> RandomScene:
    """Only three scores and two categories, so that detections of one image tie, right ones with wrong ones."""
    segments = {
        number: PredictedSegment(2 * (segment.category % 2), round(2 * segment.score) / 2)
        for number, segment in scene.segments.items()
    }
    return scene._replace(segments=segments)


def read(evaluator: Any, folder: Path) -> RunOutcomes:
    evaluator.write_images(folder / "images.parquet")
    return read_outcomes(folder / "images.parquet")


def assert_same(found: dict[str, Any], metrics: dict[str, Any]) -> None:
    for name, key in NAMES.items():
        (value,) = found[name]
        assert metrics[key] is None if np.isnan(value) else value == pytest.approx(metrics[key], abs=1e-9)


@ON_DISK
@given(
    seeds=st.lists(SEEDS, max_size=6, unique=True), task=st.sampled_from(["panoptic", "semantic", "instance"])
)  # fmt: skip
def test_each_image_once_gives_the_recorded_numbers(tmp_path: Path, seeds: list[int], task: Any) -> None:
    evaluator = evaluated([draw(seed) for seed in seeds], CATEGORIES, task)
    found = read(evaluator, tmp_path)
    assert_same(scores(found, np.ones((1, len(seeds) + 1), dtype=np.int32)), evaluator.metrics())


@ON_DISK
@given(drawn=st.lists(st.tuples(SEEDS, st.integers(0, 4)), min_size=1, max_size=5), ties=st.booleans())
def test_counts_are_images_that_are_there_so_often(
    tmp_path: Path, drawn: list[tuple[int, int]], ties: bool
) -> None:  # fmt: skip
    """COCOeval itself, on a split that holds each image as often; the last image, void, stays."""
    scenes = [coarse(draw(seed)) if ties else draw(seed) for seed, _ in drawn]
    found = read(evaluated(scenes, CATEGORIES, ties=ties), tmp_path)
    repeated = [scene for scene, (_, times) in zip(scenes, drawn, strict=True) for _ in range(times)]
    counts = np.array([[*(times for _, times in drawn), 1]], dtype=np.int32)
    assert_same(scores(found, counts), evaluated(repeated, CATEGORIES, ties=ties).metrics())


def test_right_and_wrong_of_one_score_in_one_image_alternate(tmp_path: Path) -> None:
    """Weighting each detection in its own place would be wrong, and often is among these."""
    differing = 0
    for seed in range(40):
        scene = coarse(draw(seed))
        found = read(evaluated([scene], CATEGORIES), tmp_path)
        counts = np.array([[3, 1]], dtype=np.int32)
        assert_same(scores(found, counts), evaluated([scene] * 3, CATEGORIES).metrics())
        differing += bool(abs(scores(in_place(found), counts)["AP"][0] - scores(found, counts)["AP"][0]) > 1e-6)
    assert differing


def in_place(found: RunOutcomes) -> RunOutcomes:
    """As if no detections of one image ever tied."""
    parts = [
        replace(part, ranking=replace(part.ranking, mixed=np.zeros_like(part.ranking.mixed)))
        for part in found.categories
    ]
    return replace(found, categories=tuple(parts))


def test_a_block_of_resamples_is_each_of_them_alone(
    random_scenes: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = read(evaluated([coarse(scene) for scene in random_scenes[:20]], CATEGORIES), tmp_path)
    whole = resample(found, 50, seed=3)
    alone = [scores(found, counts[None]) for block in resamples(21, 50, seed=3) for counts in block]
    monkeypatch.setattr(outcomes, "MOST_CELLS", 64)
    monkeypatch.setattr(bootstrap, "MOST_CELLS", 64)
    small = resample(found, 50, seed=3)
    for metric in NAMES:
        assert np.isfinite(whole.values[metric]).all()
        assert np.ptp(whole.values[metric]) > 0
        assert whole.values[metric] == pytest.approx(np.concatenate([one[metric] for one in alone]), abs=1e-12)
        assert small.values[metric] == pytest.approx(whole.values[metric], abs=1e-12)


def test_a_resample_draws_as_many_images_as_there_are() -> None:
    (counts,) = resamples(30, 200, seed=1)
    assert counts.shape == (200, 30)
    assert (counts.sum(axis=1) == 30).all()
    assert counts.mean() == pytest.approx(1.0)
    assert counts.var() == pytest.approx(29 / 30, abs=0.05)  # multinomial
    assert (counts == next(resamples(30, 200, seed=1))).all()
    assert (counts != next(resamples(30, 200, seed=2))).any()


def resampled(point: float, values: Sequence[float]) -> Resampled:
    return Resampled({"AP": point}, {"AP": np.array(values)})


def test_the_interval_is_that_of_the_percentiles() -> None:
    """Of 0, 1, …, 40 points the 2.5th percentile is 1 and the 97.5th 39."""
    values = np.random.default_rng(0).permutation(41) / 100
    (found,) = differences(resampled(0.9, values + 0.5), resampled(0.7, [0.5] * 41)).values()
    assert (found.points, found.low, found.high) == pytest.approx((20.0, 1.0, 39.0))
    assert (found.verdict, found.resamples) == ("higher", 41)
    (found,) = differences(resampled(0.7, [0.5] * 41), resampled(0.9, values + 0.5)).values()
    assert (found.low, found.high, found.verdict) == (pytest.approx(-39.0), pytest.approx(-1.0), "lower")


@pytest.mark.parametrize(("low", "high", "word"), [(0.0, 1.0, "tie"), (-1.0, 0.0, "tie"), (-1.0, 1.0, "tie")])
def test_an_interval_that_holds_zero_is_a_tie(low: float, high: float, word: str) -> None:
    (found,) = differences(resampled(0.5, [low / 100] * 20 + [high / 100] * 20), resampled(0.5, [0.0] * 40)).values()
    assert found.verdict == word


def test_a_resample_without_the_number_is_left_out_and_a_run_without_it_has_none() -> None:
    (found,) = differences(resampled(0.5, [0.1, np.nan, 0.1]), resampled(0.4, [0.0, 0.0, np.nan])).values()
    assert found.resamples == 1
    assert found.low == found.high == pytest.approx(10.0)
    assert differences(resampled(np.nan, [np.nan] * 3), resampled(0.4, [0.0] * 3)) == {}


def test_a_category_of_one_image_is_left_out_where_that_image_is_not_drawn(tmp_path: Path) -> None:
    split = Split(np.array([[100, 0], [100, 60], [100, 0]]), np.array([[1, 0], [1, 0], [1, 0]]))
    run = draw_run(split, 0.5, 2, np.random.default_rng(0)).write(tmp_path / "images.parquet")
    found = read_outcomes(run)
    first = [found.categories[k].sums[:, :3] for k in (0, 1)]  # intersection, truth, predicted
    with_it, without = (scores(found, np.array([c], dtype=np.int32))["mIoU"][0] for c in ([0, 3, 0], [2, 0, 1]))
    iou = [first[0][1][0] / (first[0][1][1] + first[0][1][2] - first[0][1][0])]
    iou.append(first[1][0][0] / (first[1][0][1] + first[1][0][2] - first[1][0][0]))
    assert with_it == pytest.approx(np.mean(iou))
    sums = 2 * first[0][0] + first[0][2]
    assert len(first[1]) == 1  # the other two neither hold nor predict it
    assert without == pytest.approx(sums[0] / (sums[1] + sums[2] - sums[0]))


def synthetic(folder: Path, images: int, skills: Sequence[float], rng: np.random.Generator) -> list[RunOutcomes]:
    """Runs of one split of three things and one stuff; equal skills differ by chance alone."""
    split = Split.draw(images, 4, 3, rng, per_image=3)
    return [read_outcomes(draw_run(split, skill, 5, rng).write(folder / "images.parquet")) for skill in skills]


def test_identical_runs_differ_by_nothing(tmp_path: Path) -> None:
    (run,) = synthetic(tmp_path, 40, [0.5], np.random.default_rng(0))
    found = differences(resample(run, 100, 0), resample(run, 100, 0))
    assert set(found) == set(NAMES)
    assert all((one.points, one.low, one.high, one.verdict) == (0.0, 0.0, 0.0, "tie") for one in found.values())


def test_a_planted_difference_is_found(tmp_path: Path) -> None:
    strong, weak = (resample(run, 200, 0) for run in synthetic(tmp_path, 100, [0.7, 0.4], np.random.default_rng(0)))
    assert {one.verdict for one in differences(strong, weak).values()} == {"higher"}
    assert {one.verdict for one in differences(weak, strong).values()} == {"lower"}


@pytest.mark.slow
@pytest.mark.parametrize("skills", [(0.5, 0.5), (0.6, 0.5)])
def test_the_interval_covers_the_true_difference(tmp_path: Path, skills: tuple[float, float]) -> None:
    """The truth is that of 20,000 images. Of 120 intervals at 95 %, 114 cover it on average, standard deviation 2.4;
    percentile intervals of a ratio are known to be a little short, so 85 % is asked for.
    """
    rng = np.random.default_rng(7)
    whole = [scores(run, np.ones((1, 20_000), dtype=np.int32)) for run in synthetic(tmp_path, 20_000, skills, rng)]
    truth = {metric: 100 * (whole[0][metric][0] - whole[1][metric][0]) for metric in NAMES}
    covered, found = dict.fromkeys(NAMES, 0), dict.fromkeys(NAMES, 0)
    for _ in range(120):
        one, other = (resample(run, 300, 0) for run in synthetic(tmp_path, 200, skills, rng))
        for metric, difference in differences(one, other).items():
            covered[metric] += difference.low <= truth[metric] <= difference.high
            found[metric] += difference.verdict == "higher"
    assert min(covered.values()) >= 0.85 * 120, covered
    if skills[0] == skills[1]:
        assert max(found.values()) <= 0.1 * 120, found
    else:
        assert min(found.values()) >= 0.5 * 120, found


def test_every_category_of_the_file_is_read_and_agrees_with_the_recomputation(tmp_path: Path) -> None:
    """A larger case than the scenes, by code that shares nothing with the weighted AP."""
    rng = np.random.default_rng(5)
    path = draw_run(Split.draw(150, 12, 8, rng), 0.5, 20, rng).write(tmp_path / "images.parquet")
    found = recompute(path, [k < 8 for k in range(12)]).totals
    assert_same(scores(read_outcomes(path), np.ones((1, 150), dtype=np.int32)), found)


def test_a_detection_of_an_image_without_a_row_is_refused(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    path = tmp_path / "images.parquet"
    rng = np.random.default_rng(5)
    draw_run(Split.draw(5, 4, 3, rng), 0.5, 9, rng).write(path)
    table = pq.read_table(path)
    kept = [not (row["kind"] == "class" and row["image"] == "000002") for row in table.to_pylist()]
    pq.write_table(table.filter(kept), path)
    with pytest.raises(ValueError, match="without a row of its own"):
        read_outcomes(path)


def test_it_imports_no_torch() -> None:
    script = "import sys, bench.evaluate.paired; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0

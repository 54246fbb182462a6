"""results/intervals: what is kept, for how long it counts, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bench.errors import UserError
from bench.evaluate.paired import Comparison, keep
from bench.files import write_json
from bench.intervals import Difference, Interval, interval_path, read_interval, read_intervals
from bench.pairs import between, is_current, points, why_no_pair, with_intervals
from bench.record import Record
from bench.store import Store
from tests.finished import finished


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


@pytest.fixture
def pair(store: Store) -> tuple[Record, Record]:
    return finished(store, 0.6), finished(store, 0.5, chance=1, model="maskattn-unet")


def computed(store: Store, one: Record, other: Record, resamples: int = 1000) -> Interval:
    interval = Comparison(lambda *_: None, resamples).interval(one, other)
    keep(store.root, interval)
    return interval


def test_what_is_kept_is_read_as_it_was_and_the_points_are_those_of_the_records(
    store: Store, pair: tuple[Record, Record]
) -> None:
    made = computed(store, *pair)
    assert (read_intervals(store.root)) == ([made], {})
    one, other = with_intervals(pair, [made])
    found = between(one, other)
    assert found is not None
    assert {metric: value.points for metric, value in found.items()} == pytest.approx(dict(points(*pair)), abs=1e-9)
    assert set(found) == {"mIoU", "PQ", "AP"}
    assert all(value.low < value.points < value.high for value in found.values())


def test_the_other_way_round_is_the_mirror(store: Store, pair: tuple[Record, Record]) -> None:
    one, other = with_intervals(pair, [computed(store, *pair)])
    there, back = between(one, other), between(other, one)
    assert there is not None
    assert back is not None
    for metric, value in there.items():
        mirrored = back[metric]
        assert (mirrored.points, mirrored.low, mirrored.high) == (-value.points, -value.high, -value.low)
    words = {value.verdict for value in there.values()}, {value.verdict for value in back.values()}
    assert words[0] == {{"higher": "lower", "lower": "higher", "tie": "tie"}[word] for word in words[1]}
    assert computed(store, other, one) == computed(store, one, other)
    assert len(list((store.root / "intervals").iterdir())) == 1


def test_long_ids_have_a_name_that_fits(tmp_path: Path) -> None:
    one, other = f"unet-{'a' * 120}-s0", f"unet-{'b' * 120}-s0"
    path = interval_path(tmp_path, one, other)
    assert len(path.name) < 100
    assert path == interval_path(tmp_path, other, one)
    assert path != interval_path(tmp_path, one, other[:-1] + "1")


def test_the_folder_of_intervals_is_no_run(store: Store, pair: tuple[Record, Record]) -> None:
    computed(store, *pair)
    assert store.run_ids() == sorted(record.run_id for record in pair)


def test_only_the_usual_number_of_resamples_is_kept(store: Store, pair: tuple[Record, Record]) -> None:
    assert computed(store, *pair, resamples=100).resamples == 100
    assert not (store.root / "intervals").exists()


def test_an_interval_of_other_numbers_is_stale(store: Store, pair: tuple[Record, Record]) -> None:
    made = computed(store, *pair)
    first, second = sorted(pair, key=lambda record: record.run_id)
    assert is_current(made, first, second)
    files = {**(first.status.files or {}), "images.parquet": "0" * 64}
    other_images = replace(first, status=first.status.model_copy(update={"files": files}))
    assert first.metrics is not None
    final = first.metrics.final.model_copy(update={"pq": (first.metrics.final.pq or 0) + 1e-6})
    other_numbers = replace(first, metrics=first.metrics.model_copy(update={"final": final}))
    for changed in (other_images, other_numbers):
        assert not is_current(made, changed, second)
        assert between(*with_intervals([changed, second], [made])) is None
    failed = replace(first, metrics=None, status=first.status.model_copy(update={"state": "failed"}))
    assert not is_current(made, failed, second)
    for update in ({"version": 2}, {"seed": 1}, {"resamples": 100}, {"metrics": {}}):
        assert not is_current(made.model_copy(update=update), first, second)


def test_an_interval_of_a_run_that_is_gone_belongs_to_nobody(store: Store, pair: tuple[Record, Record]) -> None:
    made = computed(store, *pair)
    assert [record.intervals for record in with_intervals(pair[:1], [made])] == [()]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"task": "semantic"}, "tasks: panoptic and semantic"),
        ({"protocol": "native"}, "protocols: standard, version 1 and native, version 1"),
        ({"protocol_version": 2}, "protocols"),
        ({"split": 1}, "validation splits"),
        ({"budget": {"held_out": 20}}, "validation splits"),
        ({"instance_truth": "instances"}, "instance truths"),
    ],
)
def test_runs_that_cannot_be_compared_are_no_pair(store: Store, change: dict[str, Any], what: str) -> None:
    one, other = finished(store, 0.6), finished(store, 0.5, model="maskattn-unet", **change)
    reason = why_no_pair(one, other)
    assert reason is not None
    assert what in reason
    assert "\n" not in reason
    with pytest.raises(UserError, match="two"):
        computed(store, one, other)


def test_runs_on_other_images_under_one_hash_are_refused(store: Store) -> None:
    """Which no two honest records are."""
    one, other = finished(store, 0.6, images=40), finished(store, 0.5, images=41, model="maskattn-unet")
    with pytest.raises(UserError, match="other images"):
        computed(store, one, other)


def test_what_was_not_written_so_is_not_computed_from(store: Store, pair: tuple[Record, Record]) -> None:
    images = pair[0].folder / "images.parquet"
    (pair[1].folder / "images.parquet").rename(images)
    with pytest.raises(UserError, match="another sha256"):
        computed(store, *pair)
    images.unlink()
    with pytest.raises(UserError, match=r"is not here.*remove its folder"):
        computed(store, *pair)


def test_images_that_do_not_give_the_metrics_are_refused(store: Store, pair: tuple[Record, Record]) -> None:
    metrics = pair[0].metrics
    assert metrics is not None
    final = metrics.final.model_copy(update={"ap": 0.123})
    wrong = replace(pair[0], metrics=metrics.model_copy(update={"final": final}))
    with pytest.raises(UserError, match=r"metrics.json says AP 0.123, images.parquet gives 0\."):
        computed(store, wrong, pair[1])


def test_a_table_that_is_none_is_one_line(store: Store, pair: tuple[Record, Record]) -> None:
    images = pair[0].folder / "images.parquet"
    images.write_bytes(b"PAR1 no such thing")
    record = replace(pair[0], status=pair[0].status.model_copy(update={"files": None}))  # an older one
    with pytest.raises(UserError, match="cannot be read") as caught:
        computed(store, record, pair[1])
    assert "\n" not in str(caught.value)


def test_a_damaged_interval_is_named_and_the_others_are_read(store: Store, pair: tuple[Record, Record]) -> None:
    made = computed(store, *pair)
    path = interval_path(store.root, *made.pair)
    (path.with_name("a.json")).write_text("{")
    path.with_name("b.json").write_bytes(path.read_bytes())
    found, damaged = read_intervals(store.root)
    assert found == [made]
    assert list(damaged) == ["intervals/a.json", "intervals/b.json"]
    assert "not readable JSON" in damaged["intervals/a.json"]
    assert "holds the interval of" in damaged["intervals/b.json"]


def test_a_verdict_that_does_not_follow_is_refused(store: Store, pair: tuple[Record, Record]) -> None:
    made = computed(store, *pair)
    path = interval_path(store.root, *made.pair)
    content = json.loads(path.read_text())
    content["metrics"]["AP"]["verdict"] = "higher"
    content["metrics"]["AP"]["low"] = -9.0
    write_json(path, content)
    with pytest.raises(UserError, match="does not follow"):
        read_interval(path)
    with pytest.raises(ValidationError):
        Difference(points=0.0, low=1.0, high=-1.0, verdict="tie", resamples=1)

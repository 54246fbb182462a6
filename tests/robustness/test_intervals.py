"""Kept intervals and the tables they are computed from, damaged: named, refused in one line, never a traceback."""

from __future__ import annotations

from dataclasses import replace

from bench.errors import UserError
from bench.evaluate.paired import Comparison, keep
from bench.intervals import interval_path, read_intervals
from bench.store import Store
from tests.finished import finished
from tests.robustness.mutations import damaged_bytes


def pair_in(folder):
    store = Store(folder / "results")
    return store, finished(store, 0.6, images=8), finished(store, 0.5, images=8, chance=1, model="maskattn-unet")


def test_a_damaged_interval_is_read_or_named(tmp_path, cases):
    store, *pair = pair_in(tmp_path)
    made = Comparison(lambda *_: None).interval(*pair)
    keep(store.root, made)
    path = interval_path(store.root, *made.pair)
    whole = path.read_bytes()
    for chance in cases(50):
        path.write_bytes(damaged_bytes(whole, chance))
        found, damaged = read_intervals(store.root)
        assert len(found) + len(damaged) == 1
        assert all("\n" not in problem for problem in damaged.values())


def test_a_damaged_table_is_refused_in_one_line(tmp_path, cases):
    """Its sha256 finds every change; here of a record that has none, as older ones."""
    _, one, other = pair_in(tmp_path)
    unsealed = replace(one, status=one.status.model_copy(update={"files": None}))
    path = one.folder / "images.parquet"
    whole, refused = path.read_bytes(), 0
    for chance in cases(50):
        path.write_bytes(damaged_bytes(whole, chance))
        try:
            Comparison(lambda *_: None, 100).interval(unsealed, other)
        except UserError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused

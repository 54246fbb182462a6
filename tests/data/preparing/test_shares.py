"""Subsets of 10, 25, 50, 75 and 100 percent: fixed by the ids, nested, and hashed as if they alone were prepared."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data.native.scenes import Scenes
from bench.data.prepared import check_disjoint, prepare
from bench.data.preparing.shares import PERCENTS, chosen_ids, share_ids
from bench.data.view import View
from bench.errors import UserError

IDS = st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=60, unique=True)


@given(IDS)
def test_the_smaller_lies_within_the_larger(ids: list[str]) -> None:
    shares = [share_ids(ids, percent) for percent in PERCENTS]
    assert PERCENTS == (10, 25, 50, 75, 100)
    assert [len(share) for share in shares] == [max(1, int(len(ids) * percent / 100)) for percent in PERCENTS]
    assert all(set(small) <= set(large) for small, large in pairwise(shares))
    assert shares[-1] == ids
    assert all(share == [id for id in ids if id in set(share)] for share in shares)  # in the dataset's order


@given(IDS, st.randoms())
def test_the_order_of_the_ids_does_not_matter(ids: list[str], random) -> None:
    shuffled = random.sample(ids, len(ids))
    assert set(share_ids(shuffled, 25)) == set(share_ids(ids, 25))


@given(IDS, st.sampled_from(PERCENTS[:-1]))
def test_they_have_the_smallest_hashes(ids: list[str], percent: int) -> None:
    def mark(id: str) -> str:
        return hashlib.sha256(id.encode()).hexdigest()

    chosen = share_ids(ids, percent)
    assert all(mark(out) > max(map(mark, chosen)) for out in set(ids) - set(chosen))


def test_they_stay_the_same_for_good() -> None:
    """By `sha256sum`, which begins 0a5b for 146, 1d28 for 147, 2c7d for 141, 5ec1 for 144, 8d27 for 139."""
    ids = [str(n) for n in range(139, 149)]
    assert share_ids(ids, 25) == ["146", "147"]
    assert share_ids(ids, 50) == ["139", "141", "144", "146", "147"]


def test_limits_are_nested_and_keep_the_order() -> None:
    ids = [f"{n}" for n in range(50)]
    small, large = chosen_ids(ids, 7), chosen_ids(ids, 20)
    assert set(small) < set(large)
    assert (len(small), len(large)) == (7, 20)
    assert large == sorted(large, key=int)
    assert chosen_ids(ids, None) == chosen_ids(ids, 99) == ids
    with pytest.raises(UserError, match="expected 1 or more"):
        chosen_ids(ids, 0)


@pytest.mark.parametrize("percent", PERCENTS)
def test_a_share_is_hashed_as_if_it_alone_had_been_prepared(tmp_path: Path, percent: int) -> None:
    whole = prepare(Scenes(), "val", (16, 24), 41, tmp_path)
    told = whole.manifest["fractions"][str(percent)]
    alone = prepare(Scenes(), "val", (16, 24), told["images"], tmp_path)
    assert told["images"] == len(alone) == len(View(whole, percent=percent))
    assert View(whole, percent=percent).ids == alone.ids
    assert told["split_hash"] == alone.split_hash == whole.fraction_hash(percent)
    assert told["ids_sha256"] == alone.manifest["ids_sha256"]


def test_instances_are_in_the_hash_of_a_share(make_folder, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "toy", names=tuple(range(100, 108)))
    folder.annotate_instances(103)
    whole = prepare(folder.write(), "val", (20, 30), None, tmp_path / "p")
    told = whole.manifest["fractions"]
    alone = prepare(folder.write(), "val", (20, 30), 4, tmp_path / "p")
    assert told["50"]["split_hash"] == alone.split_hash
    folder.instances["annotations"][0]["category_id"] = 21
    other = prepare(folder.write(), "val", (20, 30), None, tmp_path / "p").manifest["fractions"]
    changed = {percent for percent in told if told[percent]["split_hash"] != other[percent]["split_hash"]}
    assert changed == {str(percent) for percent in PERCENTS if "103" in share_ids(whole.ids, percent)}


def test_an_image_in_both_splits_is_refused(make_folder, tmp_path: Path) -> None:
    train = prepare(make_folder(tmp_path / "toy", "train", (1, 2, 3)).write(), "train", (8, 8), None, tmp_path / "p")
    apart = prepare(make_folder(tmp_path / "apart", "val", (4, 5)).write(), "val", (8, 8), None, tmp_path / "p")
    mixed = prepare(make_folder(tmp_path / "mixed", "val", (5, 3)).write(), "val", (8, 8), None, tmp_path / "q")
    check_disjoint(train, apart)
    with pytest.raises(UserError, match=r"toy: 1 images are in the training and the validation split, such as 3; run"):
        check_disjoint(train, mixed)

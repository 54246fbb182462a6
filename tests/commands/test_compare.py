"""`bench compare`: which runs it takes, what it says of them, what it keeps, and its one line where it cannot."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.cli import main
from bench.commands import compare
from bench.evaluate.paired import Comparison
from bench.record import Record, Status
from bench.store import Store
from tests.finished import finished

Bench = Callable[..., tuple[int, str, str]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


@pytest.fixture
def strong(store: Store) -> Record:
    return finished(store, 0.7)


@pytest.fixture
def weak(store: Store) -> Record:
    return finished(store, 0.4, chance=1, model="maskattn-unet", options={"heads": 2})


@pytest.fixture
def bench(store: Store, capsys: pytest.CaptureFixture[str]) -> Bench:
    def call(*words: str) -> tuple[int, str, str]:
        code = main(["compare", *words, "--results", str(store.root)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def line_of(out: str, name: str) -> str:
    (line,) = [line for line in out.splitlines() if line.startswith(f"{name} ")]
    return line


def test_it_says_what_differs_and_by_how_much(strong: Record, weak: Record, bench: Bench) -> None:
    code, out, _ = bench("unet", "maskattn")
    assert code == 0
    assert out.splitlines()[:2] == [f"1  {strong.run_id}", f"2  {weak.run_id}"]
    assert "1 has model unet instead of maskattn-unet, options.heads None instead of 2" in out
    assert strong.metrics is not None
    assert weak.metrics is not None
    mine, theirs = strong.metrics.final, weak.metrics.final
    assert mine.pq is not None
    assert theirs.pq is not None
    pq = line_of(out, "PQ")
    assert f"{100 * mine.pq:.1f}" in pq
    assert f"{100 * theirs.pq:.1f}" in pq
    assert f"{100 * (mine.pq - theirs.pq):+.2f} (" in pq
    assert "): higher" in pq
    assert "one seed, cannot tell" in pq
    assert "1,000 resamples of the 40 images" in out
    assert "how far it depends on the seed of the training, only several seeds tell" in " ".join(out.split())
    assert "AR" in out
    _, turned, _ = bench("maskattn", "unet")
    assert f"{100 * (theirs.pq - mine.pq):+.2f} (" in line_of(turned, "PQ")
    assert "): lower" in line_of(turned, "PQ")


def test_the_classes_that_differ_most_come_first(strong: Record, weak: Record, bench: Bench) -> None:
    _, out, _ = bench("unet", "maskattn", "--json")
    assert strong.metrics is not None
    assert weak.metrics is not None
    pairs = [(a.name, a.iou, b.iou) for a, b in zip(strong.metrics.classes, weak.metrics.classes, strict=True)]
    ordered = sorted(pairs, key=lambda row: -abs((row[1] or 0) - (row[2] or 0)))
    found = json.loads(out)["classes"]
    assert [(row["name"], *row["scores"]) for row in found] == ordered
    assert {row["metric"] for row in found} == {"IoU"}


def test_json_has_the_same_in_numbers(strong: Record, weak: Record, bench: Bench) -> None:
    code, out, _ = bench("unet", "maskattn", "--json")
    content = json.loads(out)
    assert code == 0
    assert content["runs"] == [strong.run_id, weak.run_id]
    assert content["differs"]["model"] == ["unet", "maskattn-unet"]
    mine, theirs = content["scores"]["AP"]
    over = content["over_images"]
    assert (over["images"], over["resamples"], over["seed"], over["confidence"]) == (40, 1000, 0, 0.95)
    assert over["differences"]["AP"]["points"] == pytest.approx(100 * (mine - theirs), abs=1e-9)
    kept = json.loads(next((strong.folder.parent / "intervals").iterdir()).read_text())
    sign = 1 if kept["first"]["run_id"] == strong.run_id else -1
    assert kept["metrics"]["AP"]["points"] == pytest.approx(sign * over["differences"]["AP"]["points"])
    assert content["over_seeds"]["AP"]["runs"] == [[strong.run_id], [weak.run_id]]
    assert content["over_seeds"]["AP"]["margin"] is None


def test_two_seeds_of_one_network_differ_in_nothing_else(store: Store, bench: Bench) -> None:
    for seed in (0, 1):
        finished(store, 0.6, chance=seed, seed=seed)
    code, out, _ = bench("unet-scenes-64x64-smoke-s0", "unet-scenes-64x64-smoke-s1")
    assert code == 0
    assert "they differ in nothing but the seed" in out
    assert "over seeds" not in out


def test_classes_of_an_instance_task_differ_by_ap(store: Store, strong: Record, weak: Record) -> None:
    assert strong.metrics is not None
    rows = tuple(row.model_copy(update={"iou": None}) for row in strong.metrics.classes)
    records = [replace(one, metrics=strong.metrics.model_copy(update={"classes": rows})) for one in (strong, weak)]
    interval = Comparison(lambda *_: None, 100).interval(strong, weak)
    found = compare.Comparing(*records, interval, {}).classes()
    assert len(found) == 3
    assert {row[1] for row in found} == {"AP"}


def test_three_seeds_of_each_tell_over_seeds(store: Store, bench: Bench) -> None:
    for seed in range(3):
        finished(store, 0.7, chance=seed, seed=seed)
        finished(store, 0.4, chance=10 + seed, seed=seed, model="maskattn-unet")
    code, out, _ = bench("unet-scenes-64x64-smoke-s0", "maskattn-unet-scenes-64x64-smoke-s0")
    assert code == 0
    assert "over seeds (3 and 3 runs, pp)" in out
    assert line_of(out, "mIoU").count(": higher") == 2
    _, out, _ = bench("unet-scenes-64x64-smoke-s0", "maskattn-unet-scenes-64x64-smoke-s0", "--json")
    over = json.loads(out)["over_seeds"]["mIoU"]
    assert [len(runs) for runs in over["runs"]] == [3, 3]
    assert 0 < over["margin"] < over["points"]


def test_what_is_kept_is_not_computed_again_and_needs_no_images(
    strong: Record, weak: Record, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, first, _ = bench("unet", "maskattn")
    monkeypatch.setattr(compare, "Comparison", None)
    for record in (strong, weak):
        (record.folder / "images.parquet").unlink()
    assert bench("unet", "maskattn") == (0, first, "")


def test_a_damaged_interval_is_made_again(strong: Record, weak: Record, bench: Bench) -> None:
    _, first, _ = bench("unet", "maskattn")
    (path,) = (strong.folder.parent / "intervals").iterdir()
    kept = path.read_bytes()
    path.write_text("{")
    assert bench("unet", "maskattn") == (0, first, "")
    assert path.read_bytes() == kept


def test_a_store_that_cannot_be_written_to_still_answers(strong: Record, weak: Record, bench: Bench) -> None:
    (strong.folder.parent / "intervals").write_text("no folder")
    code, out, err = bench("unet", "maskattn", "--json")
    assert code == 0
    assert set(json.loads(out)["over_images"]["differences"]) == {"mIoU", "PQ", "AP"}
    assert err.startswith("the interval is not kept: ")


def test_other_numbers_of_resamples_are_computed_and_not_kept(strong: Record, weak: Record, bench: Bench) -> None:
    code, out, _ = bench("unet", "maskattn", "--resamples", "100")
    assert code == 0
    assert "95 % of 100 resamples" in out
    assert not (strong.folder.parent / "intervals").exists()


@pytest.mark.usefixtures("strong", "weak")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("unet", "unett"), "did you mean 'unet-scenes-64x64-smoke-s0-"),
        (("unet", "zzzzzzzz"), "unknown run 'zzzzzzzz' in"),
        (("unet", ""), "2 runs begin with ''"),
        (("unet", "unet"), "is given twice"),
        (("unet", "maskattn", "--resamples", "20"), "at least 100"),
    ],
)
def test_a_mistake_is_one_line(words: tuple[str, ...], said: str, bench: Bench) -> None:
    code, out, err = bench(*words)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_lacking_images_are_one_line_with_the_next_step(strong: Record, weak: Record, bench: Bench) -> None:
    (weak.folder / "images.parquet").unlink()
    code, out, err = bench("unet", "maskattn")
    assert (code, out) == (2, "")
    assert f"{weak.folder / 'images.parquet'} is not here" in err
    assert "remove its folder and run its suite again" in err
    weak.weights.parent.mkdir(exist_ok=True)
    weak.weights.write_bytes(b"w")
    assert f"`python -m bench evaluate {weak.run_id}` writes it again" in bench("unet", "maskattn")[2]


def test_without_results_it_says_how_to_make_some(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "a", "b", "--results", str(tmp_path / "none")]) == 2
    assert "bench run --suite" in capsys.readouterr().err


def test_one_run_alone_is_refused_by_the_parser(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_of:
        main(["compare", "a"])
    assert exit_of.value.code == 2
    assert "RUN" in capsys.readouterr().err


def test_a_run_that_failed_has_no_numbers(store: Store, strong: Record, weak: Record, bench: Bench) -> None:
    store.begin(weak.spec)
    store.write_attempt(weak.run_id, 2, {})
    store.finish(Status(run_id=weak.run_id, state="failed", attempt=2, reason="r"))
    code, _, err = bench("unet", "maskattn")
    assert code == 2
    assert "failed: it has no numbers" in err

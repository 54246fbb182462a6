"""The command that fills results/costs: what it measures, keeps, leaves for later, and refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli import main
from bench.commands import cost
from bench.execute.apart import ApartError
from bench.files import write_json
from bench.measure.cost_records import SIZES, CostRecord, Latency, cost_models, cost_path, options_of, read_costs


def record(name: str, size: tuple[int, int]) -> CostRecord:
    timed = {"median_s": 0.2, "low_s": 0.1, "high_s": 0.3, "repeats": 5, "threads": 1, "device": "cpu"}
    return CostRecord(
        model=name,
        options=options_of(name),
        task="panoptic",
        classes=133,
        size=size,
        parameters=31_000_000,
        flops=12.3e9,
        peak_memory_bytes=144 * 2**20,
        latency=Latency(**timed, processor="one", waited=0.5, load=1.0, cores=2),
        versions={},
        git_commit=None,
    )


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[int, int]]]:
    """What was asked for; U-Transformer's process dies."""
    asked: list[tuple[str, tuple[int, int]]] = []

    def measure(name: str, size: tuple[int, int]) -> CostRecord:
        asked.append((name, size))
        if name == "u-transformer":
            raise ApartError("its process ended with exit code -9")
        return record(name, size)

    monkeypatch.setattr(cost, "measure_apart", measure)
    return asked


def run(results: Path, *more: str) -> int:
    return main(["cost", "--all", "--sizes", "32x32", "--results", str(results), *more])


def test_every_network_is_measured_once_and_what_failed_is_tried_again(
    measured: list[tuple[str, tuple[int, int]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path) == 1
    assert measured == [(name, (32, 32)) for name in cost_models()]
    said = capsys.readouterr().out
    assert "u-transformer at 32x32 failed: its process ended with exit code -9" in said
    assert f"{len(cost_models()) - 1} measured, 0 kept, 1 failed" in said
    line = next(line for line in said.splitlines() if line.startswith("unet "))
    assert " ".join(line.split()) == "unet 32x32 12.30 G 31.0 M 144 MiB 200 ms (machine shared)"
    assert {one.model for one in read_costs(tmp_path)} == {*cost_models()} - {"u-transformer"}
    measured.clear()
    assert run(tmp_path) == 1
    assert measured == [("u-transformer", (32, 32))]


def test_what_is_damaged_or_of_other_defaults_is_measured_anew_and_all_of_it_with_again(
    measured: list[tuple[str, tuple[int, int]]], tmp_path: Path
) -> None:
    run(tmp_path)
    measured.clear()
    cost_path(tmp_path, "unet", (32, 32)).write_text("{")
    old = record("detr-small", (32, 32)).model_copy(update={"classes": 19})
    write_json(cost_path(tmp_path, "detr-small", (32, 32)), old.model_dump(mode="json"))
    run(tmp_path)
    assert [name for name, _ in measured] == ["unet", "u-transformer", "detr-small"]
    measured.clear()
    run(tmp_path, "--again")
    assert [name for name, _ in measured] == cost_models()


def test_without_sizes_it_takes_those_of_the_tables(
    measured: list[tuple[str, tuple[int, int]]], tmp_path: Path
) -> None:
    main(["cost", "--all", "--results", str(tmp_path)])
    assert measured == [(name, size) for size in SIZES for name in cost_models()]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "give --model and --input for one network, or --all"),
        ("--model unet", "give --model and --input for one network, or --all"),
        ("--all --model unet", "--all goes with --sizes, --again and --results alone"),
        ("--all --json", "--all goes with --sizes, --again and --results alone"),
        ("--all --classes 19", "--all goes with --sizes, --again and --results alone"),
        ("--all --sizes 64", "--sizes: a size is height x width"),
        ("--all --sizes ,", "expected names with commas between them"),
        ("--model unet --input 32x32 --again", "--again and --sizes go with --all"),
        ("--model unet --input 32x32 --sizes 32x32", "--again and --sizes go with --all"),
    ],
)
def test_a_mistake_is_one_line(words: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", *words.split()]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1

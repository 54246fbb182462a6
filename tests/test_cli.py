"""The commands as a user types them: real processes, exit codes, one line for a mistake."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest


def bench(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rn"], "unknown command 'rn'; did you mean 'run'?"),
        (["plan", "--suite", "tabel4"], "unknown suite 'tabel4'; did you mean 'table4'?"),
        (["plan", "--suite", "table4", "--profile", "smok"], "unknown profile 'smok'; did you mean 'smoke'?"),
        (["plan", "--suite", "table4", "--models", "unett"], "unknown model 'unett'; did you mean 'unet'?"),
        (["plan", "--suite", "table4", "--datasets", "cocoo"], "unknown dataset 'cocoo'; did you mean 'coco'?"),
        (["plan", "--suite", "table4", "--seeds", "a"], "--seeds takes whole numbers"),
        (["plan", "--suite", "table4", "--dataset", "coco"], "--dataset takes NAME=PATH"),
        (["plan", "--suite", "table4", "--dataset", "coco=/nowhere"], "/nowhere"),
        (["plan", "--suite", "./none.yaml"], "no suite file at ./none.yaml"),
        (["plan", "--suit", "table4"], "--suite"),
        (["run", "--suite", "table4", "--device", "tpu"], "--device is auto, cpu, cuda"),
        (["run", "--suite", "table4", "--device", "cuda:99"], "CUDA devices"),
        (["run", "--suite", "table4", "--jobs", "0"], "whole number from 1"),
        (["run", "--suite", "table4", "--checkpoint-minutes", "0"], "a number above 0"),
        (["run", "--suite", "table4", "--checkpoint-minutes", "nan"], "a number above 0"),
        (["cost", "--model", "unett", "--input", "64x64"], "did you mean 'unet'?"),
        (["cost", "--model", "unet", "--input", "64"], "height x width"),
        (["score", "--truth", "no.json", "--predictions", "no.json"], "no.json"),
        (["data", "prepare", "coco"], "coco"),
        (["plan", "--suite", "table4", "--models", ","], "expected names"),
        (["plan", "--suite", "table4", "--seeds", ""], "expected names"),
        (["plan", "--suite", "table4", "--dataset", "coc=."], "did you mean 'coco'?"),
        (["plan", "--suite", "table4", "--dataset", "a/b=."], "--dataset: a name is"),
        (["plan", "--suite", "table4", "--data-root", "/nowhere"], "no data root at /nowhere"),
        (["run", "--suite", "table4", "--datasets", "coco"], "nothing to run: coco not here"),
        (["report"], "no results at results"),
        (["plan", "--suite", "table4", "--tuned"], "0 of 6 networks searched, not U-Net on scenes, "),
        (["run", "--suite", "table4", "--tuned", "1,x"], "factors of a learning rate are positive numbers"),
        (["tune", "--suite", "table4", "--factors", "0.3,3"], "1 among them, such as 0.3,1,3; got '0.3,3'"),
        (["tune", "--suite", "table4", "--seeds", "1"], "unrecognized arguments: --seeds 1"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = bench(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: t\nmodel: [unet]\n", "unknown key 'model'"),
        ("name: [", "is not YAML"),
        ("- a\n", "a suite is a mapping"),
        ("name: t\ntitle: t\ntask: panoptic\nsizes: [64]\nmodels: [unet]\ndatasets: [scenes]\n", "sizes.0"),
        ("name: t\ntitle: t\ntask: panoptic\nsizes: [64x64]\nmodels: [unet]\ndatasets: [scene]\n", "mean 'scenes'"),
        (
            "name: t\ntitle: t\ntask: panoptic\nsizes: [64x64]\nmodels: [{name: unet, options: {widht: 1}}]\n"
            "datasets: [scenes]\n",
            "did you mean 'width'",
        ),
    ],
)  # fmt: skip
def test_a_wrong_suite_file_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    done = bench("plan", "--suite", "./mine.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_plan_names_every_run_and_what_is_missing(tmp_path: Path) -> None:
    done = bench("plan", "--suite", "table4", "--json", cwd=tmp_path)
    assert done.returncode == 0
    plan = json.loads(done.stdout)
    networks = ["unet", "detr-r50", "detr-r101", "mask2former-r50", "mask2former-r101", "maskattn-unet"]
    assert [row["model"] for row in plan["runs"]] == ["majority", "position-prior", *networks]
    assert {row["dataset"] for row in plan["runs"]} == {"scenes"}
    assert {row["state"] for row in plan["runs"]} == {"pending"}
    assert sorted(plan["missing"]) == ["ade20k", "cityscapes", "coco"]
    assert all(row["size"] == "64x64" for row in plan["runs"])


def test_a_larger_profile_takes_the_suites_size_and_seeds(tmp_path: Path) -> None:
    done = bench("plan", "--suite", "table4", "--profile", "full", "--datasets", "scenes", "--json", cwd=tmp_path)
    rows = json.loads(done.stdout)["runs"]
    assert {row["size"] for row in rows} == {"128x128"}
    assert [row["seed"] for row in rows if row["model"] == "unet"] == [0, 1, 2]
    assert [row["seed"] for row in rows if row["model"] == "majority"] == [0]


def test_help_imports_neither_torch_nor_numpy() -> None:
    heavy = "[m for m in ('torch', 'numpy', 'pydantic') if m in sys.modules]"
    code = f"import sys, bench.cli; bench.cli.parser(); print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "words", ["plan --suite table4", "report --results .", "evaluate --all --results .", "models", "data list"]
)
def test_what_computes_nothing_imports_no_torch(tmp_path: Path, words: str) -> None:
    code = f"import sys; from bench.cli import main; main({words.split()!r}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=False).returncode == 0


def test_help_is_far_quicker_than_importing_torch() -> None:
    def seconds(*code: str) -> float:
        start = time.monotonic()
        subprocess.run([sys.executable, *code], capture_output=True, check=True)
        return time.monotonic() - start

    seconds("-m", "bench", "--help")
    assert min(seconds("-m", "bench", "--help") for _ in range(3)) < seconds("-c", "import torch") / 2

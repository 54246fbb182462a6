"""The commands themselves over damaged files: an exit code, and never a traceback."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from bench.cli import main
from bench.data.native.scenes import Scenes
from bench.data.prepared import prepare_sizes
from tests.robustness.mutations import damaged_bytes

RECORD = "unet-scenes-64x64-quick-s0-9a7f4788ed"
RESULTS = Path(__file__).parents[2] / "results"


def called(capsys, *words):
    """Exit code and what was said; an exception would fail the test."""
    code = main([str(word) for word in words])
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    if code == 2:
        assert said.err.startswith("bench: ")
        assert said.err.count("\n") == 1, said.err
    return code, said.out + said.err


def test_status_audit_and_doctor_bear_damaged_records(tmp_path, capsys, cases, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = tmp_path / "results"
    for chance in cases(12):
        shutil.copytree(RESULTS / RECORD, results / RECORD, ignore=shutil.ignore_patterns("checkpoint", "*.parquet"))
        path = chance.choice(sorted(path for path in (results / RECORD).rglob("*.json*")))
        path.write_bytes(damaged_bytes(path.read_bytes(), chance))
        assert called(capsys, "status", "--suite", "scenes64", "--profile", "quick", "--results", results)[0] == 0
        assert called(capsys, "audit", "--layer", "measured", "--results", results)[0] == 0
        assert called(capsys, "doctor", "--results", results, "--prepared", tmp_path / "prepared")[0] in (0, 1)
        shutil.rmtree(results)


def test_a_run_refuses_damaged_prepared_data(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    suite = {"name": "mine", "title": "t", "task": "semantic", "sizes": ["32x32"], "models": ["unet-small"]}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**suite, "datasets": ["scenes"]}))
    profile = {"name": "tiny", "summary": "s", "label": "l", "reproduction": False, "epochs": 1, "train_images": 4}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({**profile, "val_images": 4}))
    for split in ("train", "val"):
        (folder,) = [one.folder for one in prepare_sizes(Scenes(), split, [(32, 32)], 4, tmp_path / "prepared")]
    path = folder / "images.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    code, said = called(capsys, "run", "--suite", "./mine.yaml", "--profile", "./tiny.yaml", "--device", "cpu")
    assert code == 2
    assert "is damaged (pixel_hash is" in said
    assert not list((tmp_path / "results").glob("*/status.json"))


@pytest.mark.parametrize("name", ["../../etc/passwd", "mine\0.yaml", "x" * 300, "/", "."])
def test_a_strange_suite_name_is_one_line(capsys, name):
    assert called(capsys, "plan", "--suite", name)[0] == 2

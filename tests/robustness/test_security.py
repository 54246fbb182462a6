"""What comes from outside is data: nothing in it runs, leaves its folder, or grows without bound."""

from __future__ import annotations

import getpass
import os
import pickle
import re
import socket
import subprocess
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.files import MAX_BYTES, read_json
from bench.named import load_named
from bench.plain_yaml import read_yaml
from bench.spec import Suite
from models.backbones import WeightsError, _file_state

PROJECT = Path(__file__).parents[2]


class Payload:
    """Unpickled, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_the_payload_works_where_pickle_is_trusted(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "owned")))
    assert (tmp_path / "owned").is_dir()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".bin"])
def test_weights_from_outside_run_nothing(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(pickle.dumps({"conv1.weight": Payload(tmp_path / "owned")}))
    with pytest.raises(WeightsError, match="is not a state dict of tensors"):
        _file_state(path)
    assert not (tmp_path / "owned").exists()


def test_no_code_reads_pickles():
    """Beyond `weights_only` and safetensors."""
    calls = re.compile(
        r"pickle\.load|torch\.load\(|joblib|np\.load\([^)]*allow_pickle=True|yaml\.(unsafe|full)_load|shell=True|(?<![.\w])(eval|exec)\("
    )
    files = [*(PROJECT / "bench").rglob("*.py"), *(PROJECT / "models").rglob("*.py")]
    found = {str(path): calls.findall(path.read_text()) for path in files}
    assert {path: hits for path, hits in found.items() if hits} == {}


def test_a_pickle_in_a_prepared_array_does_not_run(tmp_path):
    import numpy as np

    from bench.data.native.scenes import Scenes
    from bench.data.prepared import load, prepare

    folder = prepare(Scenes(), "val", (16, 16), 2, tmp_path, processes=1).folder
    np.save(folder / "images.npy", np.array([Payload(tmp_path / "owned")], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="cannot be read"):
        _ = load(folder).images
    assert not (tmp_path / "owned").exists()


def test_aliases_of_aliases_are_refused_quickly(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    path = tmp_path / "mine.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(UserError, match="more than 100,000 values"):
        load_named("suite", str(path), Suite)


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: &a [*a]", "more than"), ("[" * 5000, "nested|not YAML"), ("x" * 1_000_001, "bytes"), ("a: \0", "not YAML")],
    ids=["recursive", "deep", "large", "nul"],
)
def test_settings_of_no_sane_size_are_refused(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_yaml(path)


def test_a_record_of_no_sane_size_is_refused(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_bytes(b"[" * 100_000)
    with pytest.raises(UserError, match="not readable JSON"):
        read_json(path)
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(UserError, match="at most"):
        read_json(path)


def test_committed_records_and_reports_name_no_machine_and_no_user():
    """No host name, user name, home folder or address."""
    listed = subprocess.run(
        ["git", "ls-files", "results", "reports"], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    secrets = {socket.gethostname(), os.path.expanduser("~"), str(PROJECT)} - {"", "/", "localhost"}  # noqa: PTH111
    user = getpass.getuser()
    for name in listed.stdout.split():
        path = PROJECT / name
        if path.suffix in (".json", ".jsonl", ".md", ".csv", ".html", ".tex") and path.is_file():
            text = path.read_text(encoding="utf-8")
            assert not [secret for secret in secrets if secret in text], name
            assert user == "root" or not re.search(rf"\b{re.escape(user)}\b", text), name
            assert not re.search(r"/home/|/Users/|/tmp/|/root/", text), name

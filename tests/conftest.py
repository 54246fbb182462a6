"""Shared fixtures. The real datasets lie beside the checkout; a test that needs them skips where they are absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach a model hub
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in bench/execute/local.py: a busy machine must not stall

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"the real datasets are not at {folder}")
    return folder


@pytest.fixture(scope="session")
def shared_paper() -> Path:
    folder = SHARED / "paper"
    if not folder.is_dir():
        pytest.skip(f"the paper's text is not at {folder}")
    return folder

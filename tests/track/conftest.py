"""The tracker's process is forked from a server that has torch imported, as in `bench run`."""

from __future__ import annotations

import multiprocessing

import pytest


@pytest.fixture(autouse=True)
def fork_server() -> None:
    """Takes effect where no test has started it before."""
    multiprocessing.set_forkserver_preload(["torch", "accelerate"])

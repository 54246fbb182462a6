"""Eight small scenes."""

from __future__ import annotations

import pytest

from bench.data.native.scenes import Scenes
from bench.data.prepared import prepare
from bench.data.view import View


@pytest.fixture(scope="session")
def eight_scenes(tmp_path_factory: pytest.TempPathFactory) -> View:
    return View(prepare(Scenes(), "train", (32, 32), 8, tmp_path_factory.mktemp("prepared")))

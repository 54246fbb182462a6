"""How fast the embedded dataset is drawn, as a ratio to what any reader must do: decode a PNG of the same size."""

from __future__ import annotations

import io
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.data.native.scenes import Scenes


@pytest.mark.perf
def test_a_scene_is_drawn_in_a_few_decoded_pngs(benchmark: Any) -> None:
    source = Scenes()
    ids = source.ids("train")[:20]
    picture = io.BytesIO()
    Image.fromarray(source.scene("train", ids[0]).image).save(picture, "png")
    benchmark.pedantic(lambda: [source.scene("train", id) for id in ids], rounds=3)
    start = time.perf_counter()
    for _ in ids:
        np.asarray(Image.open(io.BytesIO(picture.getvalue())))
    decoding = time.perf_counter() - start
    benchmark.extra_info["ratio to decoding a PNG"] = round(benchmark.stats.stats.min / decoding, 1)
    assert benchmark.stats.stats.min / decoding < 100

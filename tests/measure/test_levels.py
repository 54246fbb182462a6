"""From the levels of a network to longrange.json: which maps, how they are read, what stands beside them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from bench.measure.level_statistics import BLUR, blurred, longrange_of, rows_read, statistics_of, white_noise
from bench.measure.levels import CHANNELS, IMAGES, level_maps
from bench.measure.longrange import dfa, hurst, windows
from bench.measure.longrange_record import LongRange, Spread
from models.categories import Categories, Category
from models.registry import ENTRIES, build

CATEGORIES = Categories(tuple(Category(n + 1, f"class {n}", n < 2, (0, 0, 0)) for n in range(3)))
WITH_LEVELS = [entry.name for entry in ENTRIES if entry.is_network and entry.has_levels]


def built(name, size=(32, 32), **options):
    torch.manual_seed(0)
    return build(name, CATEGORIES, size, "panoptic", **options).eval()


def maps_of(model, size=(32, 32), images=5):
    with torch.no_grad(), level_maps(model) as maps:
        model(torch.rand(images, 3, *size, generator=torch.Generator().manual_seed(1)))
    return maps


@pytest.mark.parametrize("name", [n for n in WITH_LEVELS if n != "maskattn-unet-released"])
def test_every_network_of_the_family_has_six_levels_of_the_same_sizes(name):
    maps = maps_of(built(name))
    assert [m.shape[2:] for m in maps.values()] == [(n, n) for n in (16, 8, 4, 8, 16, 32)]
    assert {m.shape[0] for m in maps.values()} == {IMAGES}
    assert {m.shape[1] for m in maps.values()} == {CHANNELS}


def test_the_released_network_has_the_papers_modules():
    model = built("maskattn-unet-released", fixed_layernorm=False)
    assert list(model.levels()) == [f"att{n}" for n in range(1, 7)]
    assert [m.shape[2] for m in maps_of(model).values()] == [16, 8, 4, 8, 16, 32]


def test_a_floor_has_no_levels():
    (floor,) = [entry for entry in ENTRIES if entry.name == "majority"]
    assert not floor.has_levels
    assert built("majority").levels() == {}
    assert maps_of(built("majority")) == {}


def test_a_map_is_its_modules_output_in_evenly_spaced_channels_of_the_first_pass():
    model = built("maskattn-unet-small")
    outputs = []
    handle = model.levels()["att2"].register_forward_hook(lambda *call: outputs.append(call[2].clone()))
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    with torch.no_grad(), level_maps(model) as maps:
        model(images)
        model(1 - images)
    handle.remove()
    wide = outputs[0].shape[1]
    assert np.array_equal(maps["att2"], outputs[0][:, :: wide // CHANNELS].numpy())
    assert not any(module._forward_hooks for module in model.modules())


def test_few_channels_are_all_taken():
    model = built("maskattn-unet-small")
    model.levels = lambda: {"first": model.trunk.down[0][0], "images": model.normalize}
    assert maps_of(model)["images"].shape == (IMAGES, 3, 32, 32)


def test_modules_that_are_left_out_keep_their_places():
    assert list(maps_of(built("maskattn-unet-none"))) == [f"att{n}" for n in range(1, 7)]
    assert isinstance(built("maskattn-unet-encoder").levels()["att4"], nn.Identity)


def test_series_are_channels_of_images_read_row_by_row():
    maps = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    series = rows_read(maps)
    assert series.shape == (6, 20)
    assert series[4].tolist() == maps[1, 1].ravel().tolist()
    assert series[0, 5] == maps[0, 0, 1, 0]


def test_noise_has_its_variance_everywhere_and_is_smooth_where_it_is_blurred():
    noise = white_noise(400, (16, 32), 1)
    smooth = blurred(noise)
    assert noise.std() == pytest.approx(1, abs=0.01)
    per_pixel = smooth.var(axis=0)
    assert per_pixel.min() > 0.6 * per_pixel.max()  # without wrapping, the edges would have twice the variance
    near = (smooth[..., 1:] * smooth[..., :-1]).mean() / smooth.var()
    assert near == pytest.approx(np.exp(-1 / (4 * BLUR**2)), abs=0.02)  # of a Gaussian with itself, a pixel apart
    assert np.array_equal(noise, white_noise(400, (16, 32), 1))
    assert not np.array_equal(noise[:, :16, :16], white_noise(400, (16, 16), 1))


def test_statistics_are_means_over_the_series_that_have_one():
    series = np.random.default_rng(0).standard_normal((6, 400))
    series[2] = 3.0
    found = statistics_of(series)
    exponents = np.array([one for one in hurst(series).exponents if one is not None])
    assert (found.series, found.hurst.n) == (6, 5)
    assert found.hurst.mean == pytest.approx(exponents.mean(), rel=1e-5)
    assert found.hurst.sd == pytest.approx(exponents.std(ddof=1), rel=1e-5)
    slope = np.polyfit(np.log(windows(400)), np.log(found.fluctuation), 1)[0]
    assert slope == pytest.approx(np.mean([one for one in dfa(series).exponents if one is not None]), abs=1e-4)


def test_levels_without_a_number_say_nothing():
    empty = statistics_of(np.full((3, 400), 2.0))
    assert empty.hurst == empty.dfa == empty.beta == Spread(mean=None, sd=None, n=0)
    assert empty.autocorrelation == empty.fluctuation == empty.power == ()
    assert statistics_of(np.random.default_rng(0).standard_normal((1, 400))).dfa.sd is None


def maps(seed, sizes=((16, 16), (8, 8), (16, 16), (32, 16))):
    rng = np.random.default_rng(seed)
    return {f"att{n}": rng.standard_normal((2, 3, *size)).astype("f4") for n, size in enumerate(sizes, 1)}


def test_each_level_has_its_numbers_and_each_size_its_noise():
    trained, untrained = maps(0), maps(1)
    found = longrange_of(trained, untrained, seed=5)
    assert [(level.name, level.height, level.width) for level in found.levels] == [
        ("att1", 16, 16),
        ("att2", 8, 8),
        ("att3", 16, 16),
        ("att4", 32, 16),
    ]
    small = found.levels[1]
    assert (small.reason, small.trained, small.untrained) == ("8x8 are 64 values; 256 at least", None, None)
    assert found.shape(small) is None
    assert [(shape.height, shape.width) for shape in found.shapes] == [(16, 16), (32, 16)]
    assert found.levels[3].trained == statistics_of(rows_read(trained["att4"]))
    assert found.levels[3].untrained == statistics_of(rows_read(untrained["att4"]))
    shape = found.shape(found.levels[3])
    assert shape.white == statistics_of(rows_read(white_noise(6, (32, 16), 5)))
    assert shape.blurred == statistics_of(rows_read(blurred(white_noise(6, (32, 16), 5))))
    assert len(shape.lags) == len(shape.white.autocorrelation)
    assert len(shape.windows) == len(shape.white.fluctuation)
    assert len(shape.frequencies) == len(shape.white.power)
    assert (found.images, found.channels) == (2, 3)


def test_equal_maps_give_equal_files_that_are_small():
    sizes = ((64, 64), (32, 32), (16, 16), (32, 32), (64, 64), (128, 128))
    one, two = (longrange_of(maps(0, sizes), maps(1, sizes), 0).model_dump_json() for _ in range(2))
    assert one == two
    assert len(one) < 20_000
    assert LongRange.model_validate_json(one).model_dump_json() == one
    assert longrange_of(maps(0, sizes), maps(1, sizes), 1).model_dump_json() != one


def test_a_number_that_is_none_is_refused():
    content = json.loads(longrange_of(maps(0), maps(1), 0).model_dump_json())
    content["levels"][0]["trained"]["dfa"]["mean"] = float("nan")
    with pytest.raises(ValidationError, match="finite"):
        LongRange.model_validate(content)

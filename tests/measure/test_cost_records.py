"""Cost records on disk: what can be read, and what those that the project keeps say of the paper."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.files import write_json
from bench.measure.cost_records import (
    DETECTORS,
    FITTED_SIZE,
    SIZES,
    CostRecord,
    cost_label,
    cost_models,
    cost_of,
    cost_path,
    is_current,
    options_of,
    read_costs,
)
from bench.paper.numbers import paper_value
from models.registry import ENTRIES

KEPT = Path(__file__).parents[2] / "results"


def record(model: str = "unet", size: tuple[int, int] = (32, 32), **changes: object) -> CostRecord:
    values = {
        "model": model,
        "options": options_of(model),
        "task": "panoptic",
        "classes": 133,
        "size": size,
        "parameters": 5,
        "flops": 7e9,
        "versions": {},
        "git_commit": None,
    }
    return CostRecord.model_validate(values | changes)


def keep(results: Path, one: CostRecord, path: Path | None = None) -> Path:
    path = path or cost_path(results, one.model, one.size)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, one.model_dump(mode="json"))
    return path


def test_what_was_written_is_read_and_found_by_name_and_size(tmp_path: Path) -> None:
    assert read_costs(tmp_path) == []
    ones = [record("unet", (48, 64)), record("detr-r50-detector", (32, 32), flops=None, reason="why")]
    paths = [keep(tmp_path, one) for one in ones]
    assert [path.name for path in paths] == ["unet-48x64.json", "detr-r50-detector-32x32.json"]
    found = read_costs(tmp_path)
    assert sorted(found, key=lambda one: one.model) == sorted(ones, key=lambda one: one.model)
    assert cost_of(found, "unet", "48x64") == cost_of(found, "unet", (48, 64)) == ones[0]
    assert cost_of(found, "unet", "64x48") is None


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = keep(tmp_path, record())
    path.write_text('{"model": ')
    with pytest.raises(UserError, match=r"unet-32x32\.json"):
        read_costs(tmp_path)
    keep(tmp_path, record("unet", (64, 64)), path)
    with pytest.raises(UserError, match=r"unet-32x32\.json holds the cost of unet at 64x64"):
        read_costs(tmp_path)


def test_a_record_of_other_defaults_is_not_current() -> None:
    assert is_current(record())
    assert not is_current(record(options={**options_of("unet"), "width": 63}))
    assert not is_current(record(classes=19))
    assert not is_current(record().model_copy(update={"model": "gone"}))


def test_every_network_has_a_cost_and_each_detr_a_detector() -> None:
    networks = [entry.name for entry in ENTRIES if entry.is_network and not entry.is_floor]
    assert [name for name in cost_models() if name not in DETECTORS] == networks
    assert cost_models().index("detr-r50-detector") == cost_models().index("detr-r50") + 1
    assert cost_label("detr-r50-detector") == "DETR-R50 (detector)"


def test_reading_needs_no_torch_and_no_numpy() -> None:
    code = "import sys, bench.measure.cost_records; print(sorted({'torch', 'numpy', 'rich'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def kept() -> list[CostRecord]:
    found = read_costs(KEPT)
    if not found:
        pytest.skip("the project keeps no cost records here; python -m bench cost --all makes them")
    return found


def test_the_kept_records_are_of_todays_networks_and_lack_none() -> None:
    found = kept()
    assert all(map(is_current, found))
    assert {(one.model, one.size) for one in found} >= {(name, size) for name in cost_models() for size in SIZES}
    assert all(one.flops or one.reason for one in found)


def test_the_kept_records_meet_the_four_printed_flops_at_one_input() -> None:
    found = kept()
    for row in ("detr-r50", "detr-r101", "mask2former-r50", "mask2former-r101"):
        name = next((detector for detector, whole in DETECTORS.items() if whole == row), row)
        one, cell = cost_of(found, name, FITTED_SIZE), paper_value("table4", row, None, "FLOPs")
        assert one is not None
        assert one.flops is not None
        assert cell is not None
        assert one.flops / 1e9 == pytest.approx(cell.value, rel=0.03)


KNOWN = {  # G at 128x128, 64x64, 48x64, 32x32, counted by another program over the same libraries' networks
    "detr-r50": (7.87, 2.66, 2.34, 1.36),
    "detr-r101": (9.08, 2.96, 2.57, 1.43),
    "mask2former-r50": (5.64, 2.57, 2.34, 1.80),
    "mask2former-r101": (6.85, 2.87, 2.56, 1.88),
}


def test_the_kept_records_have_the_known_costs_at_the_papers_sizes() -> None:
    found = kept()
    for name, costs in KNOWN.items():
        counted = [cost_of(found, name, size) for size in SIZES[:4]]
        assert [one.flops / 1e9 for one in counted if one and one.flops] == pytest.approx(costs, rel=0.02)
    detectors = [cost_of(found, name, (128, 128)) for name in DETECTORS]
    assert [one.flops / 1e9 for one in detectors if one and one.flops] == pytest.approx((2.39, 3.60), rel=0.02)


@pytest.mark.perf
def test_reading_a_record_takes_less_than_a_millisecond(tmp_path: Path) -> None:
    for name in cost_models():
        for size in SIZES:
            keep(tmp_path, record(name, size))
    start = time.process_time()
    count = len(read_costs(tmp_path))
    assert (time.process_time() - start) / count < 1e-3

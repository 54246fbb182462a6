"""The exhibit of costs: ours beside the printed, what is shown of each record and what is not."""

import csv
import io
import re

import pytest

from bench.files import write_json
from bench.measure.cost_records import FITTED_SIZE, CostRecord, Latency, cost_path, options_of
from bench.report.build import build_reports
from bench.report.exhibits.cost_printed import printed_facts
from bench.report.exhibits.costs import build_exhibit

QUIET = {"waited": 0.0, "load": 1.0}
BUSY = {"waited": 0.5, "load": 7.0}
FITTED = {"detr-r50-detector": 86, "detr-r101-detector": 152, "mask2former-r50": 226, "mask2former-r101": 293}


def latency(median=0.2, **machine):
    return Latency(
        median_s=median,
        low_s=0.9 * median,
        high_s=1.1 * median,
        repeats=9,
        threads=1,
        device="cpu",
        processor="Some <Processor>",
        cores=2,
        **(QUIET | machine),
    )


@pytest.fixture
def add(tmp_path):
    """Writes a fabricated cost record; every number is test data."""

    def write(model, size=(128, 128), flops=10e9, **changes):
        values = {
            "model": model,
            "options": options_of(model),
            "task": "panoptic",
            "classes": 133,
            "size": size,
            "parameters": 31_000_000,
            "flops": flops,
            "uncounted": {"aten::gelu": 3},
            "weights_bytes": 100 * 2**20,
            "peak_memory_bytes": 150 * 2**20,
            "latency": latency(),
            "versions": {},
            "git_commit": None,
        }
        record = CostRecord.model_validate(values | changes)
        path = cost_path(tmp_path / "results", model, record.size)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, record.model_dump(mode="json"))
        return record

    return write


@pytest.fixture
def exhibit(tmp_path):
    return lambda: build_exhibit([], tmp_path / "results")


@pytest.fixture
def build(fake, tmp_path):
    return lambda: {p.name: p.read_bytes() for p in build_reports(fake.store, [], {}, tmp_path / "reports")}


def numbers(exhibit, title, label):
    """'group: metric' -> the number printed there, of one row."""
    (table,) = [section.table for section in exhibit.sections if section.table.title == title]
    (row,) = [row for row in table.rows if row.label == label]
    pairs = zip(table.columns, row.cells, strict=True)
    return {f"{c.group}: {c.metric}": cell.paper if c.printed else cell.value for c, cell in pairs}


def test_a_table_a_size_sets_every_cost_beside_the_printed(add, exhibit):
    add("unet", flops=12e9)
    assert numbers(exhibit(), "At 128x128", "U-Net") == pytest.approx(
        {
            "counted: FLOPs": 12,
            "counted: Params": 31,
            "printed in Table 4: FLOPs": 4,
            "printed in Table 4: FLOPs over counted": 1 / 3,
            "printed in Table 4: Params": 32,
            "memory: peak": 150,
            "memory: of it weights": 100,
            "latency: median": 200,
            "latency: lower quartile": 180,
            "latency: upper quartile": 220,
        }
    )


def test_a_detector_stands_beside_the_numbers_of_its_detr_and_others_beside_none(add, exhibit):
    add("detr-r50-detector", flops=43e9)
    add("unet-small")
    found = numbers(exhibit(), "At 128x128", "DETR-R50 (detector)")
    assert found["printed in Table 4: FLOPs"] == 86
    assert found["printed in Table 4: FLOPs over counted"] == pytest.approx(2)
    small = numbers(exhibit(), "At 128x128", "U-Net (small)")
    assert [value for name, value in small.items() if "printed" in name] == [None] * 3


def test_flops_over_the_sizes_have_a_column_each(add, exhibit):
    for size, flops in (((128, 128), 16e9), ((32, 32), 1e9), ((96, 96), 9e9)):
        add("unet", size, flops)
    found = numbers(exhibit(), "FLOPs over the size of the input", "U-Net")
    assert found == {"printed in Table 4: FLOPs": 4, "128x128: FLOPs": 16, "32x32: FLOPs": 1, "96x96: FLOPs": 9}


def test_a_latency_of_a_busy_machine_is_not_shown(add, exhibit):
    add("unet", latency=latency(**BUSY))
    add("unet-small")
    shown = exhibit()
    assert numbers(shown, "At 128x128", "U-Net")["latency: median"] is None
    assert numbers(shown, "At 128x128", "U-Net (small)")["latency: median"] == pytest.approx(200)
    notes = " ".join(shown.sections[1].table.notes)
    assert "1 of 2 latencies were taken while other programs ran and are not shown" in notes
    assert "Latency on Some <Processor>, threads: 1, 9 to 9 passes of batch 1." in notes


def test_a_machine_is_announced_only_where_a_latency_is_shown(add, exhibit):
    add("unet", latency=latency(**BUSY))
    add("unet-small", latency=None)
    assert exhibit().sections[1].table.label == "random weights"
    add("unet-small")
    assert exhibit().sections[1].table.label == "random weights; latency of the machine named below"


def test_what_is_missing_says_why(add, exhibit):
    why = "refused: takes other sizes"
    add("unet", (64, 64), None, parameters=None, peak_memory_bytes=None, weights_bytes=None, latency=None, reason=why)
    add("unet-small", (64, 64))
    shown = exhibit()
    found = numbers(shown, "At 64x64", "U-Net")
    assert {value for name, value in found.items() if not re.search("Table 4: (FLOPs|Params)$", name)} == {None}
    assert "U-Net: refused: takes other sizes." in shown.sections[1].table.notes
    assert re.fullmatch(r"118 of 120 costs are not measured yet: .*cost --all", shown.notes[0])


def test_damaged_and_outdated_records_are_left_out_and_named(add, exhibit, tmp_path):
    add("unet")
    add("unet-small", options={**options_of("unet-small"), "width": 7})
    add("detr-small")
    cost_path(tmp_path / "results", "detr-small", (128, 128)).write_text("{")
    shown = exhibit()
    assert [row.model for row in shown.sections[0].table.rows] == ["unet"]
    notes = " ".join(shown.notes)
    assert "unet-small-128x128.json is of other default options" in notes
    assert "results/costs/detr-small-128x128.json is not readable JSON" in notes
    assert "remove it and run python -m bench cost --all" in notes
    assert str(tmp_path) not in notes


def test_each_printed_number_goes_to_the_nearest_count(add, exhibit):
    """Nearest as a factor: 3.2 G is nearer to 4 G than 4.9 G is not (1.25 against 1.225)."""
    records = [add("unet", (64, 64), 3.2e9), add("unet", (128, 128), 4.9e9), add("unet-resnet50", (64, 64), 4.1e9)]
    flops, parameters = printed_facts(records)
    assert flops.lines == (
        ("U-Net: 4 G", "U-Net", "4.90 G", "128x128", "0.82", "no"),
        ("U-Net: 4 G", "U-Net (ResNet-50)", "4.10 G", "64x64", "0.98", "yes"),
    )
    assert parameters.lines[0] == ("U-Net: 32 M", "U-Net", "31.00 M", "any size", "1.03", "no")


def test_one_input_for_four_printed_numbers_is_stated_with_the_furthest(add, exhibit):
    for model, printed in FITTED.items():
        add(model, FITTED_SIZE, printed * 1e9 / (1.02 if model == "mask2former-r50" else 1.0))
    (note,) = exhibit().sections[0].table.notes
    assert "are met, all within 2.0 %" in note
    add("mask2former-r50", FITTED_SIZE, 226e9 / 1.0052)
    (note,) = exhibit().sections[0].table.notes
    assert "all within 0.6 %" in note  # 0.52 %: 'within' is rounded up
    add("mask2former-r50", FITTED_SIZE, 200e9)
    (note,) = exhibit().sections[0].table.notes
    assert "are not all met: the furthest is 13.0 % off" in note


def test_the_order_at_the_papers_size_is_counted_and_printed(add, exhibit):
    costs = {"unet": 12, "detr-r50": 8, "detr-r101": 9, "mask2former-r50": 5.6, "mask2former-r101": 7}
    for model, flops in {**costs, "maskattn-unet": 50}.items():
        add(model, flops=flops * 1e9)
    (note,) = exhibit().sections[0].table.notes
    counted, printed = note.split(" As printed (G): ")
    assert counted.startswith("From the cheapest, at 128x128 (G): Mask2Former-R50 5.60, Mask2Former-R101 7.00, DETR")
    assert printed.startswith("U-Net 4, MaskAttn-UNet 11, DETR-R50")


def test_the_chart_puts_each_printed_number_at_its_nearest_size(add, exhibit):
    add("unet", (64, 64), 3e9)
    add("unet", (128, 128), 12e9)
    (chart,) = exhibit().figures
    ours, printed = chart.rows[0][0].lines
    assert ours.points == ((64 * 64, 3), (128 * 128, 12))
    assert (printed.printed, printed.points) == (True, ((64 * 64, 4),))


def test_without_a_record_it_says_what_to_run(exhibit, build):
    assert exhibit().sections == ()
    files = build()
    assert b"Nothing is measured yet: run `python -m bench cost --all`" in files["costs.md"]
    assert not [name for name in files if name.startswith("costs-")]
    assert b"Nothing is measured yet" in files["costs.html"]


def test_the_files_are_equal_from_equal_records_escaped_and_linked(add, build, tmp_path):
    add("unet")
    add("unet-small", flops=None, latency=None, reason="why <b> | not")
    files = build()
    assert files == build()
    assert {"costs.md", "costs.csv", "costs.tex", "costs-flops.svg"} <= set(files)
    page, text = files["costs.html"].decode(), files["costs.md"].decode()
    assert "why &lt;b&gt; | not" in page
    assert "Some &lt;Processor&gt;" in page
    assert "why \\<b\\> \\| not" in text
    links = re.findall(r"\]\((\.\./results/costs/[^)]+)\)", text)
    assert len(links) > 8
    assert all((tmp_path / "reports" / link).is_file() for link in links)
    rows = list(csv.DictReader(io.StringIO(files["costs.csv"].decode())))
    (peak,) = [row for row in rows if (row["model"], row["metric"]) == ("unet", "peak")]
    assert (peak["mean"], peak["unit"], peak["size"]) == ("150", "MiB", "128x128")

"""The oracles' exhibit: what shares a row, what stands beside Table 8, what the figure holds."""

import csv
import io
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from PIL import Image

from bench.files import write_json
from bench.record import Vanished
from bench.report.build import build_reports, exhibit_of, read_records
from bench.report.drawing.figures import Chart, Line, Panel
from bench.report.tables.table import part_text
from bench.spec import Budget, Suite

FILE = Path(__file__).parents[2] / "bench" / "suites" / "oracle.yaml"
MODELS = ("oracle-nearest", "oracle-bilinear", "oracle-stride4")
SIZES = ((128, 128), (64, 64), (48, 64), (32, 32))
TRUTH = "5a" * 32


@pytest.fixture(scope="session")
def oracles():
    return Suite.model_validate(yaml.safe_load(FILE.read_text()))


@pytest.fixture
def write(fake):
    """A finished run of an oracle."""

    def one(model="oracle-nearest", miou=0.9, pq=0.8, ap=0.7, things=(200, 30), truth=TRUTH, **of_spec):
        given = {"profile": "full", "dataset": "coco", "protocol": "native", "size": (64, 64), **of_spec}
        val_hash = f"{given['size'][0]:02x}{given['size'][1]:02x}" * 16  # a prepared split differs with its size
        record = fake.done(model, miou, pq, ap, flops=None, params=0, untrained=None, **{"val_hash": val_hash, **given})
        lost = {
            name: {"total": total, "vanished": gone} for name, (total, gone) in (("things", things), ("stuff", (9, 1)))
        }
        vanished = Vanished.model_validate({"truth_hash": truth, **lost, "instances": lost["things"]})
        metrics = record.metrics.model_copy(update={"vanished": vanished})
        write_json(record.folder / "metrics.json", metrics.model_dump(mode="json"))
        fake.store.finish(record.status)
        return record

    return one


@pytest.fixture
def fill(write):
    def all_of(dataset="coco", **of_spec):
        for n, model in enumerate(MODELS):
            for m, size in enumerate(SIZES):
                score = 0.9 - 0.1 * n - 0.15 * m
                scores = score, score - 0.05, max(0, score - 0.3)
                write(model, *scores, (200, 10 * (m + 1)), size=size, dataset=dataset, **of_spec)

    return all_of


def shown(fake, oracles, missing=None):
    return exhibit_of(oracles, read_records(fake.store)[0], missing or {})


def texts(table, row):
    (found,) = [one for one in table.rows if one.label == row]
    return [part_text(cell, column, "ours") for cell, column in zip(found.cells, table.columns, strict=True)]


def build(fake, suites, out, missing=None):
    return {path.name: path.read_bytes() for path in build_reports(fake.store, suites, missing or {}, out)}


def test_rows_are_datasets_and_oracles_columns_sizes_and_scores(fake, fill, oracles):
    fill("ade20k", images=2000)
    fill("cityscapes")
    (section,) = shown(fake, oracles).sections
    assert [row.label for row in section.table.rows] == [
        f"{dataset}: {way} oracle"
        for dataset in ("ADE20K, 2000 images", "Cityscapes, 500 images")
        for way in ("nearest", "bilinear", "stride-4")
    ]
    heads = [(column.group, column.title) for column in section.table.columns]
    metrics = ("mIoU (%)", "PQ (%)", "AP (%)", "things vanished (%)")
    assert heads == [(size, title) for size in ("128x128", "64x64", "48x64", "32x32") for title in metrics]
    line = texts(section.table, "ADE20K, 2000 images: bilinear oracle")
    assert line[:8] == ["80.0", "75.0", "50.0", "5.0", "65.0", "60.0", "35.0", "10.0"]
    assert not section.table.beside
    assert all(cell.mark is None for row in section.table.rows for cell in row.cells)


def test_table_8_stands_beside_a_whole_coco_alone_and_is_read_as_width_x_height(fake, fill, oracles):
    fill("coco")
    fill("ade20k")
    (section,) = shown(fake, oracles).sections
    rows = [row.label for row in section.table.rows]
    assert rows[3:6] == [f"Table 8: {name}" for name in ("Mask2Former-R50", "Mask2Former-R101", "MaskAttn-UNet(Ours)")]
    assert len(rows) == 9
    line = texts(section.table, "Table 8: MaskAttn-UNet(Ours)")
    assert [line[n] for n in (0, 4, 8, 12)] == ["-", "41.3", "17.1", "2.2"]
    assert {line[n] for n in range(16) if n % 4} == {"-"}
    assert any("taken to be COCO" in note for note in section.table.notes)
    first, second = section.figures[0].rows
    (hollow,) = [one for one in first[0].lines if one.label == "Table 8: MaskAttn-UNet(Ours)"]
    assert hollow.points == ((1024.0, 2.2), (3072.0, 17.1), (4096.0, 41.3))
    assert hollow.printed
    assert [sum(line.printed for line in panel.lines) for panel in (*first, *second)] == [3, 0, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    "of_spec",
    [
        {"profile": "quick"},
        {"budget": Budget(val_images=5000)},
        {"images": 4999},
        {"dataset": "scenes", "images": 5000},
    ],
)
def test_what_is_not_the_whole_of_coco_stands_apart_and_says_so(fake, fill, oracles, of_spec):
    fill(**{"dataset": "coco", **of_spec})
    exhibit = shown(fake, oracles)
    (section,) = exhibit.sections
    assert len(section.table.rows) == 3
    assert not any(line.printed for panel in section.figures[0].rows[0] for line in panel.lines)
    assert exhibit.printed is not None
    if of_spec.get("dataset") != "scenes" and "profile" not in of_spec:
        assert any("not the whole split" in note for note in section.table.notes)
    if "profile" in of_spec:
        assert "not a reproduction" in section.figures[0].title
        assert "not a reproduction" in section.table.label


def test_two_truths_never_share_a_row(fake, write, oracles):
    write(size=(64, 64))
    write(size=(32, 32))
    write(size=(32, 32), truth="77" * 32, val_hash="12" * 32, miou=0.1)
    (section,) = shown(fake, oracles).sections
    labels = [row.label for row in section.table.rows if row.kind == "oracle"]
    assert labels == [
        "COCO, truth 5a5a5a5a, 5000 images: nearest oracle",
        "COCO, truth 77777777, 5000 images: nearest oracle",
    ]
    lines = [texts(section.table, label) for label in labels]
    assert [line[4] for line in lines] == ["90.0", "-"]
    assert [line[12] for line in lines] == ["90.0", "10.0"]


def test_profiles_have_sections_of_their_own(fake, write, oracles):
    write(profile="full")
    write(profile="quick")
    titles = [section.table.title for section in shown(fake, oracles).sections]
    assert titles == ["Profile full", "Profile quick"]


def test_what_lacks_is_said_once_or_with_its_sizes(fake, fill, write, oracles, lack):
    for size in SIZES:
        write("oracle-nearest", size=size, dataset="ade20k")
        write("oracle-bilinear", size=size, dataset="ade20k")
    write("oracle-stride4", size=(64, 64), dataset="ade20k")
    (section,) = shown(fake, oracles, {"coco": lack("no coco", "get it")}).sections
    found = {(gap.dataset, gap.models, gap.reason) for gap in section.gaps}
    ways = ("nearest oracle", "bilinear oracle", "stride-4 oracle")
    assert found == {
        ("coco", ways, "missing dataset: no coco"),
        ("cityscapes", ways, "not run"),
        ("ade20k at 128x128, 48x64, 32x32", ("stride-4 oracle",), "not run"),
    }


def test_without_a_run_table_8_and_what_is_missing_still_stand(fake, oracles, lack):
    exhibit = shown(fake, oracles, {"coco": lack("no coco", "get it")})
    assert exhibit.sections == ()
    assert exhibit.gaps
    assert texts_of_printed(exhibit.printed) == [
        ["31.4", "8.7", "1.3"],
        ["33.5", "11.2", "1.9"],
        ["41.3", "17.1", "2.2"],
    ]
    assert [column.group for column in exhibit.printed.columns] == ["64x64", "48x64", "32x32"]


def texts_of_printed(table):
    return [
        [part_text(c, column, "paper") for c, column in zip(r.cells, table.columns, strict=True)] for r in table.rows
    ]


def test_oracles_are_no_guests_in_a_table_of_networks_and_networks_none_here(fake, fill, suite, oracles):
    fill("coco")
    fake.done("unet", dataset="coco", profile="full")
    assert [
        row.model
        for section in exhibit_of(suite, read_records(fake.store)[0], {}).sections
        for row in section.table.rows
        if row.kind == "guest"
    ] == []
    assert len(exhibit_of(suite, read_records(fake.store)[0], {}).sections) == 1
    (section,) = shown(fake, oracles).sections
    assert "unet" not in {row.model for row in section.table.rows}


def test_every_file_is_written_and_two_builds_are_byte_equal(fake, fill, oracles, suite, tmp_path):
    fill("coco")
    files = build(fake, [suite, oracles], tmp_path / "a")
    stem = "oracle-full-native-v1"
    assert {"oracle.md", "oracle.csv", "oracle.tex", f"{stem}.svg", f"{stem}.png", f"{stem}.pdf"} < set(files)
    assert files == build(fake, [suite, oracles], tmp_path / "b")
    assert f"]({stem}.svg)" in files["oracle.md"].decode()
    assert f"{{{stem}.pdf}}" in files["oracle.tex"].decode()
    assert "Needs \\usepackage{booktabs,graphicx}" in files["oracle.tex"].decode()
    assert "not a strict bound" in files["oracle.md"].decode()
    links = re.findall(r"\]\((\.\./results/[^)]+)\)", files["oracle.md"].decode())
    assert len(links) == 3 * 4 * 4 + 12
    assert all((tmp_path / "a" / link).is_file() for link in links)


def test_the_page_shows_the_figure_beside_it(fake, fill, oracles, tmp_path):
    fill("coco")
    page = build(fake, [oracles], tmp_path / "reports")["oracle.html"].decode()
    (source,) = re.findall(r'<img class="chart" src="([^"]+)" alt="Scores of the resize oracles[^"]*">', page)
    assert (tmp_path / "reports" / source).read_bytes().startswith(b"<?xml")
    assert "not a strict bound" in page
    assert "Dataset and oracle" in page


def test_csv_holds_dataset_size_and_the_vanished(fake, fill, oracles, tmp_path):
    fill("coco")
    rows = list(csv.DictReader(io.StringIO(build(fake, [oracles], tmp_path)["oracle.csv"].decode())))
    by_key = {(row["model"], row["size"], row["metric"]): row for row in rows if row["kind"] == "oracle"}
    row = by_key["oracle-stride4", "48x64", "things vanished"]
    assert (row["dataset"], row["split"], row["mean"], row["notes"]) == (
        "coco",
        TRUTH[:8],
        "15",
        "30 of 200 things; 30 of 200 instances",
    )
    assert (row["profile"], row["protocol"], row["unit"]) == ("full", "native, version 1", "%")
    papers = [row for row in rows if row["kind"] == "paper" and row["table"] == "oracle/full-native-v1"]
    assert sorted(float(row["paper"]) for row in papers if row["paper"])[-1] == 41.3
    assert {row["mean"] for row in papers} == {""}


def chart(**changes):
    lines = (Line("a", ((1024.0, 10.0), (4096.0, 20.0))), Line("b", ((1024.0, 30.0),), printed=True))
    panels = (Panel("COCO", "mIoU (%)", lines, 100.0), Panel("COCO", "vanished (%)", lines[:1]))
    values = {"name": "n", "alt": "a", "title": "", "x_label": "height x width (pixels)", "rows": (panels,)}
    return Chart(**{**values, "ticks": ((1024.0, "32x32"), (4096.0, "64x64")), **changes})


def test_a_drawing_is_what_its_format_says_and_holds_no_date(monkeypatch, tmp_path):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    early = chart().draw()
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    drawn = chart().draw()
    assert drawn == early
    assert list(drawn) == ["svg", "png", "pdf"]
    assert ElementTree.fromstring(drawn["svg"]).tag.endswith("}svg")
    picture = Image.open(io.BytesIO(drawn["png"]))
    assert picture.size[0] == 1400
    assert picture.text == {}
    assert drawn["pdf"].startswith(b"%PDF")
    assert b"CreationDate" not in drawn["pdf"]
    assert chart(title="other").draw() != drawn


def test_a_persons_own_matplotlib_settings_change_nothing(tmp_path):
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 9\nfont.size: 30\nsvg.fonttype: none\n")
    code = (
        "import hashlib, sys; from bench.report.drawing.figures import *\n"
        "panel = Panel('t', 'y', (Line('a', ((1.0, 2.0), (4.0, 3.0))),))\n"
        "drawn = Chart('n', 'a', '', 'x', ((1.0, '1'), (4.0, '4')), ((panel,),)).draw()\n"
        "print([hashlib.sha256(drawn[kind]).hexdigest() for kind in sorted(drawn)], 'torch' in sys.modules)"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True).stdout
        for folder in (tmp_path, Path(__file__).parents[2])
    ]
    assert runs[0] == runs[1]
    assert runs[0].endswith("False\n")


def test_matplotlib_is_imported_only_to_draw():
    code = "import sys, bench.report.build; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0

"""The files of a report: whole, linked, readable by their own programs, equal from equal records."""

import csv
import io
import re
import subprocess
import sys
import time
from html.parser import HTMLParser

import pytest

from bench.errors import UserError
from bench.report.build import build_reports, read_records
from bench.report.exhibits.comparison import build_exhibit

pytestmark = pytest.mark.usefixtures("undrawn")
VOID = {"meta", "link", "br", "img", "input", "hr"}
TEXTS = {".md", ".csv", ".tex", ".html", ".svg", ".css", ".js", ".txt"}


class Page(HTMLParser):
    """Links, ids and text; fails on tags that do not nest."""

    def __init__(self, content):
        super().__init__()
        self.links, self.ids, self.open, self.text = [], set(), [], []
        self.feed(content)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.links += [found[name] for name in ("href", "src") if name in found]
        self.ids |= {found["id"]} if "id" in found else set()
        self.open += [] if tag in VOID else [tag]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def build(fake, suite, tmp_path):
    def run(missing=None, out=tmp_path / "reports"):
        paths = build_reports(fake.store, [suite], missing or {}, out)
        return {path.relative_to(out).as_posix(): path.read_text() for path in paths if path.suffix in TEXTS}

    return run


@pytest.fixture
def filled(fake):
    """Smoke on the embedded scenes, a full COCO, a failure."""
    fake.fill("scenes", "smoke")
    fake.fill("coco", "full", (0, 1))
    fake.ended("unet", "failed", "50% of a_b & <c> | {d} ~ ^ # $ \\ lost", dataset="coco")
    return fake


def rows_of(files):
    return list(csv.DictReader(io.StringIO(files["table4.csv"])))


def test_it_writes_three_files_an_exhibit_the_audit_and_the_pages(filled, build):
    names = ("table4", "costs", "protocols")
    exhibits = [f"{name}.{kind}" for name in names for kind in ("md", "csv", "tex", "html")]
    runs = [f"runs/{name}.html" for name in filled.store.run_ids()]
    shared = ["audit.md", "audit.html", "site.css", "site.js", "index.html", "runs.html", "files.txt"]
    assert sorted(name for name in build() if not name.endswith(".svg")) == sorted([*exhibits, *runs, *shared])


def test_two_builds_are_byte_equal(filled, build):
    assert build() == build()


def test_an_empty_store_still_gives_the_papers_table_and_what_is_missing(build, lack):
    files = build({"coco": lack("no folder coco/", "bench data get coco")})
    assert "no folder coco/" in files["table4.html"]
    assert "45.3" in files["table4.md"]
    assert len(rows_of(files)) == 66


def test_every_number_of_one_run_links_to_its_file_in_markdown(filled, build, tmp_path):
    content = build()["table4.md"]
    links = re.findall(r"\]\((\.\./results/[^)]+)\)", content)
    assert len(links) > 50
    assert all((tmp_path / "reports" / link).is_file() for link in links)
    assert "33.8 ± " not in content
    assert "34.1 ± 0.4" in content  # mean of 33.8 and 34.3


def test_markdown_rows_have_as_many_cells_as_their_heads(filled, build):
    width = None
    for line in build()["table4.md"].splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line))
        if not line.startswith("|"):
            width = None
            continue
        width = width or cells
        assert cells == width, line


def test_the_smoke_section_holds_no_number_of_the_paper(filled, build):
    smoke = [row for row in rows_of(build()) if row["profile"] == "smoke"]
    assert smoke
    assert all(row["paper"] == row["difference"] == row["paper_mark"] == "" for row in smoke)
    assert {row["reproduction_column"] for row in smoke} == {"no"}


def test_csv_reads_back_what_the_table_holds(filled, suite, build):
    rows = {(r["table"], r["kind"], r["model"], r["dataset"], r["metric"]): r for r in rows_of(build())}
    row = rows["table4/full-128x128-standard-v1", "network", "unet", "coco", "mIoU"]
    assert float(row["mean"]) == pytest.approx(34.05)
    assert float(row["sd"]) == pytest.approx(0.5 / 2**0.5)
    assert (row["n"], row["paper"], row["unit"], row["size"]) == ("2", "33.8", "%", "128x128")
    assert float(row["difference"]) == pytest.approx(0.25)
    assert row["split"] == "abababab"
    assert all((filled.store.folder(run) / "metrics.json").is_file() for run in row["runs"].split())
    tables = [section.table for section in build_exhibit(suite, read_records(filled.store)[0], {}).sections]
    assert len(rows_of(build())) == 66 + sum(len(t.rows) * len(t.columns) for t in tables)


def test_latex_is_balanced_and_its_rows_are_even(filled, build):
    content = build()["table4.tex"]
    assert content.count("\\begin{tabular}") == content.count("\\end{tabular}") == 4
    code = re.sub(r"(?<!\\)%.*", "", content)
    assert code.count("{") - code.count("\\{") == code.count("}") - code.count("\\}")
    assert re.sub(r"\\\$", "", code).count("$") % 2 == 0
    assert not re.search(r"(?<!\\)[_#^~](?!\$)", code.replace("~$", ""))
    for body in re.findall(r"\\begin\{tabular\}\{(l r*|lr*)\}(.*?)\\end", code, re.S):
        width = len(body[0])
        for line in body[1].splitlines():
            if line.endswith("\\\\"):
                spans = sum(int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", line))
                assert len(re.findall(r"(?<!\\)&", line)) + 1 + spans == width, line


def test_latex_says_under_each_table_what_its_numbers_are(filled, build):
    content = build()["table4.tex"]
    under = re.findall(r"\\end\{tabular\}\n\\par\\noindent\{\\footnotesize (.*)\\par\}", content)
    assert len(under) == content.count("\\end{tabular}")
    assert any("smoke: " in line and "not a reproduction" in line for line in under)
    assert under[-1].startswith("The paper's Table 4, as printed: the paper's numbers: one value each")


def test_latex_marks_and_escapes(filled, build):
    content = build()["table4.tex"]
    assert "\\textbf{45.3}" in content
    assert "\\underline{39.2}" in content
    assert "mIoU (\\%)" in content
    assert "34.1 $\\pm$ 0.4" in content


def test_a_damaged_record_is_named_and_left_out(filled, build, tmp_path):
    broken = filled.done("detr-r50", 0.99, seed=5).run_id
    (filled.store.folder(broken) / "metrics.json").write_text('{"final": ')
    files = build()
    for name in ("table4.md", "index.html", "table4.html", "runs.html"):
        assert "metrics.json is not readable JSON" in files[name]
        assert str(tmp_path) not in files[name]
    assert broken not in files["table4.csv"]
    assert "99.0" not in files["table4.csv"]


def test_two_suites_of_one_name_are_refused(fake, suite, tmp_path):
    with pytest.raises(UserError, match="two suites are named 'table4'"):
        build_reports(fake.store, [suite, suite], {}, tmp_path / "reports")


def test_importing_needs_no_torch_and_no_pandas():
    code = "import sys, bench.report.build; print(sorted({'torch', 'pandas', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.perf
def test_two_hundred_records_cost_little_more_than_reading_them(fake, build):
    """In processor time, beyond what a report of no record takes."""
    build()  # what is read and compiled once
    start = time.process_time()
    build()
    nothing = time.process_time() - start
    for seed in range(4):
        for dataset in ("scenes", "coco", "ade20k", "cityscapes"):
            for profile in ("smoke", "full"):
                given = {"dataset": dataset, "profile": profile}
                for model in ("unet", "detr-r50", "detr-r101", "mask2former-r50", "mask2former-r101", "maskattn-unet"):
                    fake.done(model, seed=seed, **given)
    for seed in range(4, 6):
        for model in ("unet", "maskattn-unet"):
            for dataset in ("scenes", "coco"):
                fake.done(model, seed=seed, dataset=dataset, profile="full")
    start = time.process_time()
    records, _ = read_records(fake.store)
    middle = time.process_time()
    build()
    ratio = (time.process_time() - middle - nothing) / (middle - start)
    assert len(records) == 200
    assert ratio < 10, f"reading took {middle - start:.2f} s, the whole report {ratio:.1f} times that"

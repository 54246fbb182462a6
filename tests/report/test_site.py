"""The pages of a report: linked, whole, escaped, equal from equal records; and what each says."""

from __future__ import annotations

import json
import re
from urllib.parse import unquote

import pytest

from bench.audit.audit import run_audit
from bench.errors import UserError
from bench.named import known_suites
from bench.record import Epoch
from bench.report.build import build_reports, exhibit_of, one_exhibit, read_records
from bench.report.render.latex import render_latex
from bench.report.render.markdown import render_markdown
from bench.report.site import site
from bench.report.site.curve import HEIGHT, WIDTH, curves
from bench.report.site.links import Links
from bench.report.site.overview import answers, card, overview
from bench.report.site.rerun import cost_of, repeat
from bench.report.written import write_report
from bench.spec import Suite, Tuning
from bench.store import with_history
from tests.report.test_build import TEXTS, Page

EVIL = "<script>alert(1)<!--"  # a slash could not stand in the name of a folder
pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def build(fake, suite, tmp_path):
    def run(*suites, missing=None):
        out = tmp_path / "reports"
        paths = build_reports(fake.store, suites or [suite], missing or {}, out)
        return {path.relative_to(out).as_posix(): path.read_text() for path in paths if path.suffix in TEXTS}

    return run


@pytest.fixture
def filled(fake):
    """Smoke on the embedded scenes, a full COCO of two seeds, a failure."""
    fake.fill("scenes", "smoke", losses=(3.0, 2.0, 1.5))
    fake.fill("coco", "full", (0, 1))
    fake.ended("unet", "failed", "50% of a_b & <c> | {d} ~ ^ # $ \\ lost", dataset="coco")
    return fake


def pages_of(files):
    return {name: Page(text) for name, text in files.items() if name.endswith(".html")}


def test_every_link_of_every_page_leads_somewhere(filled, build, tmp_path):
    files = build()
    pages = pages_of(files)
    assert sum(len(page.links) for page in pages.values()) > 500
    for name, page in pages.items():
        folder = (tmp_path / "reports" / name).parent
        for link in page.links:
            path, _, anchor = link.partition("#")
            target = (folder / unquote(path)).resolve() if path else tmp_path / "reports" / name
            assert target.is_file(), (name, link)
            if anchor:
                there = pages[target.relative_to((tmp_path / "reports").resolve()).as_posix()] if path else page
                assert unquote(anchor) in there.ids, (name, link)


def test_the_pages_need_nothing_from_outside(filled, build):
    for name, text in build().items():
        if name.endswith((".html", ".css", ".js")):
            assert not re.search(r"https?:|@import|url\(|src=\"/|href=\"/", text), name


def test_two_builds_are_byte_equal_and_the_second_writes_nothing(filled, suite, tmp_path):
    def times():
        paths = build_reports(filled.store, [suite], {}, tmp_path / "reports")
        return {path: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) for path in paths}

    assert times() == times()


def test_each_number_of_a_run_leads_to_its_page_and_of_several_to_the_list(filled, build):
    text = build()["table4.html"]
    one = filled.done("unet", 0.4, seed=7, dataset="ade20k", profile="full").run_id
    assert f'href="runs/{one}.html"' not in text
    text = build()["table4.html"]
    assert re.search(rf'<a href="runs/{one}.html">40.0</a>', text)
    several = re.findall(r'<a href="#([^"]+)">34.1 ± 0.4</a>', text)
    assert several == [name for name in filled.store.run_ids() if name.startswith("unet-coco-128x128-full-s0")]


def test_a_run_page_tells_what_came_out_on_what_and_how_to_repeat_it(fake, build):
    attempt = {"device": "cpu", "git_commit": "ab" * 20 + "-dirty", "versions": {"torch": "9.9"}, "seconds_total": 12.0}
    run = fake.done("unet", 0.345, 0.25, 0.125, losses=(3.0, 2.0), attempt=attempt)
    write_classes(run)
    (run.folder / "samples").mkdir()
    (run.folder / "samples" / "0.png").write_bytes(b"\x89PNG")
    text = build()[f"runs/{run.run_id}.html"]
    page = Page(text)
    shown = " ".join(" ".join(page.text).split())
    assert "mIoU 34.5 - - 1.0" in shown  # trained, things, stuff, untrained
    assert "versions.torch 9.9" in shown
    assert "loss: 3.000 → 2.000" in shown
    assert "zebra thing 50.0 -" in shown
    assert "files of the program differed from the commit" in shown
    assert "--suite table4 --profile smoke --models unet --datasets scenes --seeds 0 --results repeated" in shown
    assert f"../../results/{run.run_id}/samples/0.png" in page.links
    assert f"../../results/{run.run_id}/attempts/1.json" in page.links
    assert "../table4.html" in page.links


def write_classes(run):
    """With a class of its own, and the hash that belongs to it."""
    path, status = run.folder / "metrics.json", run.folder / "status.json"
    one = {"id": 1, "name": "zebra", "isthing": True, "iou": 0.5, "pq": None, "sq": None, "rq": None, "ap": None}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"classes": [one]}))
    status.write_text(json.dumps(json.loads(status.read_text()) | {"files": None}))


def test_a_clean_tree_has_no_warning_and_a_failure_its_reason(fake, build):
    clean = fake.done("unet", attempt={"git_commit": "ab" * 20})
    lost = fake.ended("detr-r50", "failed", "no <memory>")
    files = build()
    assert "differed from the commit" not in files[f"runs/{clean.run_id}.html"]
    assert "failed</span>: no &lt;memory&gt;" in files[f"runs/{lost.run_id}.html"]
    assert "Scores" not in files[f"runs/{lost.run_id}.html"]


def test_pictures_that_are_not_ours_to_pass_on_are_on_no_page(fake, build):
    run = fake.done("unet", dataset="coco", profile="full")
    (run.folder / "samples").mkdir()
    (run.folder / "samples" / "0.png").write_bytes(b"\x89PNG")
    text = build()[f"runs/{run.run_id}.html"]
    assert "samples/0.png" not in text
    assert "hold images of COCO, which are not passed on" in text


def test_beyond_a_number_runs_have_no_page_and_the_list_says_so(filled, build, monkeypatch):
    monkeypatch.setattr(site, "MOST_PAGES", 5)
    text = build()
    runs = filled.store.run_ids()
    assert sum(name.startswith("runs/") for name in text) == 5
    listed = " ".join(Page(text["runs.html"]).text)
    assert f"{len(runs)} runs." in listed
    assert f"{len(runs) - 5} of them have no page of their own" in listed
    assert set(re.findall(r'id="([^"]+)"', text["runs.html"])) == set(runs)


@pytest.mark.parametrize("name", ["../a.md", "/a.md", "runs/../../a.md", ""])
def test_nothing_is_written_outside_the_reports_folder(tmp_path, name):
    with pytest.raises(UserError, match="which is not in its folder"):
        write_report(tmp_path / "reports", {"b.md": "b", name: "a"})
    assert not list(tmp_path.iterdir())


def test_a_page_of_a_run_that_is_gone_is_removed_and_nothing_else(filled, build, tmp_path):
    mine, theirs = tmp_path / "reports" / "runs" / "mine.html", tmp_path / "reports" / "mine.md"
    before = build()
    for path in (mine, theirs):
        path.write_text("mine")
    (tmp_path / "outside.txt").write_text("outside")
    with (tmp_path / "reports" / "files.txt").open("a") as file:  # as if a report had written these
        file.write("../outside.txt\n/etc/hostname\nruns\n\n")
    gone = filled.store.run_ids()[0]
    (filled.store.folder(gone) / "status.json").unlink()
    after = build()
    assert set(before) - set(after) == {f"runs/{gone}.html"}
    assert not (tmp_path / "reports" / f"runs/{gone}.html").exists()
    assert [path.exists() for path in (mine, theirs, tmp_path / "outside.txt")] == [True, True, True]


@pytest.mark.parametrize("name", ["index", "audit", "runs", "costs"])
def test_a_suite_may_not_take_a_pages_name(fake, suite, tmp_path, name):
    with pytest.raises(UserError, match=f"a suite is named '{name}', which the report has a page of its own for"):
        build_reports(fake.store, [suite.model_copy(update={"name": name})], {}, tmp_path / "reports")


def evil_suite(suite):
    return suite.model_copy(update={"models": (*suite.models, suite.models[0].model_copy(update={"name": EVIL}))})


@pytest.fixture
def evil(fake):
    """A network, a dataset, a reason, a device and a class that are HTML."""
    fake.done("unet", losses=(2.0, 1.0), attempt={"device": EVIL, "seconds_total": 3.0, EVIL: EVIL})
    run = fake.done("unet", seed=1)
    spec = run.spec.model_copy(update={"model": EVIL, "dataset": EVIL, "seed": 5})
    target = fake.store.root / spec.run_id
    run.folder.rename(target)
    (target / "spec.json").write_text(json.dumps(spec.model_dump(mode="json") | {"dataset": "coco"}))
    made = type(spec).model_validate_json((target / "spec.json").read_text())
    target.rename(fake.store.root / made.run_id)
    status = fake.store.root / made.run_id / "status.json"
    status.write_text(json.dumps(json.loads(status.read_text()) | {"run_id": made.run_id, "files": None}))
    fake.ended("detr-r50", "failed", EVIL)
    return made.run_id


def test_everything_from_data_is_escaped(evil, suite, build, lack, tmp_path):
    files = build(evil_suite(suite), missing={"coco": lack(EVIL, EVIL)})
    assert f"runs/{evil}.html" in files
    for name, page in pages_of(files).items():
        assert "<script>" not in files[name], name
        assert "<!--" not in files[name], name
        assert not any("<" in link for link in page.links), name
    assert files["table4.html"].count("&lt;script&gt;alert(1)&lt;!--") > 5
    assert "\\<script" in files["table4.md"]
    assert "<script" not in files["table4.md"].replace("\\<script", "")
    assert "&lt;script&gt;alert(1)" in files[f"runs/{evil}.html"]


def test_a_title_of_several_lines_stays_in_its_place(fake, suite):
    fake.done("unet")
    exhibit = exhibit_of(suite.model_copy(update={"title": "one\n\n# two <b>"}), read_records(fake.store)[0], {})
    assert render_markdown(exhibit, "../results", {}).startswith("# one # two \\<b\\>\n")
    section = exhibit.sections[0]
    table = type(section.table)(**{**vars(section.table), "title": "a\n\\input{b}"})
    changed = type(exhibit)(**{**vars(exhibit), "sections": (type(section)(**{**vars(section), "table": table}),)})
    assert not any(line.startswith("\\input{b}") for line in render_latex(changed).splitlines())


def test_a_lone_page_holds_all_it_needs(filled, suite, tmp_path):
    text = one_exhibit(filled.store, suite, {}, tmp_path / "reports", "html")
    page = Page(text)
    assert any(link.startswith("data:image/svg+xml;base64,") for link in page.links)
    assert all(link.startswith(("data:", "#")) for link in page.links)
    assert {link[1:] for link in page.links if link.startswith("#")} <= page.ids
    assert "prefers-color-scheme" in text
    assert "aria-sort" in text


@pytest.mark.parametrize("kind", ["md", "csv", "tex"])
def test_one_exhibit_alone_is_the_reports_file(filled, suite, build, tmp_path, kind):
    assert one_exhibit(filled.store, suite, {}, tmp_path / "reports", kind) == build()[f"table4.{kind}"]


def test_the_overview_counts_the_claims_as_the_audit_does(tmp_path):
    audit = run_audit(tmp_path)
    holds, fails, waits = answers(audit)
    assert holds.counts == ((54, "by the paper's own numbers"),)
    assert fails.counts[0] == (19, "by the paper's own numbers")
    assert sum(count for count, _ in waits.counts) == sum(
        sum(ruling.verdict in ("not run", "tie", "undefined") for ruling in claim.rulings) for claim in audit.claims
    )
    assert {finding.verdict for finding in fails.findings} <= {"fails", "impossible"}
    weights = list(audit.weights)
    order = [weights.index(finding.weight) for finding in fails.findings]
    assert order == sorted(order)


def test_the_overview_names_all_exhibits_of_the_paper(fake, suite, tmp_path):
    made = overview(run_audit(tmp_path), [exhibit_of(suite, [], {})])
    assert [one.number for one in made.papers] == [f"Table {n}" for n in range(1, 10)] + [
        f"Figure {n}" for n in range(1, 8)
    ]
    assert {one.state for one in made.papers} == {"no suite", "not run"}


def test_a_card_counts_the_planned_runs_of_the_best_profile(fake, suite):
    scenes = suite.model_copy(update={"datasets": ("scenes",)})

    def shown():
        return card(exhibit_of(scenes, read_records(fake.store)[0], {}))

    assert shown().state == "not run"
    fake.done("unet")
    fake.done("unet-small")  # a guest is not planned
    assert (shown().state, shown().count, shown().profile) == ("incomplete", "1 of 8 runs", "smoke")
    fake.fill("scenes", "smoke")
    assert (shown().state, shown().count) == ("complete", "8 of 8 runs")
    assert shown().warning == "not a reproduction"


def test_a_card_of_the_papers_own_data_carries_no_warning(fake, suite):
    fake.fill("coco", "full", (0, 1, 2))
    one = card(exhibit_of(suite.model_copy(update={"datasets": ("coco",)}), read_records(fake.store)[0], {}))
    assert (one.state, one.count, one.profile, one.warning) == ("complete", "20 of 20 runs", "full", "")
    fake.fill("scenes", "full", (0, 1, 2))
    scenes = [record for record in read_records(fake.store)[0] if record.spec.dataset == "scenes"]
    one = card(exhibit_of(suite.model_copy(update={"datasets": ("scenes",)}), scenes, {}))
    assert one.warning == "not beside the paper's numbers"


def test_the_cost_of_a_rerun_is_the_sum_by_machine(fake):
    runs = [
        fake.done("unet", seed=n, attempt={"device": device, "processor": "P", "threads": 2, "seconds_total": seconds})
        for n, (device, seconds) in enumerate((("cpu", 10.0), ("cpu", 30.5), ("G", 2.0)))
    ]
    runs.append(fake.done("unet", seed=9, attempt={"device": "cpu"}))
    facts = cost_of(runs)
    assert facts.lines == (("G", "2", "1", "2", "2"), ("cpu, P", "2", "2", "40", "30"))
    assert "1 runs do not say how long they took." in facts.notes
    assert cost_of(runs[-1:]) is None


def test_the_command_that_repeats_a_tuned_run_searches_first(fake):
    tuning = Tuning(factors=(0.3, 1.0), factor=1.0, metric="PQ", held_out=20, seed=0)
    spec = fake.done("unet").spec
    changed = spec.model_copy(update={"recipe": spec.recipe.model_copy(update={"tuning": tuning})})
    search, run = repeat(changed, "table4")
    assert search.startswith("python -m bench tune --suite table4 --profile smoke --models unet")
    assert search.endswith("--factors 0.3,1 --results repeated")
    assert run.endswith("--seeds 0 --tuned 0.3,1 --results repeated")


def test_a_curve_has_its_highest_at_the_top_and_ends_at_the_right(fake):
    run = with_history(fake.done("unet", losses=(4.0, 2.0, 1.0)))
    (line,) = curves(run.history).lines
    assert line.points == f"0.0,0.0 {WIDTH / 2:.1f},{HEIGHT / 2:.1f} {WIDTH:.1f},{HEIGHT * 3 / 4:.1f}"
    assert (line.first, line.last, line.top, line.bottom) == ("4.000", "1.000", "4.000", "0.000")
    assert curves(()) is None


def test_a_long_curve_is_thinned_and_keeps_its_last_epoch():
    history = [Epoch(epoch=n, step=n, loss=float(n), terms={"a": 1.0, "b": -1.0}) for n in range(1, 1001)]
    made = curves(history)
    assert (made.epochs, made.every) == (1000, 5)
    assert [line.name for line in made.lines] == ["loss", "a", "b"]
    assert all(len(line.points.split()) == 201 for line in made.lines)
    assert made.lines[0].last == "1000.000"
    assert (made.lines[2].top, made.lines[2].bottom) == ("-1.000", "-1.000")


def test_a_link_is_an_address_whatever_the_name():
    class Named:
        id, file = "a b#?%<", "a b#?%</metrics.json"

    assert Links("../r", frozenset({Named.id})).run(Named) == "runs/a%20b%23%3F%25%3C.html"
    assert Links("../r", frozenset()).run(Named) == "../r/a%20b%23%3F%25%3C/metrics.json"
    assert Links("../r", frozenset(), alone=True).run(Named) == ""


def test_the_suites_of_the_program_have_a_card_each(fake, tmp_path):
    suites: list[Suite] = known_suites()
    made = overview(run_audit(tmp_path), [exhibit_of(suite, [], {}) for suite in suites])
    assert "no suite" not in {one.state for one in made.papers}
    assert len(made.papers) + len(made.ours) == len(suites)

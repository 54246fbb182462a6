"""reports/audit.md and audit.html: whole, escaped, equal from equal records."""

import re
from html.parser import HTMLParser

import pytest

from bench.audit.audit import run_audit
from bench.audit.ruling import MEANING
from bench.report.audit import audit_pages, render_html, render_markdown
from bench.report.facts import Facts
from tests.report.test_build import Page

EVIL = "<script>alert(1)</script> | *x* & [a](b)"
FACTS = (Facts("Search", ("Question", "Answer"), (("any?", EVIL),), ("a note",)),)


@pytest.fixture(scope="module")
def audit(tmp_path_factory):
    return run_audit(tmp_path_factory.mktemp("empty"))


@pytest.fixture(scope="module")
def pages(audit, tmp_path_factory):
    return audit_pages(audit, tmp_path_factory.mktemp("empty"), "../results")


def test_every_claim_and_finding_has_its_place(pages):
    page = Page(pages["audit.html"])
    ids = {f"C{n:02}" for n in range(1, 94)} | {f"A{n:02}" for n in range(1, 46)}
    assert ids <= page.ids
    assert {name for name in ids if f"**{name}" in pages["audit.md"]} == ids


def test_links_lead_somewhere_and_out_of_the_report_none_does(pages):
    page = Page(pages["audit.html"])
    inside = {link[1:] for link in page.links if link.startswith("#")}
    assert inside <= page.ids
    outside = {link for link in page.links if not link.startswith("#")}
    assert outside == {"index.html", "audit.html", "runs.html", "site.css", "site.js"}


def test_the_pages_are_the_same_twice(pages, tmp_path):
    assert audit_pages(run_audit(tmp_path), tmp_path, "../results") == pages


def test_the_words_are_explained_and_counted(pages):
    for text in pages.values():
        assert all(meaning.partition(":")[0] in text.replace("&#39;", "'") for meaning in MEANING.values())
    assert re.search(r"\| arithmetic \| 54 \| 19 \| - \| - \| 20 \| - \|", pages["audit.md"])


def evil_audit(audit):
    claim = audit.claims[56]
    ruling = claim.rulings[0].model_copy(update={"evidence": EVIL, "next": EVIL, "runs": (EVIL,)})
    where = claim.operands[0].model_copy(update={"where": EVIL})
    claim = claim.model_copy(
        update={"says": EVIL, "note": EVIL, "rulings": (ruling,), "operands": (where,), "section": EVIL}
    )
    finding = audit.findings[0].model_copy(
        update={"title": EVIL, "found": EVIL, "leaves_out": EVIL, "statements": (claim,)}
    )
    return audit.model_copy(update={"claims": (claim,), "findings": (finding,), "weights": {finding.weight: EVIL},
                                    "title": EVIL, "damaged": {EVIL: EVIL}})  # fmt: skip


def test_everything_from_data_is_escaped_on_the_page(audit):
    page = render_html(evil_audit(audit), FACTS, "../results")
    assert "<script>" not in page
    assert page.count("&lt;script&gt;") >= 12
    Page(page)  # its tags nest


def test_everything_from_data_is_escaped_in_markdown(audit):
    text = render_markdown(evil_audit(audit), FACTS, "../results")
    code = re.findall(r"`[^`]*`", text)
    rest = re.sub(r"`[^`]*`", "", text)
    assert code
    assert {f"`{EVIL}`"} <= set(code) <= {f"`{EVIL}`", f"`{audit.findings[0].next}`"}
    assert rest.count("\\<script") >= 12
    assert "<script" not in rest.replace("\\<script", "").replace(f"results/{EVIL}/", "")


def test_differences_carry_a_unit(pages):
    """In what we write a difference of scores is in points: no '11.5 % higher'."""

    class Text(HTMLParser):
        found = ""

        def handle_data(self, data):
            self.found += data

    parser = Text()
    parser.feed(pages["audit.html"])
    assert "45.3 − 33.8 = 11.5 points" in parser.found
    assert not re.search(r"\d − \d[\d.]* = [\d.]+ %", parser.found.replace("100 × (", "(").replace("/", ""))
    assert not re.search(r"= -?[\d.]+ −", parser.found)


def test_a_runs_name_leads_to_its_record(audit):
    claim = audit.claims[0]
    ruling = claim.rulings[0].model_copy(update={"runs": ("unet-coco-1",)})
    changed = audit.model_copy(update={"claims": (claim.model_copy(update={"rulings": (ruling,)}),)})
    assert "../results/unet-coco-1/metrics.json" in Page(render_html(changed, FACTS, "../results")).links
    assert "[unet-coco-1](../results/unet-coco-1/metrics.json)" in render_markdown(changed, FACTS, "../results")

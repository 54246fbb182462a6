"""The arithmetic layer against what the auditors found by hand, and what a wrong number or a wrong entry does."""

import re
from dataclasses import replace

import pytest

from bench.audit import arithmetic
from bench.audit.audit import run_audit
from bench.audit.claims import read_book
from bench.audit.operands import COST
from bench.audit.ruling import AGAINST, MEANING, VERDICTS
from bench.cli import main
from bench.errors import UserError
from bench.measure.cost_records import SIZES
from bench.paper.numbers import content
from bench.spec import parse_size

EXPECTED = {True: "holds", False: "fails", None: "undefined"}


def verdicts(book):
    """Statement id -> verdict of the arithmetic layer, None where it does not apply."""
    statements = [*book.claims, *(one for finding in book.findings for one in finding.statements)]
    rulings = {one.id: arithmetic.judge(one, book.printed) for one in statements}
    return {name: ruling and ruling.verdict for name, ruling in rulings.items()}


def test_every_verdict_is_the_one_found_by_hand(book):
    found = verdicts(book)
    assert {claim.id: found[claim.id] for claim in book.claims} == {c.id: EXPECTED[c.holds] for c in book.claims}


def test_54_hold_19_fail_and_20_are_undefined(printed_audit):
    assert printed_audit.count("arithmetic") == {"holds": 54, "fails": 19, "undefined": 20}
    assert len(printed_audit.claims) == 93


def test_no_verdict_is_taken_from_what_was_found_by_hand(book):
    turned = [claim.model_copy(update={"holds": not claim.holds}) for claim in book.claims]
    assert verdicts(replace(book, claims=tuple(turned))) == verdicts(book)


def test_what_is_undefined_says_what_is_left_out(book):
    assert all(claim.leaves_out for claim in book.claims if claim.holds is None)


def test_numbers_computed_by_hand_stand_in_the_evidence(book):
    compared = 0
    for claim in book.claims:
        if claim.computed is not None:
            assert f"= {claim.computed:g} " in arithmetic.judge(claim, book.printed).evidence
            compared += 1
    assert compared == 13


def test_all_45_findings_are_there(book):
    assert [finding.id for finding in book.findings] == [f"A{n:02}" for n in range(1, 46)]


def test_the_findings_are_those_of_the_audits_text(book, shared_paper):
    text = (shared_paper / "AUDIT.md").read_text()
    headed = re.findall(r"^### (A\d\d)\b[^·\n]*(.*)$", text, re.MULTILINE)
    assert [name for name, _ in headed] == [finding.id for finding in book.findings]
    for finding, (_, rest) in zip(book.findings, headed, strict=True):
        named = set(re.findall(r"\bC\d\d\b", rest))
        spans = re.findall(r"C(\d\d)–C?(\d\d)", rest)
        named |= {f"C{n:02}" for low, high in spans for n in range(int(low), int(high) + 1)}
        assert named <= set(finding.claims), f"{finding.id} lacks {named - set(finding.claims)}"


@pytest.mark.parametrize(
    ("tag", "allowed"),
    [
        ("false", {"fails", "impossible", "not run"}),
        ("impossible", {"impossible", "fails", "undefined"}),  # the last two where a condition of ours is needed
        ("holds", {"holds"}),
        ("undefined", {"undefined", "fails"}),
    ],
)
def test_a_findings_verdict_fits_the_auditors_word(printed_audit, tag, allowed):
    tagged = [finding for finding in printed_audit.findings if finding.tag == tag]
    assert tagged
    assert {finding.verdict for finding in tagged} <= allowed


def test_no_finding_holds_that_the_auditors_held_against_the_paper(printed_audit):
    assert {f.id for f in printed_audit.findings if f.verdict == "holds"} == {"A06", "A14", "A15", "A39"}


@pytest.mark.parametrize(
    ("statement", "verdict", "evidence"),
    [
        ("A01.1", "holds", "45.3 − 33.8 = 11.5 points"),
        ("A09.1", "fails", "4 of 4 fail: 86 / 11 = 7.82"),
        ("A10.1", "fails", "899 / 900 = 0.9989, which is below 1"),
        ("A21.1", "impossible", "= 34.36 G"),
        ("A22.1", "undefined", "= 2.06 M, which is below 46 − 32 = 14 M"),
        ("A22.2", "undefined", "= 9.44 M"),
        ("A22.3", "undefined", "= 268.44 M"),
        ("A22.5", "holds", "= 13.57 M, which is within 0.5 of 14 M"),
        ("A27.1", "fails", "= 0.1185 %"),
        ("A27.2", "fails", "1 × (ln 16384) = 9.7"),
        ("A27.3", "holds", "= 1.18"),
        ("A28.1", "undefined", "0.1 is not 0.5"),
        ("A32.1", "fails", "= 0.4539 points, which is below 40.1 − 37.3 = 2.8 points"),
        ("A32.2", "fails", "= 1.74 points, which is below 33.3 − 27.6 = 5.7 points"),
        ("A32.3", "fails", "= 1.89 points, which is below 29.4 − 25.1 = 4.3 points"),
        ("A33.1", "fails", "41.3 − 17.1 = 24.2 points, which is above 3 × (45.3 − 41.3) = 12 points"),
        ("A36.1", "fails", "1 of 15 fails: 29.1 / 26.5 = 1.1"),
    ],
)
def test_the_findings_arithmetic(printed_audit, statement, verdict, evidence):
    found = {one.id: one.rulings[0] for finding in printed_audit.findings for one in finding.statements}
    assert found[statement].verdict == verdict
    assert evidence in found[statement].evidence


def test_only_what_arithmetic_rules_out_under_its_own_condition_is_impossible(printed_audit):
    found = {one.id: one for finding in printed_audit.findings for one in finding.statements}
    ruled_out = {name for name, one in found.items() if any(r.verdict == "impossible" for r in one.rulings)}
    assert ruled_out == {"A21.1"}
    assert found["A21.1"].says.startswith("If a module works at full resolution")
    assert "its products are counted" in found["A21.1"].says


@pytest.mark.parametrize(("finding", "claim"), [("A12", "C93"), ("A13", "C92")])
def test_a_comparison_that_the_paper_does_not_make_is_shown_and_owed_nothing(printed_audit, finding, claim):
    shown = next(one for one in printed_audit.findings if one.id == finding)
    assert shown.verdict == "undefined"
    ruling = shown.statements[0].rulings[0]
    made = next(one for one in printed_audit.claims if one.id == claim)
    assert [one.layer for one in shown.statements[0].rulings] == ["arithmetic"]
    assert (ruling.verdict, ruling.evidence) == ("undefined", made.ruling("arithmetic").evidence)
    assert made.ruling("arithmetic").verdict == "fails"
    assert (made.is_false, made.is_against) == (True, False)
    assert made.says.startswith("The auditors' comparison, no statement of the paper")


def test_a_threshold_of_ours_stands_in_the_statement_and_the_title(book):
    findings = {finding.id: finding for finding in book.findings}
    for name in ("A11", "A33", "A36"):
        assert " of ours" in findings[name].title
        assert all(" of ours" in one.says for one in findings[name].statements)


def test_five_marks_of_table_4_are_wrong_and_they_are_the_audits(printed_audit):
    marks = next(finding for finding in printed_audit.findings if finding.id == "A08")
    wrong = re.findall(
        r"([\d.]+) [GM%]+ \([^)]*\): printed \w+, due \w+",
        " ".join(ruling.evidence for one in marks.statements for ruling in one.rulings if ruling.verdict == "fails"),
    )
    cells = content()["tables"]["table4"]["cells"]
    assert sorted(map(float, wrong)) == sorted(cell["value"] for cell in cells if not cell["mark_image_ok"])
    assert sum(len(one.operands) for one in marks.statements) == len(cells)


def test_a_planted_wrong_number_turns_what_depends_on_it_and_nothing_else(book, edited):
    old = "id: t5.unet.coco.miou, table: table5, row: UNet, column: mIoU, dataset: coco, split: panoptic_val2017, "
    old += "task: panoptic, metric: mIoU, unit: '%', value: 33.8"
    before, after = verdicts(book), verdicts(edited(old, old.replace("33.8", "34.8")))
    assert {name for name in before if before[name] != after[name]} == {"C90", "A01.1"}
    assert (after["C90"], after["A01.1"]) == ("fails", "fails")


def test_every_printed_number_turns_only_what_depends_on_it(book):
    before, turned = verdicts(book), set()
    statements = [*book.claims, *(one for finding in book.findings for one in finding.statements)]
    uses = {one.id: {name.removeprefix("printed.") for name in one.names} for one in statements}
    for name, cell in book.printed.cells.items():
        wrong = cell.model_copy(update={"value": cell.value * 3 + 7})
        after = verdicts(replace(book, printed=replace(book.printed, cells={**book.printed.cells, name: wrong})))
        changed = {one for one in before if before[one] != after[one]}
        assert all(name in uses[one] for one in changed), name
        turned |= {name} if changed else set()
    restated = {
        name for claim in book.claims if claim.op in ("restate", "all_eq") and claim.holds for name in claim.names
    }
    assert restated <= turned


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("- id: C58\n", "- id: C57\n", "two claims or findings have the id C57"),
        (
            "op: sum_eq\n  args: [8, 11]",
            "op: sum_eqq\n  args: [8, 11]",
            "unknown operation 'sum_eqq' in C09; did you mean 'sum_eq'",
        ),
        ("  args: [8, 11]\n", "  args: []\n", "C09: sum_eq takes at least 1 operands, got 0"),
        (
            "args: [t8.m2f_r50.-.64x48]",
            "args: [t8.m2f_r5.-.64x48]",
            "C72: unknown operand 't8.m2f_r5.-.64x48'; did you mean 't8.m2f_r50.-.64x48'?",
        ),
        ("args: [t8.m2f_r50.-.64x48]", "args: [t8.m2f_r50.-.64x48, 3]", "C72: approx takes 1 operands, got 2"),
        (
            "  elsewhere: [paper.figures.figure4.minimum_at]",
            "  elsewhere: [paper.figures.figure4.minimum]",
            "C14: unknown key 'minimum' in operand paper.figures.figure4.minimum; ",
        ),
        (
            "  elsewhere: [paper.figures.figure4.minimum_at]",
            "  elsewhere: [paper.figures.figure4.kind]",
            "which is no paper of it",
        ),
        (
            "  elsewhere: [paper.figures.figure4.minimum_at]",
            "  elsewhere: [0.5, 0.5]",
            "C14: elsewhere has 2 operands for 1",
        ),
        (
            "  says: Multi-head masked self-attention",
            "  sayz: Multi-head masked self-attention",
            "unknown key 'sayz' in claim C05; did you mean 'says'?",
        ),
        ("  audit: [A33]\n  computed: 6.1", "  audit: [A99]\n  computed: 6.1", "unknown finding 'A99' in C74"),
        ("stated: 17\n  unit: M", "stated: 17\n  unit: G", "C38: diff_eq gives M, and the unit stated is G"),
        ("claims:\n- id: C01", "claims: [\n- id: C01", "cannot be read"),
        (
            "args: [t4.m2f_r101.-.flops, t4.m2f_r50.-.flops]",
            "args: [t4.m2f_r101.-.flops, t4.m2f_r50.-.params]",
            "C35: G and M cannot be added or compared",
        ),
    ],
)
def test_a_wrong_entry_is_one_line(edited, old, new, said):
    with pytest.raises(UserError) as caught:
        edited(old, new)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("- id: A02\n", "- id: A01\n", "two claims or findings have the id A01"),
        ("claims: [C36, C37, C38, C39]", "claims: [C136]", "finding A06: "),
        ("claims: [C07, C08, C09]", "claims: [C98]", "unknown claim 'C98' in A39"),
        (
            "  weight: long-range\n  found: >-\n    In the",
            "  weight: longrange\n  found: >-\n    In the",
            "did you mean 'long-range'",
        ),
        (
            "cost.unet.128x128.flops, cost.unet.128x128.params",
            "cost.unett.128x128.flops, cost.unet.128x128.params",
            "unknown model 'unett'",
        ),
        (
            "cost.unet.128x128.flops, cost.unet.128x128.params",
            "cost.unet.128.flops, cost.unet.128x128.params",
            "unknown operand 'cost.unet.128.flops'",
        ),
    ],
)
def test_a_wrong_finding_is_one_line(edited, old, new, said):
    with pytest.raises(UserError) as caught:
        edited(old, new, findings=True)
    if "finding A06" not in said:
        assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_entry_is_exit_code_2(monkeypatch, capsys, edited, tmp_path):
    with pytest.raises(UserError):
        edited("- id: C58\n", "- id: C57\n")
    monkeypatch.setattr("bench.audit.audit.read_book", lambda: read_book(tmp_path / "paper.yaml"))
    assert main(["audit", "--results", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "bench: two claims or findings have the id C57; ids are unique\n"


def test_a_new_claim_needs_no_code(edited, tmp_path):
    new = """- id: C94
  section: '4.3'
  lines: [189]
  says: A new one
  op: diff_gt
  args: [t4.ours.coco.pq, {product: [2, t4.unet.coco.pq]}]
  stated: -5
  holds: true
- id: C01
"""
    found = run_audit(tmp_path, ("arithmetic",), ["C94"], edited("- id: C01\n", new)).claims[0]
    assert [ruling.verdict for ruling in found.rulings] == ["holds"]
    assert found.rulings[0].evidence == "35.7 − (2 × 20.1) = -4.5 points, which is above -5 points"


def test_costs_are_asked_at_sizes_that_are_counted(book):
    statements = [*book.claims, *(one for finding in book.findings for one in finding.statements)]
    tests = [test for one in statements for test in (one, one.cost, one.measured) if test]
    matches = [match for test in tests for name in test.names if (match := COST.fullmatch(name))]
    assert matches
    assert {parse_size(match["size"]) for match in matches} <= set(SIZES)


def test_evidence_carries_units(printed_audit):
    """A difference of scores is in points, a relative change in percent; no bare percentage stands for a difference."""
    for claim in printed_audit.claims:
        for ruling in claim.rulings:
            if ruling.layer == "arithmetic" and claim.operation.startswith("diff_"):
                assert re.search(r"= [\d.]+ (points|M|G)\b", ruling.evidence) or claim.operation == "diff_signs"
            if ruling.layer == "arithmetic" and claim.operation == "rel_diff_eq":
                assert re.search(r"= [\d.]+ %", ruling.evidence)


def test_each_verdict_has_a_meaning():
    assert set(MEANING) == set(VERDICTS)
    assert set(AGAINST) <= set(VERDICTS)


def test_the_arithmetic_takes_less_than_a_second(book):
    import time

    started = time.process_time()
    verdicts(book)
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("claim", "named"),
    [("C23", "35 % (COCO, AP@30)"), ("C42", "46 M (MaskAttn-UNet)"), ("C86", "0.628 (att1, Hurst)")],
)
def test_a_number_says_whose_it_is(printed_audit, claim, named):
    found = next(one for one in printed_audit.claims if one.id == claim)
    assert named in found.ruling("arithmetic").evidence

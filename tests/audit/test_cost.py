"""The cost layer on planted counts: printed cells of networks that the text determines give way to counts at one input
size, the others stay.
"""

import pytest

from bench.audit.audit import run_audit
from bench.audit.show import summary

TRANSFORMERS = {
    "detr-r50": (7.87, 42.9),
    "detr-r101": (9.08, 61.8),
    "mask2former-r50": (5.64, 44),
    "mask2former-r101": (6.85, 63),
}


@pytest.fixture
def counted(plant_cost, tmp_path):
    """One ruling of the cost layer, after planting the six networks of Table 4."""

    def run(name, times=1.0, detectors=TRANSFORMERS):
        plant_cost("maskattn-unet", 68.1, 24.9)
        plant_cost("unet", 12.2, 31.05)
        for model in detectors:
            flops, parameters = TRANSFORMERS[model]
            plant_cost(model, times * flops, parameters)
        audit = run_audit(tmp_path / "results", ["cost"], [name.partition(".")[0]])
        entries = [*audit.claims, *(one for finding in audit.findings for one in finding.statements)]
        return next(one for one in entries if one.id == name).ruling("cost")

    return run


def test_c02_fails_by_the_papers_own_number_at_equal_input(counted):
    found = counted("C02")
    assert found.verdict == "fails"
    assert found.evidence.startswith("counted at 128x128 (as printed: MaskAttn-UNet): 4 of 4 fail: ")
    assert "11 G (MaskAttn-UNet) is not below 7.87 G (DETR-R50)" in found.evidence


def test_c02_holds_where_the_counts_bear_it_out(counted):
    assert counted("C02", times=2).verdict == "holds"


def test_one_transformer_that_is_cheaper_is_enough(counted):
    found = counted("C02", times=1.9)  # 14.95, 17.25, 10.72 and 13.02 G
    assert (found.verdict, found.evidence.count("is not below")) == ("fails", 1)


@pytest.mark.parametrize("claim", ["C04", "C27", "C31", "C32", "C44"])
def test_what_names_only_networks_that_the_text_leaves_open_has_no_cost(counted, claim):
    """Whatever we count for our reading of the proposed network and for a U-Net."""
    assert counted(claim) is None


def test_printed_and_counted_parameters_meet(counted):
    assert counted("C38").evidence == (
        "counted at 128x128 (as printed: MaskAttn-UNet): 63 − 46 = 17 M, which is within 0.5 of 17 M"
    )
    found = counted("C40")
    assert found.verdict == "fails"
    assert "42.9 M (DETR-R50) is below (give or take 0.5) 46 M (MaskAttn-UNet)" in found.evidence


def test_counts_may_round_to_the_printed_number(plant_cost, tmp_path):
    def verdict(flops):
        plant_cost("mask2former-r50", flops, 44)
        return run_audit(tmp_path / "results", ["cost"], ["C34"]).claims[0].rulings[0].verdict

    assert (verdict(226.4), verdict(226.6)) == ("holds", "fails")


def test_what_is_not_counted_is_not_run_and_says_how(counted):
    found = counted("C02", detectors=())
    assert (found.verdict, found.next) == ("not run", "python -m bench cost --all")
    assert found.evidence == "detr-r50 is not counted at 128x128 yet"


def test_what_cannot_be_counted_is_undefined(plant_cost, tmp_path):
    plant_cost("mask2former-r50", None, 44)
    found = run_audit(tmp_path / "results", ["cost"], ["C34"]).claims[0].rulings[0]
    assert (found.verdict, found.evidence) == ("undefined", "mask2former-r50 at 128x128 has no flops: refused")


def test_a_score_has_no_cost(printed_audit):
    assert printed_audit.claims[27].ruling("cost") is None
    assert printed_audit.claims[56].ruling("cost") is None


def test_printed_numbers_keep_their_value_where_the_finding_says_so(plant_cost, tmp_path):
    """A20: one larger input explains the four printed baselines, DETR's without its mask head."""
    for model, printed in (("detr-r50-detector", 86), ("detr-r101-detector", 152), ("mask2former-r50", 226)):
        plant_cost(model, printed * 1.02, 40, size="800x1120")
    plant_cost("mask2former-r101", 293 * 0.99, 63, size="800x1120")
    for model, cost in TRANSFORMERS.items():
        plant_cost(model, *cost)
    finding = run_audit(tmp_path / "results", ["cost"], ["A20"]).findings[0]
    assert [one.rulings[0].verdict for one in finding.statements] == ["fails", "holds"]
    assert "86 / 7.87 = 10.93, which is not within 0.03 of 1" in finding.statements[0].rulings[0].evidence
    assert finding.verdict == "fails"


def test_memory_is_in_mib(plant_cost, tmp_path):
    plant_cost("maskattn-unet", 68, 25, memory=300)
    plant_cost("self-attention-unet", 68, 25, memory=299)
    statements = run_audit(tmp_path / "results", ["cost"], ["A24"]).findings[0].statements
    assert (
        statements[1].rulings[0].evidence
        == "counted: 300 MiB (maskattn-unet) is not below 299 MiB (self-attention-unet)"
    )


@pytest.mark.parametrize("change", [("{", ""), ('"width": 64', '"width": 32')], ids=["damaged", "outdated"])
def test_a_damaged_or_outdated_count_is_named_and_judges_nothing(plant_cost, tmp_path, change):
    plant_cost("unet", 12, 31)
    path = tmp_path / "results" / "costs" / "unet-128x128.json"
    text = path.read_text()
    assert change[0] in text
    path.write_text(text.replace(*change, 1))
    audit = run_audit(tmp_path / "results", ["cost"], only=["A23"])
    assert "unet-128x128.json" in next(iter(audit.damaged.values()))
    assert {ruling.verdict for one in audit.findings[0].statements for ruling in one.rulings} == {"not run"}


def test_a_finding_says_whose_counts_it_has_at_each_size(plant_cost, tmp_path):
    """A41: the printed 11 G, the released network, and our reading at four sizes."""
    for model in (*TRANSFORMERS, "maskattn-unet", "maskattn-unet-released"):
        for size in ("128x128", "64x64", "48x64", "32x32"):
            flops = {"maskattn-unet": 1 if size == "32x32" else 6, "maskattn-unet-released": 7}.get(model, 5)
            plant_cost(model, flops, 40, size=size)
    finding = run_audit(tmp_path / "results", only=["A41"]).findings[0]
    assert finding.next == ""  # all is counted, and the runs that its claim C02 waits for decide no count
    assert [one.rulings[0].verdict for one in finding.statements] == ["fails"] * 5 + ["holds"]
    assert [one.says.partition(" ")[0] for one in finding.statements] == ["The", "The", "Our", "Our", "Our", "Our"]
    evidence = [one.rulings[0].evidence for one in finding.statements]
    assert "as printed: MaskAttn-UNet" in evidence[0]
    assert not any("as printed" in text for text in evidence[1:])


def test_a_finding_about_print_stays_and_a_claim_that_fails_by_counting_is_told(plant_cost, tmp_path):
    """A06: 63 M less 46 M are 17 M as printed; with another count they are not."""
    plant_cost("mask2former-r101", 6.85, 64)
    audit = run_audit(tmp_path / "results")
    assert next(finding for finding in audit.findings if finding.id == "A06").verdict == "holds"
    told = list(summary(audit))
    at = next(i for i, line in enumerate(told) if line.startswith("C38  fails"))
    assert told[at + 1].endswith("(as printed: MaskAttn-UNet): 64 − 46 = 18 M, which is not within 0.5 of 17 M")


def test_what_a_reader_must_know_of_a_layers_own_test_stands_in_its_evidence(plant_cost, tmp_path, edited):
    plant_cost("mask2former-r101", 6.85, 64)
    old = "args: [t4.m2f_r101.-.params, t4.ours.-.params]\n  stated: 17\n"
    own = "  cost: {op: gt, args: [t4.m2f_r101.-.params, 1], note: of ours}\n"
    audit = run_audit(tmp_path / "results", ["cost"], ["C38"], edited(old, old + own))
    assert audit.claims[0].rulings[0].evidence == "counted at 128x128: 64 M (Mask2Former-R101) is above 1 M (of ours)"

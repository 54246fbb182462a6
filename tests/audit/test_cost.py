"""The cost layer on planted counts: the printed cells give way to counts at one input size."""

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

    def run(name, ours=(68.1, 24.9), only_ours=False):
        plant_cost("maskattn-unet", *ours)
        if not only_ours:
            plant_cost("unet", 12.2, 31.05)
            for model, cost in TRANSFORMERS.items():
                plant_cost(model, *cost)
        audit = run_audit(tmp_path / "results", ["cost"], [name.partition(".")[0]])
        entries = [*audit.claims, *(one for finding in audit.findings for one in finding.statements)]
        return next(one for one in entries if one.id == name).ruling("cost")

    return run


def test_c02_fails_at_equal_input(counted):
    found = counted("C02")
    assert found.verdict == "fails"
    assert "counted at 128x128: 4 of 4 fail: 68.1 G (MaskAttn-UNet) is not below 7.87 G (DETR-R50)" in found.evidence


def test_c02_holds_where_the_counts_bear_it_out(counted):
    assert counted("C02", ours=(5.0, 46)).verdict == "holds"


def test_one_transformer_that_is_cheaper_is_enough(counted):
    found = counted("C02", ours=(6.0, 46))
    assert (found.verdict, found.evidence.count("is not below")) == ("fails", 1)


def test_counts_may_round_to_the_printed_number(counted):
    assert counted("C32", ours=(11.4, 46.4)).verdict == "holds"
    assert counted("C32", ours=(11.6, 46.4)).verdict == "fails"


def test_what_is_not_counted_is_not_run_and_says_how(counted):
    found = counted("C02", only_ours=True)
    assert (found.verdict, found.next) == ("not run", "python -m bench cost --all")
    assert found.evidence == "detr-r50 is not counted at 128x128 yet"


def test_what_cannot_be_counted_is_undefined(plant_cost, tmp_path):
    plant_cost("unet", None, 31.05)
    found = run_audit(tmp_path / "results", ["cost"], ["C27"]).claims[0].rulings[0]
    assert (found.verdict, found.evidence) == ("undefined", "unet at 128x128 has no flops: refused")


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


def test_a_claim_without_printed_numbers_may_have_counted_ones(plant_cost, tmp_path):
    for model in (*TRANSFORMERS, "maskattn-unet"):
        plant_cost(model, 5, 40, memory=200 if model == "maskattn-unet" else 300)
    claim = run_audit(tmp_path / "results", only=["C04"]).claims[0]
    assert {ruling.layer: ruling.verdict for ruling in claim.rulings} == {"arithmetic": "undefined", "cost": "holds"}


def test_a_finding_about_print_stays_and_a_claim_that_fails_by_counting_is_told(plant_cost, tmp_path):
    """A06: 63 M less 46 M are 17 M as printed; as counted they are not."""
    plant_cost("maskattn-unet", 68, 24.9)
    plant_cost("mask2former-r101", 6.85, 63)
    audit = run_audit(tmp_path / "results")
    assert next(finding for finding in audit.findings if finding.id == "A06").verdict == "holds"
    told = list(summary(audit))
    at = next(i for i, line in enumerate(told) if line.startswith("C38  fails"))
    assert told[at + 1].strip() == "counted at 128x128: 63 − 24.9 = 38.1 M, which is not within 0.5 of 17 M"


def test_what_a_reader_must_know_of_a_layers_own_test_stands_in_its_evidence(plant_cost, tmp_path):
    for model in (*TRANSFORMERS, "maskattn-unet"):
        plant_cost(model, 5, 40)
    evidence = run_audit(tmp_path / "results", ["cost"], ["C04"]).claims[0].rulings[0].evidence
    assert evidence.endswith("needs far more (finding A25))")

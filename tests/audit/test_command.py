"""`bench audit` as a newcomer types it: light, quick, readable, machine-readable."""

import json
import re
import subprocess
import sys
import time

import pytest

from bench.audit.audit import Audit
from bench.cli import main

REFUSING = """
import sys
HEAVY = {"numpy", "torch", "rich", "pandas", "pyarrow", "jinja2", "matplotlib", "PIL", "scipy", "fvcore",
         "transformers", "timm", "torchvision", "safetensors", "sklearn", "pycocotools"}
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HEAVY:
            raise ImportError(f"{name} is refused here")
sys.meta_path.insert(0, Refuse())
from bench.cli import main
sys.exit(main(sys.argv[1:]))
"""


def said(capsys, *arguments):
    code = main(["audit", *arguments])
    return code, capsys.readouterr().out


@pytest.mark.parametrize("words", [["audit"], ["audit", "--all"], ["audit", "--json"], ["audit", "--only", "C57,A21"]])
def test_pydantic_and_yaml_are_enough(tmp_path, words):
    done = subprocess.run([sys.executable, "-c", REFUSING, *words], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_hook_does_refuse(tmp_path):
    done = subprocess.run([sys.executable, "-c", REFUSING, "models"], cwd=tmp_path, capture_output=True, text=True)
    assert "is refused here" in done.stderr


def test_it_takes_a_second_of_computing(tmp_path):
    code = "import time; from bench.cli import main; main(['audit']); print(time.process_time())"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert float(done.stdout.splitlines()[-1]) < 2


def test_the_summary(capsys, tmp_path):
    code, out = said(capsys, "--results", str(tmp_path))
    assert code == 0
    lines = out.splitlines()
    assert lines[0].endswith("(arXiv 2503.10686)")
    table = {line.split()[0]: line.split()[1:] for line in lines[4:8]}
    assert table["arithmetic"] == ["54", "19", "-", "-", "20", "-"]
    assert list(table) == ["arithmetic", "cost", "measured", "findings"]
    at = next(i for i, line in enumerate(lines) if line.startswith("A21  impossible"))
    assert "= 34.36 G" in lines[at + 1]
    assert "--all" in lines[-1]


def test_every_failing_claim_is_named_in_the_summary(capsys, tmp_path, printed_audit):
    _, out = said(capsys, "--results", str(tmp_path))
    assert sum(claim.is_false for claim in printed_audit.claims) == 19
    against, others = out.split("Counted above as fails, but comparisons of the auditors")
    assert {claim.id for claim in printed_audit.claims if claim.is_against} <= set(re.findall(r"C\d\d", against))
    assert set(re.findall(r"^C\d\d", others, re.MULTILINE)) == {"C92", "C93"}
    assert not re.search(r"C9[23]", against)


def test_how_little_some_of_what_holds_says(capsys, tmp_path, book):
    _, out = said(capsys, "--results", str(tmp_path))
    operations = [claim.op for claim in book.claims if claim.holds]
    told = "Of the 54 claims that hold by arithmetic {} only repeat numbers of a table and {} a setting."
    assert told.format(operations.count("restate"), operations.count("setting")) in out


def test_the_next_step_is_of_a_layer_that_the_finding_uses(printed_audit):
    """C02 of A20, A21 and A41 waits for runs; no run decides a count."""
    steps = {finding.id: finding.next for finding in printed_audit.findings}
    assert steps["A20"] == steps["A41"] == "python -m bench cost --all"
    assert "bench run" not in steps["A21"]
    assert "bench run" in steps["A38"]


def test_all_shows_each_claim_and_finding(capsys, tmp_path):
    _, out = said(capsys, "--all", "--results", str(tmp_path))
    assert {f"C{n:02}" for n in range(1, 94)} | {f"A{n:02}" for n in range(1, 46)} <= set(re.findall(r"[AC]\d\d", out))


def test_one_claim_in_full(capsys, tmp_path):
    _, out = said(capsys, "--only", "c57", "--results", str(tmp_path))
    assert "t5.unet.coco.miou = 33.8 %   Table 5, line 332: UNet, mIoU" in out
    assert "arithmetic, fails: 100 × (45.3 − 33.8) / 33.8 = 34.02 %, which is not within 0.5 of 11.5 %" in out
    assert "findings: A01" in out
    assert "C58" not in out


def test_one_layer(capsys, tmp_path):
    _, out = said(capsys, "--layer", "arithmetic", "--json", "--results", str(tmp_path))
    found = json.loads(out)
    assert found["layers"] == ["arithmetic"]
    assert {ruling["layer"] for claim in found["claims"] for ruling in claim["rulings"]} == {"arithmetic"}
    assert len(found["claims"]) == 93


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "C577"], "unknown claim or finding 'C577'; did you mean 'C"),
        (["--only", ","], "--only takes ids"),
        (["--layer", "cots"], "invalid choice: 'cots'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(tmp_path, arguments, message):
    done = subprocess.run(
        [sys.executable, "-m", "bench", "audit", *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert message in done.stderr


def test_the_json_fits_its_schema_and_is_the_same_twice(capsys, tmp_path):
    _, first = said(capsys, "--json", "--results", str(tmp_path))
    _, second = said(capsys, "--json", "--results", str(tmp_path))
    assert first == second
    read = Audit.model_validate_json(first)
    assert len(read.findings) == 45
    assert read.model_dump(mode="json") == json.loads(first)
    properties = Audit.model_json_schema()["properties"]
    assert set(json.loads(first)) == set(properties)


def test_the_keys_of_the_json_are_documented():
    from tests.audit.test_operations import DOCS

    text = DOCS.read_text()
    schema = Audit.model_json_schema()
    named = [schema["properties"], *(one.get("properties", {}) for one in schema["$defs"].values())]
    lacking = {key for keys in named for key in keys if f"`{key}`" not in text}
    assert not lacking


def test_the_meanings_in_the_docs_are_those_of_the_program():
    from bench.audit.ruling import MEANING
    from tests.audit.test_operations import DOCS

    text = DOCS.read_text()
    for verdict in ("holds", "fails", "impossible", "undefined", "not run"):
        assert f"| {verdict} | {MEANING[verdict]} |" in text


def test_results_that_are_not_there_are_no_mistake(capsys, tmp_path):
    started = time.perf_counter()
    code, out = said(capsys, "--results", str(tmp_path / "nothing"))
    assert (code, "not run" in out) == (0, True)
    assert time.perf_counter() - started < 30

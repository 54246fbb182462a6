"""The README's commands are run, and its table is the one that the committed records give."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from bench.cli import parser
from bench.data.catalog import DataRoots, Missing, find
from bench.measure.cost_records import cost_of, read_costs
from bench.named import known_suites
from bench.paper.numbers import paper_value
from bench.report.build import build_reports
from bench.store import Store

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
WORDS = " ".join(README.split())
SCALING = (ROOT / "docs" / "scaling.md").read_text()
DECISIONS = (ROOT / "docs" / "decisions.md").read_text()


def commands(language: str, text: str = README) -> list[str]:
    blocks = re.findall(rf"```{language}\n(.*?)```", text, flags=re.S)
    return [line.split(" #")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


AUDIT, MAIN_JOB, TESTS, *QUICK = commands("sh")


def test_the_first_command_needs_no_more_than_it_installs() -> None:
    """tests/audit runs it without any other package."""
    install, _, audit = AUDIT.partition(" && ")
    assert install == "python -m pip install pydantic pyyaml"
    assert audit == "python -m bench audit"
    assert audit in (ROOT / "tox.ini").read_text()


def test_what_the_readme_says_of_the_claims_is_what_the_audit_finds(tmp_path: Path) -> None:
    shown = re.search(r"<!-- audit: .*? -->\n(.*?)\n<!-- /audit -->", README, flags=re.S)
    assert shown is not None
    done = subprocess.run(
        [sys.executable, "-m", "bench", "audit", "--layer", "arithmetic", "--json", "--results", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    claims = json.loads(done.stdout)["claims"]
    found = Counter(ruling["verdict"] for claim in claims for ruling in claim["rulings"])
    assert shown[1] == (
        f"Of the paper's {len(claims)} claims {found['holds']} hold by its own numbers, {found['fails']} fail, "
        f"and {found['undefined']} cannot be decided from its text."
    )


def test_the_costs_that_the_readme_names_are_the_counted_ones() -> None:
    def flops(model: str, size: str) -> float:
        found = cost_of(records, model, size)
        assert found is not None
        assert found.flops is not None
        return found.flops / 1e9

    records = read_costs(ROOT / "results")
    baselines = ("detr-r50", "detr-r101", "mask2former-r50", "mask2former-r101")
    small = [flops(model, "128x128") for model in baselines]
    assert f"the four cost {min(small):.1f} to {max(small):.1f} G" in WORDS
    ours, released = flops("maskattn-unet", "128x128"), flops("maskattn-unet-released", "128x128")
    assert f"Ours counts {ours:.1f} G there, the released network {released:.1f} G" in WORDS
    counted = [flops(name, "800x1120") for name in ("detr-r50-detector", "detr-r101-detector", *baselines[2:])]
    printed = [cell.value for model in baselines if (cell := paper_value("table4", model, None, "FLOPs"))]
    assert len(printed) == 4
    assert max(abs(one / other - 1) for one, other in zip(counted, printed, strict=True)) < 0.006
    assert "within 0.6 %" in README


@pytest.mark.parametrize("command", QUICK)
def test_a_command_of_the_readme_works(tmp_path: Path, command: str) -> None:
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "bench"]
    (tmp_path / "results").mkdir()
    done = subprocess.run([sys.executable, *words[1:]], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("command", commands("text"))
def test_a_command_that_needs_data_is_at_least_well_formed(command: str) -> None:
    parser().parse_args(shlex.split(command)[3:])


BENCH_RUN = re.findall(r"(?:python -m |`)(bench (?:run|plan|status) --suite \w[^#`\n…]*)", SCALING)


@pytest.mark.parametrize("command", BENCH_RUN)
def test_a_command_of_the_scaling_page_is_well_formed(command: str) -> None:
    parser().parse_args(shlex.split(command)[1:])


@pytest.mark.nightly
@pytest.mark.parametrize("command", commands("sh", SCALING))
def test_a_command_of_the_scaling_page_works(tmp_path: Path, command: str) -> None:
    done = subprocess.run(
        [sys.executable, *shlex.split(command)[1:]], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("word", re.findall(r"`((?:bench|models|tests)/[\w/]+\.\w+)", DECISIONS))
def test_what_the_decisions_point_to_is_there(word: str) -> None:
    assert (ROOT / word).is_file()


@pytest.mark.parametrize("word", re.findall(r"\]\(([^)#:]+)[)#]", README))
def test_a_link_of_the_readme_leads_somewhere(word: str) -> None:
    assert (ROOT / word).exists()


def committed(*arguments: str) -> str:
    """What git has: the user's own runs and reports, made since, are none of a test's business."""
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    return done.stdout


@pytest.mark.slow  # it draws every figure
def test_the_committed_reports_are_those_of_the_committed_records(tmp_path: Path) -> None:
    for name in committed("ls-files", "results").splitlines():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    suites = known_suites()
    found = {name: find(name, DataRoots()) for suite in suites for name in suite.datasets}
    missing = {name: entry for name, entry in found.items() if isinstance(entry, Missing)}
    paths = build_reports(Store(tmp_path / "results"), suites, missing, tmp_path / "reports")
    names = {path.relative_to(tmp_path).as_posix(): path for path in paths}
    assert sorted(names) == sorted(committed("ls-files", "reports").splitlines())
    for name, path in names.items():
        if path.suffix not in (".png", ".pdf"):  # these differ between versions of the libraries
            assert path.read_text() == committed("show", f":{name}"), name


def test_the_readmes_table_is_the_reports() -> None:
    shown = re.search(r"<!-- table: .*? -->\n(.*?)\n<!-- /table -->", README, flags=re.S)
    assert shown is not None
    assert shown[1].strip() == table_of(committed("show", ":reports/scenes64.md"))


def table_of(report: str) -> str:
    """The first table of a report, with links that hold from the README."""
    lines = report.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("| Network"))
    last = next(number for number in range(first, len(lines)) if not lines[number].startswith("|"))
    return "\n".join(lines[first:last]).replace("](../results/", "](results/")

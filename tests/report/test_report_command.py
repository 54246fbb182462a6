"""`bench report`: the whole, or one exhibit to the standard output; a mistake is one line."""

from __future__ import annotations

import pytest
import yaml

from bench.cli import main
from tests.report.test_build import Page

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def report(fake, tmp_path, monkeypatch, capsys):
    """Runs the command beside the fabricated results; its code, output and complaint."""
    monkeypatch.chdir(tmp_path)
    fake.fill("scenes", "smoke", losses=(2.0, 1.0))

    def run(*words: str) -> tuple[int, str, str]:
        code = main(["report", *words])
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def own(tmp_path):
    """A suite of the user's."""
    content = {"name": "mine", "title": "My <own>", "task": "panoptic", "sizes": ["128x128"]}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content | {"models": ["unet", "detr-r50"], "datasets": ["scenes"]}))
    return "./mine.yaml"


@pytest.mark.parametrize("kind", ["md", "csv", "tex"])
def test_one_exhibit_is_printed_as_the_report_writes_it_and_nothing_else_is(report, tmp_path, kind):
    code, printed, said = report("--suite", "table4", "--format", kind)
    assert code == 0
    assert all(line.startswith("intervals over images not computed") for line in said.splitlines())  # beside it
    assert not (tmp_path / "reports").exists()
    report()
    assert printed == (tmp_path / "reports" / f"table4.{kind}").read_text()


def test_a_file_of_the_users_and_an_exhibit_without_a_suite_can_be_printed(report, own):
    assert report("--suite", own, "--format", "md")[1].startswith("# My \\<own\\>\n")
    assert report("--suite", "costs", "--format", "csv")[0] == 0
    page = Page(report("--suite", own, "--format", "html")[1])
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert "My <own>" in page.text


def test_the_whole_report_takes_a_file_of_the_users_beside_the_others_and_a_known_name_once(report, own, tmp_path):
    assert report("--suite", own, "--suite", "table4", "--suite", "all")[0] == 0
    names = {path.name for path in (tmp_path / "reports").iterdir()}
    assert {"mine.html", "mine.md", "table4.html", "scenes64.html"} <= names
    assert report()[0] == 0
    assert not (tmp_path / "reports" / "mine.md").exists()


def test_it_says_where_it_wrote_without_a_line_a_run(report, fake):
    _, said, _ = report()
    lines = said.splitlines()
    assert f"reports/runs: {len(fake.store.run_ids())} pages of runs" in lines
    assert lines[-1] == "open reports/index.html"
    assert not any(line.startswith("reports/runs/") for line in lines)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--format", "md"), "--format md prints one exhibit: name one, such as --suite table4 --format md"),
        (("--suite", "all", "--format", "md"), "--format md prints one exhibit"),
        (("--suite", "table4", "--suite", "oracle", "--format", "csv"), "--format csv prints one exhibit"),
        (("--suite", "tabel4", "--format", "md"), "unknown suite 'tabel4'; did you mean 'table4'?"),
        (("--suite", "protocol", "--format", "md"), "unknown suite 'protocol'; did you mean 'protocols'?"),
        (("--suite", "no/such.yaml", "--format", "md"), "no suite file at no/such.yaml"),
        (("--suite", "tabel4"), "unknown suite 'tabel4'; did you mean 'table4'?"),
        (("--results", "nowhere"), "no results at nowhere"),
    ],
)
def test_a_mistake_is_one_line(report, words, complaint):
    code, printed, said = report(*words)
    assert (code, printed) == (2, "")
    assert said.startswith(f"bench: {complaint}")
    assert said.count("\n") == 1


def test_a_format_that_is_none_is_named(report, capsys):
    with pytest.raises(SystemExit) as ended:
        report("--suite", "table4", "--format", "xml")
    assert ended.value.code == 2
    assert "choose from" in capsys.readouterr().err

"""The specification search in one line, from planted records; and `--search`."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.audit.audit import run_audit
from bench.audit.searched import search_line
from bench.cli import main
from bench.files import write_json
from bench.measure.search_records import Target, read_search, readable_searches, search_file

RESULTS = Path(__file__).parents[2] / "results"


def record(within, joint=None, full=0):
    levels = (SimpleNamespace(contradictions=1, within=0), SimpleNamespace(contradictions=2, within=within))
    return SimpleNamespace(
        target=SimpleNamespace(parameters_m=46.0, flops_g=11.0),
        tried=1234567,
        within=within,
        nearest=(SimpleNamespace(distance=0.0834),),
        levels=levels,
        countings=(
            SimpleNamespace(whole=True, within=within - 900, at_full_resolution=full),
            SimpleNamespace(whole=False, within=900, at_full_resolution=77),
        ),
        joint=joint,
    )


def test_nothing_searched_is_nothing_said():
    assert search_line({}, "unet") == ""
    assert search_line({"unet": record(1)}, "") == ""


def test_no_reading_within_rounding():
    assert search_line({"a": record(0)}, "a") == (
        "Search: 0 of 1,234,567 readings of the paper round to 46 M and 11 G; the nearest is 8.3 % off."
    )


@pytest.mark.parametrize(("together", "said"), [(0, "None"), (1200, "1,200")])
def test_readings_within_rounding_and_both_rows_at_once(together, said):
    joint = SimpleNamespace(within=together, other=SimpleNamespace(parameters_m=32.0, flops_g=4.0))
    assert search_line({"a": record(5000, joint)}, "a") == (
        "Search: 5,000 of 1,234,567 readings of the paper round to 46 M and 11 G; those nearest to the text contradict "
        "2 of its sentences. With attention's products counted, 4,100 do, none of them with a module at full "
        f"resolution. {said} of all 5,000 have 32 M and 4 G without their modules."
    )


def test_where_every_count_is_whole_the_products_are_not_spoken_of():
    one = record(5000, full=12)
    assert "4,100 do, 12 of them with a module at full resolution" in search_line({"a": one}, "a")
    one.countings = one.countings[:1]
    assert "products" not in search_line({"a": one}, "a")


def test_the_option_searches_first(monkeypatch, tmp_path, capsys):
    asked = []
    monkeypatch.setattr("bench.measure.search.run_search", asked.append)
    assert main(["audit", "--search", "--only", "A22", "--results", str(tmp_path)]) == 0
    assert asked == [tmp_path]
    assert "python -m bench audit --search" in capsys.readouterr().out


def test_without_a_search_the_finding_says_how(capsys, tmp_path):
    assert main(["audit", "--only", "A23", "--results", str(tmp_path)]) == 0
    assert "next: python -m bench audit --search" in capsys.readouterr().out


@pytest.fixture(scope="module")
def committed():
    return read_search(RESULTS)


def write(results, name, record):
    path = search_file(results, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, record.model_dump(mode="json"))


def test_records_of_todays_question_are_read(committed):
    assert readable_searches(RESULTS) == (committed, [])


@pytest.mark.parametrize("stale", ["target", "joint", "readings_sha256", "name"])
def test_a_record_of_another_question_says_nothing_and_how_to_search_anew(committed, stale, tmp_path):
    record = committed["maskattn-unet"]
    other = Target(parameters_m=47.0, flops_g=11.0)
    changes = {
        "target": {"target": other},
        "joint": {"joint": record.joint.model_copy(update={"other": other})},
        "readings_sha256": {"readings_sha256": "0" * 64},
        "name": {},
    }
    name = "an-old-name" if stale == "name" else "maskattn-unet"
    write(tmp_path, name, record.model_copy(update=changes[stale]))
    found, left_out = readable_searches(tmp_path)
    assert found == {}
    assert left_out == [
        f"search/{name}.json is of other printed numbers or readings than today's: python -m bench audit --search"
    ]
    audit = run_audit(tmp_path, only=["A22"])
    assert (audit.findings[0].searched, audit.findings[0].next) == ("", "python -m bench audit --search")
    assert audit.damaged == {"search record 1": left_out[0]}


def test_a_damaged_search_record_is_listed_and_the_rest_is_judged(committed, capsys, tmp_path):
    write(tmp_path, "unet", committed["unet"])
    search_file(tmp_path, "maskattn-unet").write_text("{")
    assert main(["audit", "--only", "C01", "--results", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "search/maskattn-unet.json is no record of a search" in said
    assert list(readable_searches(tmp_path)[0]) == ["unet"]
    assert str(tmp_path) not in said

"""The specification search in one line, from planted records; and `--search`."""

from types import SimpleNamespace

import pytest

from bench.audit.searched import search_line
from bench.cli import main


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

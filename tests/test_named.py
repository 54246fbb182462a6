"""Suites by name, and all of them at once: each exhibit of the paper has one, and a run that several need is one."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from bench.commands.options import read_choices
from bench.errors import UserError
from bench.named import known_suites, load_named, suites_named
from bench.plan import Choice, Plan, make_plans
from bench.settings import epochs_of, sizes_of
from bench.spec import Profile, Suite
from bench.store import Store

PAPERS = {f"table{n}" for n in range(1, 10)} | {f"figure{n}" for n in range(1, 8)}


def options(**given: object) -> argparse.Namespace:
    rest = {"suite": "all", "profile": "smoke", "models": None, "datasets": None, "seeds": None, "dataset": []}
    return argparse.Namespace(**{**rest, "data_root": None, "prepared": None, **given})


def planned(choices: list[Choice], tmp_path: Path) -> Plan:
    return make_plans(choices, Store(tmp_path / "results"))


def named(name: str) -> Suite:
    return load_named("suite", name, Suite)


@pytest.fixture
def profiles() -> dict[str, Profile]:
    return {name: load_named("profile", name, Profile) for name in ("smoke", "quick", "full", "paper")}


def test_every_exhibit_of_the_paper_has_a_suite() -> None:
    assert {suite.exhibit for suite in known_suites()} - {None} == PAPERS | {"oracle", "sizes"}
    assert {suite.name for suite in suites_named("all")} >= PAPERS


def test_suites_say_what_they_show_and_the_command() -> None:
    folder = Path(__file__).parents[1] / "bench" / "suites"
    for path in folder.glob("*.yaml"):
        head = "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))
        assert f"python -m bench run --suite {path.stem}" in head, path


def test_a_run_that_several_suites_need_is_planned_once(tmp_path: Path) -> None:
    choices = read_choices(options())
    together = planned(choices, tmp_path)
    apart = [cell.spec.canonical() for choice in choices for cell in planned([choice], tmp_path).cells]
    assert len(apart) > len(set(apart)) == len(together.cells)
    assert [cell.spec.canonical() for cell in together.cells] == list(dict.fromkeys(apart))


def test_table_3_and_the_figures_of_one_network_add_no_run(tmp_path: Path) -> None:
    for more in ("table3", "table9", "figure1", "figure6", "figure7"):
        both = planned(read_choices(options(suite="table4")) + read_choices(options(suite=more)), tmp_path)
        assert len(both.cells) == 8
    both = planned(read_choices(options(suite="table8")) + read_choices(options(suite="figure5")), tmp_path)
    assert len(both.cells) == 9 + 6  # the floors at each size


@pytest.mark.parametrize(("profile", "weights"), [("smoke", (0.1, 0.5, 1.1, 1.5, 2.1)), ("full", ())])
def test_a_sweep_is_thinned_evenly_and_that_is_said(tmp_path: Path, profile: str, weights: tuple[float, ...]) -> None:
    plan = planned(read_choices(options(suite="figure4", profile=profile, seeds="0")), tmp_path)
    found = [c.spec.options["contrastive_weight"] for c in plan.cells if c.spec.model == "maskattn-unet"]
    every = tuple(round(0.1 + 0.2 * n, 1) for n in range(11))
    assert tuple(found) == (weights or every)
    said = ("6 of the 11 points of figure4: the profile smoke takes 5",)
    assert plan.skipped == (said if weights else ())


def test_figure_4_trains_for_20_epochs_at_most(profiles: dict[str, Profile]) -> None:
    assert [epochs_of(named("figure4"), profiles[name]) for name in profiles] == [2, 6, 20, 20]
    assert [epochs_of(named("table4"), profiles[name]) for name in profiles] == [2, 6, 100, 1000]


def test_quick_caps_what_is_trained_and_no_oracle(profiles: dict[str, Profile]) -> None:
    quick = profiles["quick"]
    assert sizes_of(named("table4"), quick) == ((64, 64),)
    assert sizes_of(named("table8"), quick) == ((64, 64), (48, 64), (32, 32))
    assert sizes_of(named("oracle"), quick) == named("oracle").sizes
    assert (128, 128) not in sizes_of(named("oracle"), profiles["smoke"])


def test_all_takes_of_what_is_given_what_a_suite_has(tmp_path: Path) -> None:
    folder = tmp_path / "ade"
    choices = read_choices(options(models="detr-r50", dataset=[f"ade20k={folder}"]))
    assert {choice.suite.name for choice in choices} == {"table4", "figure2", "figure2-instance"}
    assert {choice.models for choice in choices} == {("detr-r50",)}
    assert all(choice.roots.paths == {"ade20k": folder} for choice in choices)


@pytest.mark.parametrize("strange", [{"models": "unet-small"}, {"dataset": ["camvid=/nowhere"]}])
def test_what_no_suite_has_is_a_mistake(strange: dict[str, object]) -> None:
    with pytest.raises(UserError, match=r"no suite that has an exhibit has (unet-small|camvid)"):
        read_choices(options(**strange))

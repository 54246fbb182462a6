"""Damaged settings that people write or edit: suites, profiles, the paper's numbers. One clear line, or a valid one."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import yaml

from bench.data.catalog import DataRoots
from bench.errors import UserError
from bench.named import HERE, load_named
from bench.paper import numbers
from bench.plan import Choice, make_plan
from bench.spec import Profile, Suite
from bench.store import Store
from tests.robustness.mutations import damaged_bytes, damaged_json, text_of


def told(call):
    """The value, or None after one clear line."""
    try:
        return call()
    except UserError as error:
        assert str(error).strip()
        assert "\n" not in str(error), str(error)
        assert len(str(error)) < 1000, str(error)
        return None


@pytest.mark.parametrize(("kind", "name", "model"), [("suite", "scenes64", Suite), ("profile", "quick", Profile)])
def test_a_damaged_settings_file_gives_one_line(tmp_path, cases, kind, name, model):
    original = (HERE / f"{kind}s" / f"{name}.yaml").read_bytes()
    document = yaml.safe_load(original) | {"name": "mine"}
    path = tmp_path / "mine.yaml"
    for number, chance in enumerate(cases(200)):
        if number % 2:
            path.write_bytes(damaged_bytes(yaml.safe_dump(document).encode(), chance))
        else:
            path.write_bytes(yaml.safe_dump(damaged_json(document, chance)).encode("utf-8", "surrogatepass"))
        told(lambda: load_named(kind, str(path), model))


def test_a_damaged_suite_that_is_valid_plans_or_gives_one_line(tmp_path, cases):
    document = yaml.safe_load((HERE / "suites" / "scenes64.yaml").read_text()) | {"name": "mine"}
    profile = load_named("profile", "smoke", Profile)
    path, roots = tmp_path / "mine.yaml", DataRoots({}, None)
    planned = 0
    for chance in cases(120):
        path.write_bytes(yaml.safe_dump(damaged_json(document, chance)).encode("utf-8", "surrogatepass"))
        suite = told(lambda: load_named("suite", str(path), Suite))
        if suite is not None:
            choice = Choice(suite, profile, roots, tmp_path / "prepared")
            planned += told(partial(make_plan, choice, Store(tmp_path / "results"))) is not None
    assert planned > 10


def test_damaged_numbers_of_the_paper_give_one_line(tmp_path, cases):
    content = yaml.load(numbers.PAPER_YAML.read_bytes(), Loader=numbers.LOADER)
    for number, chance in enumerate(cases(40)):
        path = tmp_path / f"paper{number}.yaml"  # each path is read once
        document = copy.copy(content)
        table = chance.choice(list(content["tables"]))
        document["tables"] = {table: damaged_json(content["tables"][table], chance)}
        path.write_bytes(text_of(document))  # JSON is YAML
        told(partial(numbers.paper, path))
    numbers.content.cache_clear()
    numbers.paper.cache_clear()


def test_yaml_builds_no_objects(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: !!python/object/apply:os.system ['echo owned > owned.txt']\n")
    assert told(lambda: load_named("suite", str(path), Suite)) is None
    assert not (tmp_path / "owned.txt").exists()

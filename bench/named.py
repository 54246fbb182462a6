"""Suites and profiles by name: the YAML files that come with the program, or a user's own by its path. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from bench.errors import UserError, unknown
from bench.plain_yaml import read_yaml
from bench.spec import Suite, invalid

HERE = Path(__file__).parent
OURS = ("oracle", "sizes")  # exhibits that the paper does not have
ALL = "all"  # in a suite's place: every suite that has an exhibit
T = TypeVar("T", bound=BaseModel)


def known_suites() -> list[Suite]:
    """Those of bench/suites/, the paper's exhibits first."""
    suites = [load_named("suite", path.stem, Suite) for path in (HERE / "suites").glob("*.yaml")]
    return sorted(suites, key=lambda suite: (suite.exhibit in (None, *OURS), suite.name))


def suites_named(name: str) -> list[Suite]:
    """One suite, or with `all` every one that has an exhibit. Raises UserError."""
    if name == ALL:
        return [suite for suite in known_suites() if suite.exhibit is not None]
    return [load_named("suite", name, Suite)]


def load_named(kind: str, name: str, model: type[T]) -> T:
    """bench/<kind>s/<name>.yaml, or the file itself where `name` is a path. Raises UserError."""
    folder = HERE / f"{kind}s"
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    path = Path(name) if name.endswith((".yaml", ".yml")) else folder / f"{name}.yaml"
    if not path.is_file():
        if path.suffix and "/" in name:
            raise UserError(f"no {kind} file at {name}; give a path to a YAML file or one of: {', '.join(known)}")
        raise unknown(kind, name, known)
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: a {kind} is a mapping of keys; see bench/{kind}s/{known[0]}.yaml")
    try:
        loaded = model.model_validate(content)
    except ValidationError as error:
        raise invalid(error, str(path), model) from None
    given = str(content.get("name"))
    if given in known and path.resolve().parent != folder and load_named(kind, given, model) != loaded:
        raise UserError(
            f"{path}: the name {given} belongs to bench/{kind}s/{given}.yaml; give this {kind} another name"
        )
    return loaded

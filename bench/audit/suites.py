"""Which suite would decide a claim: any of bench/suites with its task, dataset and size, its own exhibit first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path

import yaml
from pydantic import ValidationError

from bench.audit.runs import MIN_SEEDS, Wanted, network
from bench.errors import UserError
from bench.paper.numbers import LOADER
from bench.spec import Suite, invalid
from models.registry import REGISTRY, UnknownNameError

SUITES = Path(__file__).parents[1] / "suites"


@cache
def all_suites(folder: Path = SUITES) -> tuple[Suite, ...]:
    return tuple(_read(path) for path in sorted(folder.glob("*.yaml")))


def next_step(asked: Sequence[Wanted], exhibits: Collection[str], suites: Sequence[Suite]) -> tuple[str, Wanted | None]:
    """(the commands that run all of it, None), or ('', what no suite can run).

    Each command is for the suite that has most of what is left; `exhibits`: the paper's, whose suites come first.
    """
    left, commands = list(asked), []
    while left:
        covered = {suite.name: [one for one in left if _covers(suite, one)] for suite in suites}
        best = min(suites, key=lambda s: (-len(covered[s.name]), s.exhibit not in exhibits, -_own(s, left), s.name))
        if not covered[best.name]:
            return "", left[0]
        commands.append(_command(best, covered[best.name]))
        left = [one for one in left if one not in covered[best.name]]
    return "; ".join(commands), None


def _covers(suite: Suite, one: Wanted) -> bool:
    """`--models` adds any registered network to a suite, as it comes. A suite that trains shorter decides nothing."""
    if (suite.task, one.dataset in suite.datasets, one.size in suite.sizes) != (one.task, True, True):
        return False
    if (
        suite.epochs is not None
        or one.percent not in suite.train_percent
        or not any(REGISTRY[entry.name].is_network for entry in suite.models)
    ):
        return False
    own = [entry for entry in suite.models if entry.name == one.model]
    made = [network(entry.name, entry.options) for entry in own] or [network(one.model, {})]
    return one.network in made


def _own(suite: Suite, asked: Sequence[Wanted]) -> int:
    """How many of its own rows are asked for."""
    names = {one.model for one in asked}
    return sum(entry.name in names for entry in suite.models)


def _command(suite: Suite, asked: Sequence[Wanted]) -> str:
    models = ",".join(dict.fromkeys(one.model for one in asked))
    datasets = ",".join(dict.fromkeys(one.dataset for one in asked))
    seeds = "" if len(suite.seeds) >= MIN_SEEDS else f" --seeds {','.join(map(str, range(MIN_SEEDS)))}"
    chosen = f"--models {models} --datasets {datasets}{seeds}"
    return f"python -m bench run --suite {suite.name} {chosen} --profile full --data-root DIR"


def _read(path: Path) -> Suite:
    try:
        return Suite.model_validate(yaml.load(path.read_bytes(), Loader=LOADER))
    except ValidationError as error:
        raise invalid(error, str(path), Suite) from None
    except (yaml.YAMLError, UnknownNameError) as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}") from None

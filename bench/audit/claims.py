"""Claims of the paper and findings about it, as data: paper.yaml's `claims` and findings.yaml. A new one needs no code.

What a claim says is tested by one operation over operands (`bench.audit.operations`, `bench.audit.operands`); the field
`holds` is what the auditors found by hand and decides nothing here: the tests compare it with the verdicts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator

from bench.audit.operands import Lookup, OtherLayerError, OutsideNumber, Printed, evaluate, names, parse
from bench.audit.operations import OPERATIONS, Comparison, Given
from bench.errors import UserError, unknown
from bench.paper.numbers import LOADER, PAPER_YAML, content
from bench.spec import Frozen, invalid

FINDINGS_YAML = Path(__file__).with_name("findings.yaml")
T = TypeVar("T", bound=BaseModel)


class Test(Frozen):
    """One operation over operands. `otherwise`: the verdict where it is false ('undefined': the paper does not say
    whether it must be true); `note`: what a reader must know.
    """

    __test__ = False  # pytest: this is no test of ours

    op: str
    args: tuple[Any, ...] = ()
    stated: tuple[float, ...] = ()
    unit: str = ""
    tolerance: float = Field(0.0, ge=0)
    elsewhere: tuple[Any, ...] = ()
    otherwise: Literal["fails", "impossible", "undefined"] = "fails"
    note: str = ""

    @field_validator("stated", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, (int, float)) else value or ()

    def comparisons(self, lookup: Lookup, slack: float = 0.0) -> list[Comparison]:
        """With the values that `lookup` gives; `slack` is the least tolerance. Raises UserError where units differ."""
        args = [evaluate(parse(raw, self.op), lookup) for raw in self.args]
        elsewhere = tuple(evaluate(parse(raw, self.op), lookup) for raw in self.elsewhere)
        given = Given(self.stated, max(self.tolerance, slack), elsewhere)
        made = OPERATIONS[self.op].compare(args, given)
        return [self._with_unit(one) for one in made] if self.unit else made

    def _with_unit(self, one: Comparison) -> Comparison:
        """Pure numbers take the stated unit."""
        if one.left.unit not in ("", self.unit):
            raise UserError(f"{self.op} gives {one.left.unit}, and the unit stated is {self.unit}")
        return replace(one, left=replace(one.left, unit=self.unit))

    @property
    def names(self) -> tuple[str, ...]:
        """The ids it needs, each once."""
        given = [parse(raw, self.op) for raw in (*self.args, *self.elsewhere)]
        return tuple(dict.fromkeys(name for operand in given for name in names(operand)))


class Statement(Test):
    """Something the paper says or implies. `cost` and `measured` replace the test in these layers; without them the
    same operation is applied to counted and measured values. `leaves_out`: what the paper would have to say.
    """

    id: str = Field("", pattern=r"^([AC]\d\d(\.\d+)?)?$")
    says: str
    leaves_out: str = ""
    cost: Test | None = None
    measured: Test | None = None


class Claim(Statement):
    """A claim of the paper. `lines` are lines of the text that paper.yaml names. `kind`: '' for its sentences,
    'cross_table' for numbers that it prints twice, 'auditors' for a comparison that the paper does not make.
    """

    section: str
    lines: tuple[int, ...]
    holds: bool | None = Field(description="what the auditors found by hand; no verdict is taken from it")
    audit: tuple[str, ...] = Field((), description="the findings about it")
    kind: Literal["", "cross_table", "auditors"] = ""
    computed: float | None = None
    computed_differences: tuple[float, ...] = ()


class Finding(Frozen):
    """What the audit found, of one or several claims. `tag` is the auditors' own word for it."""

    id: str = Field(pattern=r"^A\d\d$")
    title: str
    tag: str
    weight: str
    claims: tuple[str, ...] = ()
    found: str
    leaves_out: str = ""
    statements: tuple[Statement, ...] = ()
    search: str = Field("", description="the network whose printed cost the specification search looks for")
    next: str = Field("", description="what would decide it, where a statement's verdict does not say")


@dataclass(frozen=True)
class Book:
    """All that is audited. `weights`: the groups of findings, the heaviest first, with their titles."""

    claims: tuple[Claim, ...]
    findings: tuple[Finding, ...]
    weights: Mapping[str, str]
    printed: Printed


def read_book(paper_yaml: Path = PAPER_YAML, findings_yaml: Path = FINDINGS_YAML) -> Book:
    """Reads and checks claims, findings and every operand. Raises UserError with the first thing that is wrong."""
    given = _yaml(findings_yaml)
    outside = {name: _read(OutsideNumber, one, f"outside {name}") for name, one in given["outside"].items()}
    printed = Printed.read(outside, paper_yaml)
    claims = tuple(_claim(raw) for raw in content(paper_yaml)["claims"])
    findings = tuple(_finding(raw, claims) for raw in given["findings"])
    _check_ids([*claims, *findings])
    for statement in (*claims, *(one for finding in findings for one in finding.statements)):
        for test in (statement, statement.cost, statement.measured):
            if test is not None:
                _check_test(test, printed, statement.id)
    _check_links(claims, findings, given["weights"])
    return Book(claims, findings, given["weights"], printed)


def _yaml(path: Path) -> dict[str, Any]:
    try:
        return dict(yaml.load(path.read_bytes(), Loader=LOADER))
    except (yaml.YAMLError, OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())}") from None


def _claim(raw: Mapping[str, Any]) -> Claim:
    return _read(Claim, raw, f"claim {raw.get('id')}")


def _finding(raw: Mapping[str, Any], claims: Iterable[Claim]) -> Finding:
    """With its statements numbered, and the claims that name it."""
    own = raw.get("id", "")
    named = [claim.id for claim in claims if own in claim.audit]
    statements = [{"id": f"{own}.{n}", **one} for n, one in enumerate(raw.get("statements", ()), 1)]
    all_claims = list(dict.fromkeys([*named, *raw.get("claims", ())]))
    return _read(Finding, {**raw, "claims": all_claims, "statements": statements}, f"finding {own}")


def _read(model: type[T], raw: Mapping[str, Any], where: str) -> T:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise invalid(error, where, model) from None


def _check_ids(entries: Iterable[Claim | Finding]) -> None:
    seen: set[str] = set()
    for entry in entries:
        if entry.id in seen:
            raise UserError(f"two claims or findings have the id {entry.id}; ids are unique")
        seen.add(entry.id)


def _check_test(test: Test, printed: Printed, where: str) -> None:
    """The operation is known, takes these operands and stated numbers, and every id is known."""
    if test.op not in OPERATIONS:
        raise unknown("operation", test.op, OPERATIONS, where)
    complaint = OPERATIONS[test.op].complaint(len(test.args), len(test.stated))
    if complaint:
        raise UserError(f"{where}: {test.op} {complaint}")
    if test.elsewhere and len(test.elsewhere) != len(test.args):
        raise UserError(f"{where}: elsewhere has {len(test.elsewhere)} operands for {len(test.args)}; one each")
    try:
        for name in test.names:
            printed.check(name)
        test.comparisons(printed.lookup)
    except OtherLayerError:
        return
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _check_links(claims: Iterable[Claim], findings: Iterable[Finding], weights: Mapping[str, str]) -> None:
    known_claims, known_findings = {claim.id for claim in claims}, {finding.id for finding in findings}
    for claim in claims:
        for name in claim.audit:
            if name not in known_findings:
                raise unknown("finding", name, known_findings, claim.id)
    for finding in findings:
        for name in finding.claims:
            if name not in known_claims:
                raise unknown("claim", name, known_claims, finding.id)
        if finding.weight not in weights:
            raise unknown("weight", finding.weight, weights, finding.id)

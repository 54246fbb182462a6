"""The audit: every claim and finding, judged by the layers asked for. All that is printed or rendered reads this."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.audit import arithmetic, cost, measured
from bench.audit.claims import Book, Claim, Finding, Statement, read_book
from bench.audit.operands import OtherLayerError, Printed
from bench.audit.operations import OPERATIONS
from bench.audit.ruling import AGAINST, DECIDED, LAYERS, Layer, Ruling, Verdict, heaviest
from bench.audit.runs import reproductions
from bench.audit.searched import COMMAND as SEARCH
from bench.audit.searched import search_line
from bench.audit.suites import all_suites
from bench.errors import unknown
from bench.measure.cost_records import CostRecord, readable_costs
from bench.measure.search_records import SearchRecord, readable_searches
from bench.record import Record
from bench.spec import Frozen, Suite
from bench.store import Store

AUDITORS = "auditors"  # the kind of a claim that the paper does not make: whatever comes out, nothing is owed


class OperandShown(Frozen):
    """One number behind a claim: `value` is None where it is counted or measured, not printed."""

    id: str
    value: float | None
    unit: str
    where: str


class Judged(Frozen):
    """A claim, or a statement of a finding (`A21.1`), with what each layer says. `kind` and `section` are of claims."""

    id: str
    kind: str
    section: str
    lines: tuple[int, ...]
    says: str
    operation: str
    meaning: str
    stated: tuple[float, ...]
    tolerance: float
    operands: tuple[OperandShown, ...]
    note: str
    findings: tuple[str, ...]
    rulings: tuple[Ruling, ...]

    @property
    def is_against(self) -> bool:
        return self.kind != AUDITORS and self.is_false

    @property
    def is_false(self) -> bool:
        return any(ruling.verdict in AGAINST for ruling in self.rulings)

    def ruling(self, layer: Layer) -> Ruling | None:
        return next((ruling for ruling in self.rulings if ruling.layer == layer), None)


class JudgedFinding(Frozen):
    """`verdict` follows from the statements and claims; `tag` is the auditors' word, written by hand. `searched`: what
    the specification search says to it.
    """

    id: str
    title: str
    tag: str
    weight: str
    found: str
    leaves_out: str
    claims: tuple[str, ...]
    statements: tuple[Judged, ...]
    verdict: Verdict
    searched: str
    next: str


class Audit(Frozen):
    """`weights`: the groups of findings with their titles. `damaged`: records that could not be read, and why."""

    schema_version: int = 1
    title: str
    arxiv: str
    layers: tuple[Layer, ...]
    claims: tuple[Judged, ...]
    findings: tuple[JudgedFinding, ...]
    weights: Mapping[str, str]
    damaged: Mapping[str, str]

    def count(self, layer: Layer) -> Counter[Verdict]:
        """How many claims have each verdict in a layer."""
        rulings = (claim.ruling(layer) for claim in self.claims)
        return Counter(ruling.verdict for ruling in rulings if ruling)

    def holding(self, operation: str) -> int:
        """How many claims of one operation hold by arithmetic."""
        found = (claim.ruling("arithmetic") for claim in self.claims if claim.operation == operation)
        return sum(ruling is not None and ruling.verdict == "holds" for ruling in found)

    def by_weight(self) -> list[tuple[str, list[JudgedFinding]]]:
        groups = [(title, [f for f in self.findings if f.weight == name]) for name, title in self.weights.items()]
        return [(title, group) for title, group in groups if group]


@dataclass(frozen=True)
class Evidence:
    """What the layers read: the paper, the counted costs, the finished runs, and the suites that could be run."""

    printed: Printed
    costs: Sequence[CostRecord] = ()
    records: Sequence[Record] = ()
    suites: Sequence[Suite] = ()
    searches: Mapping[str, SearchRecord] = field(default_factory=dict)


def run_audit(
    results: Path, layers: Collection[Layer] = LAYERS, only: Collection[str] = (), book: Book | None = None
) -> Audit:
    """Judges from files alone: counts nothing, trains nothing. `only`: ids of claims and findings, with what hangs on
    them. Raises UserError for an unknown id and for claims that cannot be read.
    """
    book = book or read_book()
    claims, findings = _chosen(book, only)
    records, damaged = reproductions(Store(results)) if "measured" in layers else ([], {})
    costs, left_out = readable_costs(results) if "cost" in layers else ([], [])
    searches, unsearched = readable_searches(results) if "cost" in layers else ({}, [])
    suites = all_suites() if "measured" in layers else ()
    evidence = Evidence(book.printed, costs, records, suites, searches)
    judged = {claim.id: _judge(claim, evidence, layers) for claim in book.claims}
    source = book.printed.facts["source"]
    return Audit(
        title=source["title"],
        arxiv=source["arxiv"],
        layers=tuple(layer for layer in LAYERS if layer in layers),
        claims=tuple(judged[claim.id] for claim in claims),
        findings=tuple(_judge_finding(finding, judged, evidence, layers) for finding in findings),
        weights=book.weights,
        damaged=damaged | _numbered("cost record", left_out) | _numbered("search record", unsearched),
    )


def _numbered(name: str, problems: Sequence[str]) -> dict[str, str]:
    return {f"{name} {number}": problem for number, problem in enumerate(problems, start=1)}


def _chosen(book: Book, only: Collection[str]) -> tuple[Sequence[Claim], Sequence[Finding]]:
    if not only:
        return book.claims, book.findings
    known = {claim.id for claim in book.claims} | {finding.id for finding in book.findings}
    for name in only:
        if name not in known:
            raise unknown("claim or finding", name, known)
    return [c for c in book.claims if c.id in only], [f for f in book.findings if f.id in only]


def _judge(statement: Statement, evidence: Evidence, layers: Collection[Layer]) -> Judged:
    claim = statement if isinstance(statement, Claim) else None
    if (claim and claim.kind) or statement.otherwise == "undefined":
        layers = [layer for layer in layers if layer == "arithmetic"]  # printed numbers side by side
    found: Mapping[Layer, Ruling | None] = {
        "arithmetic": arithmetic.judge(statement, evidence.printed) if "arithmetic" in layers else None,
        "cost": cost.judge(statement, evidence.printed, evidence.costs) if "cost" in layers else None,
        "measured": measured.judge(statement, evidence.printed, evidence.records, evidence.suites)
        if "measured" in layers
        else None,
    }
    return Judged(
        id=statement.id,
        kind=claim.kind if claim else "",
        section=claim.section if claim else "",
        lines=claim.lines if claim else (),
        says=statement.says,
        operation=statement.op,
        meaning=OPERATIONS[statement.op].meaning,
        stated=statement.stated,
        tolerance=statement.tolerance,
        operands=tuple(_shown(name, evidence.printed) for name in statement.names),
        note=statement.note,
        findings=claim.audit if claim else (),
        rulings=tuple(ruling for ruling in found.values() if ruling),
    )


def _shown(name: str, printed: Printed) -> OperandShown:
    try:
        quantity = printed.lookup(name)
    except OtherLayerError:
        return OperandShown(id=name, value=None, unit="", where=printed.where(name))
    return OperandShown(id=name, value=quantity.value, unit=quantity.unit, where=printed.where(name))


def _judge_finding(
    finding: Finding, judged: Mapping[str, Judged], evidence: Evidence, layers: Collection[Layer]
) -> JudgedFinding:
    statements = tuple(_judge(statement, evidence, layers) for statement in finding.statements)
    claimed = [ruling for name in finding.claims if judged[name].kind != AUDITORS for ruling in judged[name].rulings]
    own = [ruling for one in statements for ruling in one.rulings]
    used = {ruling.layer for ruling in own}
    steps = (ruling.next for ruling in (*own, *claimed) if ruling.next and ruling.layer in used)
    searched = search_line(evidence.searches, finding.search)
    search = SEARCH if finding.search and not searched else ""
    return JudgedFinding(
        id=finding.id,
        title=finding.title,
        tag=finding.tag,
        weight=finding.weight,
        found=finding.found,
        leaves_out=finding.leaves_out,
        claims=finding.claims,
        statements=statements,
        verdict=_verdict(statements, claimed, bool(finding.leaves_out)),
        searched=searched,
        next=finding.next or search or next(steps, ""),
    )


def _verdict(statements: Sequence[Judged], claimed: Sequence[Ruling], is_open: bool) -> Verdict:
    """The heaviest verdict against the paper; else undefined where the paper leaves something out; else not run where
    a statement of the finding's own is not decided; else what was decided. A finding is about what is printed, so of
    its claims the arithmetic counts alone; what its own statements ask of other layers counts too.
    """
    verdicts = [ruling.verdict for one in statements for ruling in one.rulings]
    verdicts += [ruling.verdict for ruling in claimed if ruling.layer == "arithmetic"]
    against = heaviest(verdict for verdict in verdicts if verdict in AGAINST)
    if against or is_open:
        return against or "undefined"
    if any(not any(r.verdict in DECIDED for r in one.rulings) for one in statements):
        return "not run"
    return heaviest(verdict for verdict in verdicts if verdict in DECIDED) or "undefined"

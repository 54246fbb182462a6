"""The audit as plain lines for a terminal. No library beyond the standard one."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping

from bench.audit.audit import Audit, Judged, JudgedFinding
from bench.audit.quantity import amount
from bench.audit.ruling import AGAINST, VERDICTS, Ruling, Verdict

COLUMNS: tuple[tuple[str, tuple[Verdict, ...]], ...] = (  # of the summary; a measured claim has words of its own
    ("holds", ("holds", "reproduced")),
    ("fails", ("fails", "not reproduced")),
    ("impossible", ("impossible",)),
    ("tie", ("tie",)),
    ("undefined", ("undefined",)),
    ("not run", ("not run",)),
)
WIDTH = 110


def summary(audit: Audit) -> Iterator[str]:
    """What is audited, how many claims have each verdict, and what speaks against the paper."""
    yield f"{audit.title} (arXiv {audit.arxiv})"
    yield f"{len(audit.claims)} claims and {len(audit.findings)} findings, judged from files: nothing is run for this."
    yield ""
    yield from counts(audit)
    if "arithmetic" in audit.layers:
        yield repeats(audit)
    yield ""
    yield from _damaged(audit)
    yield "What speaks against the paper, the weightiest first; in brackets the claims that fail with it"
    claims = {claim.id: claim for claim in audit.claims}
    for _, group in audit.by_weight():
        yield from (line for one in group if one.verdict in AGAINST for line in _short_finding(one, claims))
    told = {name for finding in audit.findings if finding.verdict in AGAINST for name in finding.claims}
    yield from (line for claim in audit.claims if claim.is_against and claim.id not in told for line in _short(claim))
    yield ""
    yield from _not_owed(audit)
    yield "every claim: --all;  some, in full: --only C57,A21;  for programs: --json;  the words: docs/audit.md"


def everything(audit: Audit) -> Iterator[str]:
    """Every finding and claim with each of its rulings."""
    yield from counts(audit)
    yield from _damaged(audit)
    for title, group in audit.by_weight():
        yield ""
        yield title
        for finding in group:
            yield f"{finding.id}  {finding.verdict}: {finding.title}"
            yield from (f"    {line}" for one in finding.statements for line in _rulings(one))
    yield ""
    yield "Claims"
    for claim in audit.claims:
        yield f"{claim.id}  {claim.says} ({section(claim.section)})"
        yield from (f"    {line}" for line in _rulings(claim))


def in_full(audit: Audit) -> Iterator[str]:
    """The chosen findings and claims with all that is known of them."""
    yield from _damaged(audit)
    for finding in audit.findings:
        yield f"{finding.id}  {finding.verdict}: {finding.title}"
        yield from _wrapped(finding.found)
        if finding.leaves_out:
            yield from _wrapped(f"The paper leaves out: {finding.leaves_out}.")
        for one in finding.statements:
            yield from (f"    {line}" for line in _full(one))
        yield from _wrapped(finding.searched)
        yield f"    claims: {', '.join(finding.claims) or 'none'}"
        yield from _next(finding.next)
        yield ""
    for claim in audit.claims:
        yield from _full(claim)
        yield ""


def counts(audit: Audit) -> Iterator[str]:
    """One line a layer, and one for the findings."""
    for name, numbers in (("", [name for name, _ in COLUMNS]), *count_rows(audit)):
        yield f"{name:12}" + "".join(f"{number:>12}" for number in numbers)


def count_rows(audit: Audit) -> list[tuple[str, list[str]]]:
    """(layer or 'findings', how many have each of COLUMNS, '-' for none)."""
    found: list[tuple[str, Counter[Verdict]]] = [(layer, audit.count(layer)) for layer in audit.layers]
    found.append(("findings", Counter(finding.verdict for finding in audit.findings)))
    return [(n, [str(sum(c[v] for v in verdicts) or "-") for _, verdicts in COLUMNS]) for n, c in found]


def repeats(audit: Audit) -> str:
    """How little some of what holds says."""
    return (
        f"Of the {audit.count('arithmetic')['holds']} claims that hold by arithmetic {audit.holding('restate')} only "
        f"repeat numbers of a table and {audit.holding('setting')} a setting."
    )


def section(name: str) -> str:
    """'Sec. 4.3', 'App. B.2', 'Table 4 caption'."""
    if name[:1].isdigit():
        return f"Sec. {name}"
    return f"App. {name}" if name.startswith("B.") else name


def _not_owed(audit: Audit) -> Iterator[str]:
    """Comparisons that the paper does not make: told apart, since they speak against nothing that it says."""
    made = [claim for claim in audit.claims if claim.is_false and not claim.is_against]
    if made:
        yield "Counted above as fails, but comparisons of the auditors: the paper does not make them"
        yield from (line for claim in made for line in _short(claim))
        yield ""


def _damaged(audit: Audit) -> Iterator[str]:
    for name, problem in audit.damaged.items():
        yield f"left out: {name}: {problem}"


def _short_finding(finding: JudgedFinding, claims: Mapping[str, Judged]) -> Iterator[str]:
    """A line for the finding and one for its heaviest evidence, of its own statements before the claims."""
    failing = [claims[name] for name in finding.claims if name in claims and claims[name].is_against]
    named = f"  [{', '.join(claim.id for claim in failing)}]" if failing else ""
    yield f"{finding.id}  {finding.verdict}: {finding.title}{named}"
    found = [(one, r) for one in (*finding.statements, *failing) for r in one.rulings if r.verdict in AGAINST]
    one, ruling = min(found, key=lambda pair: VERDICTS.index(pair[1].verdict))
    yield f"       {one.id if one in failing else one.says}: {_told(one, ruling)}"


def _short(claim: Judged) -> Iterator[str]:
    against = [ruling for ruling in claim.rulings if ruling.verdict in AGAINST]
    yield f"{claim.id}  {against[0].verdict}: {claim.says} ({section(claim.section)})"
    yield from (f"       {_told(claim, ruling)}" for ruling in against)


def _told(one: Judged, ruling: Ruling) -> str:
    """The evidence, with what a reader must know of the test."""
    return ruling.evidence + (f" ({one.note})" if one.note and ruling.layer == "arithmetic" else "")


def _rulings(one: Judged) -> Iterator[str]:
    for ruling in one.rulings:
        yield f"{ruling.layer}, {ruling.verdict}: {_told(one, ruling)}"
        yield from _next(ruling.next)


def _full(one: Judged) -> Iterator[str]:
    where = f" ({section(one.section)}, lines {', '.join(map(str, one.lines))} of the text)" if one.section else ""
    yield f"{one.id}  {one.says}{where}"
    yield f"    test: {one.operation}: {one.meaning}{_stated(one)}"
    for operand in one.operands:
        value = "" if operand.value is None else f" = {amount(operand.value, operand.unit)}"
        yield f"    {operand.id}{value}   {operand.where}"
    yield from (f"    {line}" for line in _rulings(one))
    if one.findings:
        yield f"    findings: {', '.join(one.findings)}"


def _stated(one: Judged) -> str:
    if not one.stated:
        return ""
    tolerance = f" ± {one.tolerance:g}" if one.tolerance else ""
    return f"; stated: {', '.join(f'{number:g}' for number in one.stated)}{tolerance}"


def _next(command: str) -> Iterator[str]:
    if command:
        yield f"    next: {command}"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="    ", subsequent_indent="    ")

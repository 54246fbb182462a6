"""The audit as pages: reports/audit.md and audit.html, for a reader who knows nothing of this project."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bench.audit.audit import Audit, Judged, JudgedFinding
from bench.audit.quantity import amount, plain
from bench.audit.ruling import AGAINST, MEANING, Ruling
from bench.audit.runs import MIN_SEEDS
from bench.audit.show import COLUMNS, count_rows, repeats, section
from bench.report.facts import Facts
from bench.report.render.markdown import bullets, escape, facts_lines
from bench.report.search import search_section
from bench.report.site.html import Frame, address, render

TITLE = "Does each claim of the paper hold?"
LAYERS = Facts(
    "Three layers, each with its own numbers in the same test",
    ("Layer", "Which numbers", "What it costs to run"),
    (
        ("arithmetic", "those that the paper prints", "nothing"),
        (
            "cost",
            "DETR and Mask2Former as this program counts them, at 128x128 unless the line says otherwise. The printed "
            "FLOPs and parameters of the proposed network and of U-Net stay, since the text determines neither network",
            "python -m bench cost --all, minutes",
        ),
        (
            "measured",
            "scores of finished runs: the claim's own dataset, size and task, the whole official splits, profile full "
            f"or paper, {MIN_SEEDS} seeds or more of each network",
            "the command that the line names, days on a GPU",
        ),
    ),
)
INTERVALS = (
    "A measured claim is judged by a 95 % interval over seeds (Welch's t for the difference of two networks; where a "
    "claim has several comparisons they share the 5 %). It is reproduced where the whole interval bears it out, not "
    "reproduced where the whole interval contradicts it, and a tie in between. A printed number counts as reproduced "
    "where the interval lies within 1 point of it; the paper prints no spread, so the 1 point is ours. AP is COCO's, "
    "the mean over IoU .50:.05:.95, except in Table 2, where AP@k is taken at the IoU threshold that its caption names."
)
NOT_CLAIMED = (
    "A verdict is about the printed sentence and numbers. It says nothing about why they are as they are. A claim that "
    "holds in the arithmetic layer only agrees with the paper's own tables. The text determines neither the proposed "
    "network nor which U-Net it is compared with. No claim is judged by what we count for them: their printed FLOPs "
    "and parameters stay in the cost layer, a claim with nothing else to count has no cost ruling, and our counts "
    "stand in reports/costs.md and in findings that say whose they are. What is trained for the measured layer is the "
    "reading that docs/decisions.md gives and explains."
)


def audit_pages(audit: Audit, root: Path, results: str) -> dict[str, str]:
    """File name -> content. `root` is the store's folder, `results` the way to it from the report."""
    searched = search_section(root)
    return {"audit.md": render_markdown(audit, searched, results), "audit.html": render_html(audit, searched, results)}


def intro(audit: Audit) -> str:
    kinds = Counter(claim.kind for claim in audit.claims)
    return (
        f"The paper is {audit.title} (arXiv {audit.arxiv}). {len(audit.claims)} claims, C01 and on: {kinds['']} are "
        "what it says, put as a comparison of numbers or as a setting; "
        f"{kinds['cross_table']} are that its tables agree where they print a number twice; {kinds['auditors']} are "
        "comparisons of the auditors, which it does not make, and say so. A setting that it states once has nothing to "
        "be compared with and is undefined, which is no fault of the sentence. What reading it closely showed beyond "
        f"them are {len(audit.findings)} findings, A01 and on. Each is data with one small operation, and the verdict "
        "is computed from the numbers, never typed."
    )


def summary(audit: Audit) -> Facts:
    heads = ("Layer", *(name for name, _ in COLUMNS))
    notes = (
        "A layer judges the claims that have numbers in it. In the layer 'measured' the column holds counts reproduced "
        "and the column fails not reproduced. A finding has the weightiest verdict against the paper among its "
        "statements, in any layer, and its claims, by arithmetic; without one it is undefined where the paper leaves "
        "something out.",
        repeats(audit),
    )
    lines = tuple((name, *numbers) for name, numbers in count_rows(audit))
    return Facts("How many claims, by layer and verdict", heads, lines, notes)


def words() -> Facts:
    return Facts("What the verdicts mean", ("Verdict", "Meaning"), tuple(MEANING.items()))


def test_of(one: Judged) -> str:
    """'100 (a − b) / b is the stated number, 11.5 ± 0.5'."""
    if not one.stated:
        return one.meaning
    tolerance = f" ± {plain(one.tolerance)}" if one.tolerance else ""
    return f"{one.meaning}: {', '.join(map(plain, one.stated))}{tolerance}"


def operands_of(one: Judged) -> list[str]:
    """'45.3 %, Table 5, line 332: UNet, mIoU', each operand once."""
    lines = [(o.where if o.value is None else f"{amount(o.value, o.unit)}, {o.where}") for o in one.operands]
    return list(dict.fromkeys(lines))


def place(one: Judged) -> str:
    """'App. B.2, line 334 of the text'; '' of a finding's statement."""
    if not one.section:
        return ""
    lines = ", ".join(map(str, one.lines))
    return f"{section(one.section)}, line{'s' if len(one.lines) > 1 else ''} {lines} of the text"


def render_html(audit: Audit, searched: Sequence[Facts], results: str) -> str:
    """All text is escaped by the template's environment."""
    return render(
        "audit.html.j2",
        Frame(),
        audit=audit,
        title=TITLE,
        intro=intro(audit),
        tables=(summary(audit), words(), LAYERS),
        paragraphs=(INTERVALS, NOT_CLAIMED),
        searched=searched,
        results=results,
        against=AGAINST,
        test_of=test_of,
        operands_of=operands_of,
        place=place,
        told=told,
    )


def render_markdown(audit: Audit, searched: Sequence[Facts], results: str) -> str:
    lines = [f"# {TITLE}", "", escape(intro(audit)), ""]
    for facts in (summary(audit), words(), LAYERS):
        lines += facts_lines(facts)
    lines += [escape(INTERVALS), "", escape(NOT_CLAIMED), ""]
    lines += bullets("Damaged records, left out", [f"{name}: {why}" for name, why in audit.damaged.items()])
    lines += ["## Findings, the weightiest first", ""]
    for title, group in audit.by_weight():
        lines += [f"### {escape(title)}", ""]
        for finding in group:
            lines += [f"**{finding.id}, {finding.verdict}: {escape(finding.title)}**", "", escape(finding.found), ""]
            if finding.leaves_out:
                lines += [f"The paper leaves out: {escape(finding.leaves_out)}.", ""]
            for one in finding.statements:
                lines += [f"- {one.id} {escape(one.says)}", *_rulings(one, results)]
            lines += [f"- {escape(finding.searched)}"] if finding.searched else []
            lines += [f"- Claims: {', '.join(finding.claims) or 'none'}"]
            lines += [f"- Next: `{finding.next}`"] if finding.next not in ("", *told(finding)) else []
            lines.append("")
    lines += ["## Is there a reading of the paper that has its numbers?", ""]
    lines += [line for facts in searched for line in facts_lines(facts)]
    lines += ["## Claims, in the order of the paper", ""]
    for claim in audit.claims:
        lines += [f"**{claim.id} {escape(claim.says)}** ({escape(place(claim))})", ""]
        lines += [f"- Test: {escape(test_of(claim))}"]
        lines += [f"- Of: {escape('; '.join(operands_of(claim)))}"] if claim.operands else []
        lines += [*_rulings(claim, results, "- "), f"- Findings: {', '.join(claim.findings) or 'none'}", ""]
    return "\n".join(lines).rstrip() + "\n"


def told(finding: JudgedFinding) -> set[str]:
    """The next steps that the statements' own lines give."""
    return {ruling.next for one in finding.statements for ruling in one.rulings}


def _rulings(one: Judged, results: str, bullet: str = "  - ") -> list[str]:
    lines = [f"{bullet}{ruling.layer}, **{ruling.verdict}**: {_evidence(ruling, results)}" for ruling in one.rulings]
    return [*lines, f"{bullet}Note: {escape(one.note)}"] if one.note else lines


def _evidence(ruling: Ruling, results: str) -> str:
    following = f". Next: `{ruling.next}`" if ruling.next else ""
    runs = ", ".join(f"[{escape(run)}]({results}/{address(run)}/metrics.json)" for run in ruling.runs)
    return escape(ruling.evidence) + following + (f". Runs: {runs}" if runs else "")

"""What reports/index.html answers in one screen: what holds, what does not, what was not run; and what each exhibit is
based on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.audit.audit import Audit, JudgedFinding
from bench.audit.ruling import AGAINST, Layer, Verdict
from bench.paper.numbers import cells_of
from bench.report.exhibit import Exhibit, Section
from bench.report.site.html import address
from bench.settings import profile_named
from bench.spec import Suite

PAPERS = (*(f"table{n}" for n in range(1, 10)), *(f"figure{n}" for n in range(1, 8)))  # the paper's exhibits
OTHERS = ("oracle", "sizes", "masks", "masks64", "scenes64", "costs", "protocols")  # ours, in the order shown
OPEN: tuple[Verdict, ...] = ("not run", "tie", "undefined")
APART = ("guest", "setting", "paper")  # kinds of rows that no suite plans
NO_REPRODUCTION, NOT_BESIDE = "not a reproduction", "not beside the paper's numbers"
MOST_FINDINGS = 3  # of a column
LAYER_WORDS: Mapping[Layer, str] = {
    "arithmetic": "by the paper's own numbers",
    "cost": "by counted costs",
    "measured": "by finished runs",
}
State = Literal["complete", "incomplete", "not run", "no suite", "measured"]  # the last: made by no suite


@dataclass(frozen=True)
class Answer:
    """One column: how many claims have these verdicts, by layer, and the weightiest findings that do."""

    title: str
    counts: tuple[tuple[int, str], ...]
    findings: tuple[JudgedFinding, ...]


@dataclass(frozen=True)
class Card:
    """An exhibit's state: of the best profile that a run is finished under. `count`: '6 of 8 runs'; `warning`: why its
    numbers are no reproduction.
    """

    number: str
    title: str
    href: str
    state: State
    profile: str = ""
    count: str = ""
    warning: str = ""


@dataclass(frozen=True)
class Overview:
    answers: tuple[Answer, ...]
    papers: tuple[Card, ...]
    ours: tuple[Card, ...]


def overview(audit: Audit, exhibits: Sequence[Exhibit]) -> Overview:
    by_name = {name: [one for one in exhibits if exhibit_name(one) == name] for name in PAPERS}
    papers = [card(one) for name in PAPERS for one in by_name[name]]
    lacking = [Card(_number(name), "no suite makes it", "", "no suite") for name in PAPERS if not by_name[name]]
    ours = [one for one in exhibits if exhibit_name(one) not in PAPERS]
    rank = {name: place for place, name in enumerate(OTHERS)}
    ours.sort(key=lambda one: (rank.get(one.suite.name, len(rank)), one.suite.name))
    order = {_number(name): place for place, name in enumerate(PAPERS)}
    return Overview(
        answers=tuple(answers(audit)),
        papers=tuple(sorted([*papers, *lacking], key=lambda one: order[one.number])),
        ours=tuple(map(card, ours)),
    )


def answers(audit: Audit) -> list[Answer]:
    """A tie and what is undefined decide nothing, and stand with what was not run."""

    def decided(title: str, verdicts: Collection[Verdict]) -> Answer:
        counts = [(sum(audit.count(layer)[v] for v in verdicts), LAYER_WORDS[layer]) for layer in audit.layers]
        return _answer(title, counts, audit, verdicts)

    waiting = [(audit.count(layer)[v], f"{v} ({layer})") for v in OPEN for layer in audit.layers]
    return [
        decided("What holds", ("holds", "reproduced")),
        decided("What does not", AGAINST),
        _answer("What was not run, or is open", waiting, audit, OPEN),
    ]


def _answer(title: str, counts: Sequence[tuple[int, str]], audit: Audit, verdicts: Collection[Verdict]) -> Answer:
    found = [finding for _, group in audit.by_weight() for finding in group if finding.verdict in verdicts]
    return Answer(title, tuple(one for one in counts if one[0]), tuple(found[:MOST_FINDINGS]))


def exhibit_name(exhibit: Exhibit) -> str:
    """The paper's, or '' of one of ours."""
    return exhibit.suite.exhibit or "" if isinstance(exhibit.suite, Suite) else ""


def title_of(exhibit: Exhibit) -> str:
    """'Table 4: Panoptic segmentation at 128x128'."""
    name = exhibit_name(exhibit)
    return f"{_number(name)}: {exhibit.suite.title}" if name in PAPERS else exhibit.suite.title


def page_of(exhibit: Exhibit) -> str:
    """In the report's folder."""
    return f"{exhibit.suite.name}.html"


def card(exhibit: Exhibit) -> Card:
    name = exhibit_name(exhibit)
    number = _number(name) if name in PAPERS else exhibit.suite.name
    title, href = exhibit.suite.title, address(page_of(exhibit))
    if not exhibit.sections:
        return Card(number, title, href, "not run")
    profile = exhibit.sections[0].table.profile  # the best comes first
    best = [section for section in exhibit.sections if section.table.profile == profile]
    warning = _warning(name, profile, best)
    if not exhibit.of_suite:
        return Card(number, title, href, "measured", profile or "", warning=warning)
    gaps = [gap for section in best for gap in section.gaps]
    done, missing = planned_runs(best), sum(gap.runs for gap in gaps)
    count = f"{done} of {done + missing} runs" if done + missing else ""
    return Card(number, title, href, "incomplete" if gaps else "complete", profile or "", count, warning)


def _warning(name: str, profile: str | None, sections: Sequence[Section]) -> str:
    """A low profile, or runs that may not stand beside numbers that the paper has for this exhibit."""
    if profile is None:
        return ""
    if not profile_named(profile).reproduction:
        return NO_REPRODUCTION
    beside = any(s.table.beside or any(row.kind == "paper" for row in s.table.rows) for s in sections)
    return NOT_BESIDE if cells_of(name) and not beside else ""


def planned_runs(sections: Sequence[Section]) -> int:
    """How many finished runs of the suite's own rows stand behind tables."""
    rows = [row for section in sections for row in section.table.rows if row.kind not in APART]
    return len({run for row in rows for cell in row.cells for run in cell.runs})


def _number(name: str) -> str:
    """'table4' -> 'Table 4'."""
    return f"{name[:-1].capitalize()} {name[-1]}"

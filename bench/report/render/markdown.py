"""An exhibit as Markdown: each number links to the run behind it, several seeds to a table of runs below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.report.exhibit import Exhibit
from bench.report.facts import Facts
from bench.report.gaps import Gap
from bench.report.site.html import address
from bench.report.tables.runs import Run, run_lines
from bench.report.tables.table import (
    NONE,
    TIE,
    Cell,
    Column,
    Part,
    Table,
    by_group,
    number,
    part_marked,
    part_text,
    part_title,
    slots,
)


def render_markdown(exhibit: Exhibit, results: str, damaged: Mapping[str, str]) -> str:
    """The whole file. `results` is the way from the report's folder to the store (`../results`); `damaged` maps the
    name of an unreadable record to what is wrong with it.
    """
    suite = exhibit.suite
    head = f"Suite `{suite.name}`. " if exhibit.of_suite else ""
    lines = [f"# {escape(suite.title)}", "", f"{head}{exhibit.legend}", "", exhibit.units, ""]
    if not exhibit.sections:
        lines += [exhibit.nothing, "", *_gaps(exhibit.gaps)]
    for section in exhibit.sections:
        lines += [f"## {escape(section.table.title)}", "", f"**{escape(section.table.label)}**", ""]
        lines += [f"Protocol: {escape(section.table.protocol)}.", "", *_tables(section.table, results)]
        for figure in section.figures:
            lines += [f"![{escape(figure.alt)}]({address(figure.name)}.svg)", ""]
        lines += bullets("Notes", section.table.notes)
        lines += [line for facts in section.facts for line in facts_lines(facts)]
        lines += _gaps(section.gaps)
    if exhibit.printed:
        lines += [f"## {escape(exhibit.printed.title)}", "", f"{escape(exhibit.printed.label)}.", ""]
        lines += [*_grid(exhibit.printed, results), *bullets("Notes", exhibit.printed.notes)]
    lines += [*bullets("Left out", exhibit.notes), *_damaged(damaged), *_runs(run_lines(exhibit.records), results)]
    return "\n".join(lines).rstrip() + "\n"


def _tables(table: Table, results: str) -> list[str]:
    """One table; with the paper's numbers beside ours it would be too wide, so one a group of columns."""
    if not table.beside:
        return _grid(table, results)
    return [line for part in by_group(table) for line in (f"### {escape(part.title)}", "", *_grid(part, results))]


def _grid(table: Table, results: str) -> list[str]:
    printed = slots(table)
    narrow = len({column.group for column in table.columns}) == 1
    heads = [_head(table.columns[j], part, narrow) for j, part in printed]
    lines = [table_line([escape(table.row_head), *heads]), table_line(["---", *["---:"] * len(heads)])]
    for row in table.rows:
        texts = [_cell(row.cells[j], table.columns[j], part, results) for j, part in printed]
        lines.append(table_line([escape(row.label), *texts]))
    return [*lines, ""]


def _head(column: Column, part: Part, narrow: bool) -> str:
    words = [] if narrow else [column.group]
    words.append(column.title)
    if column.beside:
        words.append(part_title(column, part))
    return "<br>".join(map(escape, words))


def _cell(cell: Cell, column: Column, part: Part, results: str) -> str:
    text = part_text(cell, column, part)
    if text == NONE:
        return text
    marked = part_marked(cell, part)
    if part == "ours" and (cell.link or cell.runs):
        text = f"[{text}]({results}/{address(cell.link)})" if cell.link else f"[{text}](#runs)"
    if marked.mark == "best":
        text = f"**{text}**"
    elif marked.mark == "second":
        text = f"<u>{text}</u>"
    return f"{text} {TIE}" if marked.tie else text


def facts_lines(facts: Facts) -> list[str]:
    lines = [f"### {escape(facts.title)}", "", table_line([escape(head) for head in facts.heads])]
    lines.append(table_line(["---"] * len(facts.heads)))
    lines += [table_line([escape(text) for text in line]) for line in facts.lines]
    return [*lines, "", *bullets("Notes", facts.said)]


def _gaps(gaps: Sequence[Gap]) -> list[str]:
    if not gaps:
        return []
    lines = ["Missing:", "", table_line(["Dataset", "Networks", "Seeds", "Why", "Next step"]), table_line(["---"] * 5)]
    for gap in gaps:
        seeds = ", ".join(map(str, gap.seeds))
        lines.append(table_line([escape(t) for t in (gap.dataset, "; ".join(gap.models), seeds, gap.reason, gap.how)]))
    return [*lines, ""]


def _runs(runs: Sequence[Run], results: str) -> list[str]:
    if not runs:
        return []
    heads = ["Run", "Network", "Dataset", "Size", "Profile", "Seed", "State", "Device", "Seconds"]
    lines = ["## Runs", "", table_line(heads), table_line(["---"] * 8 + ["---:"])]
    for run in runs:
        state = f"{run.state}: {run.reason}" if run.reason else run.state
        texts = [run.label, run.dataset, run.size, run.profile, str(run.seed), state, run.device]
        link = f"[{escape(run.id)}]({results}/{address(run.file)})"
        lines.append(table_line([link, *map(escape, texts), number(run.seconds, 1)]))
    return [*lines, ""]


def _damaged(damaged: Mapping[str, str]) -> list[str]:
    return bullets("Damaged records, left out", [f"{name}: {problem}" for name, problem in damaged.items()])


def bullets(title: str, texts: Sequence[str]) -> list[str]:
    return [f"{title}:", "", *(f"- {escape(text)}" for text in texts), ""] if texts else []


def table_line(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"


def escape(text: str) -> str:
    """Text that Markdown shows as it is, also inside a table."""
    text = " ".join(text.split())
    for character in "\\`*_[]<>|":
        text = text.replace(character, f"\\{character}")
    return text

"""An exhibit as Markdown: each number links to the run behind it, several seeds to a table of runs below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.report.exhibit import Exhibit
from bench.report.gaps import Gap
from bench.report.runs import Run, run_lines
from bench.report.table import (
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
    lines = [f"# {suite.title}", "", f"Suite `{suite.name}`. {exhibit.legend}", "", exhibit.units, ""]
    if not exhibit.sections:
        lines += ["No run of this suite is finished.", "", *_gaps(exhibit.gaps)]
    for section in exhibit.sections:
        lines += [f"## {section.table.title}", "", f"**{_escape(section.table.label)}**", ""]
        lines += [f"Protocol: {section.table.protocol}.", "", *_tables(section.table, results)]
        if section.chart:
            lines += [f"![{_escape(section.chart.alt)}]({section.chart.name}.svg)", ""]
        lines += [*_bullets("Notes", section.table.notes), *_gaps(section.gaps)]
    if exhibit.printed:
        lines += [f"## {exhibit.printed.title}", "", f"{_escape(exhibit.printed.label)}.", ""]
        lines += [*_grid(exhibit.printed, results), *_bullets("Notes", exhibit.printed.notes)]
    lines += [*_bullets("Left out", exhibit.notes), *_damaged(damaged), *_runs(run_lines(exhibit.records), results)]
    return "\n".join(lines).rstrip() + "\n"


def _tables(table: Table, results: str) -> list[str]:
    """One table; with the paper's numbers beside ours it would be too wide, so one a group of columns."""
    if not table.beside:
        return _grid(table, results)
    return [line for part in by_group(table) for line in (f"### {part.title}", "", *_grid(part, results))]


def _grid(table: Table, results: str) -> list[str]:
    printed = slots(table)
    narrow = len({column.group for column in table.columns}) == 1
    heads = [_head(table.columns[j], part, narrow) for j, part in printed]
    lines = [_line([table.row_head, *heads]), _line(["---", *["---:"] * len(heads)])]
    for row in table.rows:
        texts = [_cell(row.cells[j], table.columns[j], part, results) for j, part in printed]
        lines.append(_line([_escape(row.label), *texts]))
    return [*lines, ""]


def _head(column: Column, part: Part, narrow: bool) -> str:
    words = [] if narrow else [column.group]
    words.append(column.title)
    if column.beside:
        words.append(part_title(column, part))
    return "<br>".join(map(_escape, words))


def _cell(cell: Cell, column: Column, part: Part, results: str) -> str:
    text = part_text(cell, column, part)
    if text == NONE:
        return text
    marked = part_marked(cell, part)
    if part == "ours" and cell.runs:
        text = f"[{text}]({results}/{cell.runs[0]}/metrics.json)" if len(cell.runs) == 1 else f"[{text}](#runs)"
    if marked.mark == "best":
        text = f"**{text}**"
    elif marked.mark == "second":
        text = f"<u>{text}</u>"
    return f"{text} {TIE}" if marked.tie else text


def _gaps(gaps: Sequence[Gap]) -> list[str]:
    if not gaps:
        return []
    lines = ["Missing:", "", _line(["Dataset", "Networks", "Seeds", "Why", "Next step"]), _line(["---"] * 5)]
    for gap in gaps:
        seeds = ", ".join(map(str, gap.seeds))
        lines.append(_line([_escape(t) for t in (gap.dataset, ", ".join(gap.models), seeds, gap.reason, gap.how)]))
    return [*lines, ""]


def _runs(runs: Sequence[Run], results: str) -> list[str]:
    if not runs:
        return []
    heads = ["Run", "Network", "Dataset", "Size", "Profile", "Seed", "State", "Device", "Seconds"]
    lines = ["## Runs", "", _line(heads), _line(["---"] * 8 + ["---:"])]
    for run in runs:
        state = f"{run.state}: {run.reason}" if run.reason else run.state
        texts = [run.label, run.dataset, run.size, run.profile, str(run.seed), state, run.device]
        link = f"[{run.id}]({results}/{run.file})"
        lines.append(_line([link, *map(_escape, texts), number(run.seconds, 1)]))
    return [*lines, ""]


def _damaged(damaged: Mapping[str, str]) -> list[str]:
    return _bullets("Damaged records, left out", [f"{name}: {problem}" for name, problem in damaged.items()])


def _bullets(title: str, texts: Sequence[str]) -> list[str]:
    return [f"{title}:", "", *(f"- {_escape(text)}" for text in texts), ""] if texts else []


def _line(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _escape(text: str) -> str:
    """Text that Markdown shows as it is, also inside a table."""
    text = " ".join(text.split())
    for character in "\\`*_[]<>|":
        text = text.replace(character, f"\\{character}")
    return text

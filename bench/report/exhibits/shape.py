"""Which reading of AP@k has the shape of the paper's Table 2: what is left of AP@30 at 50, 70 and 100.

A ratio of AP to AP, so networks of any strength can be set beside the paper's; no number here is a reproduction.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from bench.paper.numbers import paper
from bench.protocols import AP_AT_K, AT
from bench.record import Record
from bench.report.tables.marks import Better
from bench.report.tables.table import Cell, Column, Row, Table, number, summarise

FIRST, *LATER = AT
READINGS = {words: (protocol, prefix) for protocol, (prefix, words) in AP_AT_K.items()}
CAP = AP_AT_K["released"][1]
DISTANCE = "distance"
PAPERS = "table2"


def shape_table(key: str, where: str, label: str, settings: Sequence[tuple[str, Sequence[Record]]]) -> Table | None:
    """Two rows a setting, one a reading, and the paper's three; None where no network has an AP@30."""
    printed = _printed()
    rows, notes = [], []
    for name, records in settings:
        found = {reading: _shares(records, *source) for reading, source in READINGS.items()}
        cells = {reading: _cells(shares, printed) for reading, shares in found.items() if shares}
        spec = records[0].spec
        rows += [
            Row(f"{name}/{reading}", f"{name}, {reading}", "network", spec.model, of_row, spec.dataset)
            for reading, of_row in cells.items()
        ]
        if found[CAP] and all(share == (100.0,) * len(LATER) for _, share in found[CAP]):
            notes.append(f"{name}: no cap changes AP here, so neither reading is called the nearer.")
        else:
            notes += _nearer(name, {reading: of_row[-1].value for reading, of_row in cells.items()})
    if not rows:
        return None
    return Table(
        key=key,
        title=f"{where}: the shape of AP@k",
        label=label,
        protocol="both readings of k; the last rows are the paper's Table 2, as printed",
        columns=(*(_column(f"AP@{k}", "%") for k in LATER), _column(DISTANCE, "pp")),
        rows=(*rows, *_papers_rows(printed)),
        notes=(
            f"Distance: from the paper's rows, the mean over its three datasets and k = {', '.join(map(str, LATER))}.",
            *notes,
        ),
        row_head="Dataset, size, network, reading",
    )


def _shares(records: Sequence[Record], protocol: str, prefix: str) -> list[tuple[str, tuple[float, ...]]]:
    """(run, what is left at each later k, percent) of the runs whose AP@30 is not 0."""
    found = []
    for record in records:
        assert record.metrics is not None
        assert record.metrics.protocols is not None
        first, *later = (record.metrics.protocols.get(protocol, {}).get(f"{prefix}{k}") for k in AT)
        if first and None not in later:
            found.append((record.run_id, tuple(100.0 * value / first for value in later if value is not None)))
    return found


def _cells(
    shares: Sequence[tuple[str, tuple[float, ...]]], printed: Mapping[str, tuple[float, ...]]
) -> tuple[Cell, ...]:
    columns = [[(run, share[place]) for run, share in shares] for place in range(len(LATER))]
    distances = [(run, _distance(share, printed)) for run, share in shares]
    return tuple(summarise(values) for values in (*columns, distances))


def _distance(share: Sequence[float], printed: Mapping[str, tuple[float, ...]]) -> float:
    """Percentage points, the mean over the paper's rows and its later k."""
    return statistics.fmean(
        abs(mine - theirs) for row in printed.values() for mine, theirs in zip(share, row, strict=True)
    )


def _nearer(name: str, distances: Mapping[str, float | None]) -> list[str]:
    """Which reading is nearer to the paper's rows, in words."""
    known = {reading: value for reading, value in distances.items() if value is not None}
    if len(known) < len(READINGS):
        return []
    (near, low), (_, high) = sorted(known.items(), key=lambda item: item[1])
    if number(low, 1) == number(high, 1):
        return [f"{name}: both readings are equally near to Table 2 ({number(low, 1)} pp)."]
    return [f"{name}: nearer to Table 2 is {near} ({number(low, 1)} pp against {number(high, 1)} pp)."]


def _printed() -> dict[str, tuple[float, ...]]:
    """What is left of AP@30 at each later k in the rows of Table 2, percent."""
    values = {(cell.row, cell.metric): cell.value for cell in paper().table(PAPERS).cells}
    rows = dict.fromkeys(row for row, _ in values)
    return {row: tuple(100 * values[row, f"AP@{k}"] / values[row, f"AP@{FIRST}"] for k in LATER) for row in rows}


def _papers_rows(printed: Mapping[str, tuple[float, ...]]) -> list[Row]:
    return [
        Row(f"{PAPERS}/{name}", f"Table 2: {name}", "paper", name, (*(Cell(paper=share) for share in shares), Cell()))
        for name, shares in printed.items()
    ]


def _column(metric: str, unit: str) -> Column:
    better: Better = "lower" if metric == DISTANCE else "higher"
    return Column(metric, "what is left of AP@30", metric, unit, better, digits=1, paper_digits=1)

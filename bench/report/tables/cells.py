"""From the runs of one network under one setting to one cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.protocols import AP_AT_K
from bench.record import Metrics, Record, Scores
from bench.report.tables.grouping import Split
from bench.report.tables.table import Cell, Column, RowKind, summarise


def score_cell(metric: str, kind: RowKind, records: Sequence[Record], reading: str | None = None) -> Cell:
    """Percent over the seeds, of the networks as trained or as they were before training. `reading`: the protocol that
    AP@k is read in; of those, untrained networks have none.

    Raises ValueError where the runs have several protocols: their numbers are not of one kind, and no table may
    average or compare them. `bench.report.exhibits.protocols` alone shows protocols side by side.
    """
    kinds = {f"{record.spec.protocol}, version {record.spec.protocol_version}" for record in records}
    if len(kinds) > 1:
        raise ValueError(f"one cell of several protocols: {'; '.join(sorted(kinds))}")
    values: list[tuple[str, float | None]] = []
    for record in records:
        if record.metrics is None:
            continue
        scores = record.metrics.untrained if kind == "untrained" else record.metrics.final
        if reading is not None:
            values += [] if kind == "untrained" else [(record.run_id, _ap_at(record.metrics, metric, reading))]
        elif scores is not None:
            values.append((record.run_id, _score(scores, metric)))
    return summarise(values, 100.0)


def cost_cell(column: Column, chosen: Mapping[Split, Sequence[Record]]) -> Cell:
    """FLOPs in G and parameters in M, from the runs on the column's dataset; where there are none, from those on
    another one, with a note.
    """
    own = (column.dataset, column.split)
    ordered = sorted(chosen, key=lambda split: ((split.dataset, split.short) != own, split))
    if not ordered:
        return Cell()
    split = ordered[0]
    networks = [(record.run_id, record.network) for record in chosen[split] if record.network]
    if column.metric == "FLOPs":
        cell = summarise([(run, network.flops) for run, network in networks], 1e-9)
    else:
        cell = summarise([(run, float(network.parameters_total)) for run, network in networks], 1e-6)
    notes = [*cell.notes]
    if (split.dataset, split.short) != own:
        notes.append(f"with the categories of {split.dataset}")
    if cell.sd:
        notes.append("the runs disagree on this count: they come from different versions of the code")
    if column.metric == "FLOPs":
        uncounted = {name: times for _, network in networks for name, times in network.uncounted.items()}
        listed = ", ".join(f"{name} ({times})" for name, times in sorted(uncounted.items()))
        notes += [f"not counted: {listed}"] if listed else []
    return replace(cell, notes=tuple(notes))


def _score(scores: Scores, metric: str) -> float | None:
    return {"mIoU": scores.miou, "PQ": scores.pq, "AP": scores.ap}[metric]


def _ap_at(metrics: Metrics, metric: str, reading: str) -> float | None:
    """AP@30 of one protocol; None where the record holds no other protocols."""
    prefix, _ = AP_AT_K[reading]
    return (metrics.protocols or {}).get(reading, {}).get(f"{prefix}{metric.removeprefix('AP@')}")

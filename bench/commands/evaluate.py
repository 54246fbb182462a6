"""evaluate: finished runs again, from their kept weights."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from bench.commands.options import data_roots, preparation, prepared_root, terminal
from bench.commands.progress import advancing
from bench.data.catalog import DataRoots, Missing, find
from bench.data.intact import assure
from bench.data.prepared import Prepared, prepare_sizes
from bench.data.source import Source
from bench.errors import FAILED, OK, UserError, unknown
from bench.execute.local import count_gpus
from bench.measure.longrange_record import lacks_longrange
from bench.protocols import KEYS
from bench.record import Record
from bench.spec import PROTOCOL_VERSION, size_text
from bench.store import REDO, Store
from models.registry import REGISTRY

if TYPE_CHECKING:
    from bench.again import Again, Place


def evaluate(options: argparse.Namespace) -> int:
    """Adds today's numbers to the records of the runs named, or of all that can be. 1 where a number came out other."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch, as in bench/execute/local.py
    store, roots, prepared = Store(options.results), data_roots(options), prepared_root(options)
    if bool(options.runs) == options.all:
        raise UserError("name the runs to evaluate, or give --all")
    if not store.root.is_dir():
        raise UserError(f"no results at {store.root}; `python -m bench run --suite table4` makes some")
    said = [_evaluated(store, run_id, options, roots, prepared) for run_id in _chosen(store, options.runs)]
    return FAILED if any(said) else OK


def _evaluated(store: Store, run_id: str, options: argparse.Namespace, roots: DataRoots, prepared: Path) -> bool:
    """Says what came of one run; True where it has numbers that could not be confirmed."""
    try:
        record = _evaluable(store, run_id, options.all)
        wrong, said = _one(store, record, roots, prepared, options)
    except UserError as error:
        if not options.all:
            raise
        wrong, said = False, f"left out: {str(error).removeprefix(f'{run_id}: ')}"
    terminal().print(f"{run_id}: {said}")
    return wrong


def _evaluable(store: Store, run_id: str, lacking: bool) -> Record:
    """The record. Raises UserError where it cannot be evaluated again or, with `lacking`, lacks nothing."""
    record = store.look(run_id)
    if not isinstance(record, Record):
        raise UserError(f"{record.reason}; {REDO}" if record else f"{run_id}: it has no record any more")
    reason = refusal(record)
    if reason is None and lacking and _has_all(record):
        reason = "its record has every number of today"
    if reason:
        raise UserError(f"{run_id}: {reason}")
    return record


def refusal(record: Record) -> str | None:
    """Why this run cannot be evaluated again; None where it can."""
    spec = record.spec
    if record.status.state != "done":
        return f"it {record.status.state}: there is nothing to evaluate again"
    if spec.protocol_version != PROTOCOL_VERSION:
        return f"protocol version {spec.protocol_version}, this program has {PROTOCOL_VERSION}; run its suite again"
    if spec.model not in REGISTRY:
        return f"no network is named {spec.model} today"
    if spec.budget.held_out:
        return "a candidate of a search, evaluated on training images"
    if spec.also_at:
        return "it is evaluated at other sizes, too, which this command does not do again; run its suite again"
    if REGISTRY[spec.model].is_network and not record.weights.is_file():
        return f"no weights at {record.weights}; run its suite again to make them"
    return None


def _has_all(record: Record) -> bool:
    protocols = record.metrics.protocols if record.metrics else None
    known = {f"{name}.{key}" for name, numbers in (protocols or {}).items() for key in numbers}
    return known == KEYS and not (REGISTRY[record.spec.model].has_levels and lacks_longrange(record))


def _chosen(store: Store, runs: list[str]) -> list[str]:
    known = store.run_ids()
    for run in runs:
        if run not in known:
            raise unknown("run", run, known, str(store.root))
    return runs or known


def _one(
    store: Store, record: Record, roots: DataRoots, prepared: Path, options: argparse.Namespace
) -> tuple[bool, str]:
    """Evaluates one run again and, where its numbers come out as recorded or are accepted, writes them.

    Returns whether they came out otherwise and stay unwritten, and a sentence.
    """
    from bench.again import evaluate_again, write_again

    source, val = _data(record, roots, prepared)
    assure([val.folder])
    accept = options.accept
    samples = record.folder / ".samples" if accept else None  # they take the old ones' place at the end
    with store.lock(record.run_id) as mine:
        if not mine:
            raise UserError(f"{record.run_id}: another process has it in hand")
        record = _evaluable(store, record.run_id, options.all)  # which may have been written since it was read
        with advancing(terminal()) as advance:
            again = evaluate_again(
                record, val, source, _place(record), lambda done, of: advance("images", done, of), samples
            )
        if again.differs and not accept:
            other = "; ".join(again.differs)
            return True, f"NOT as recorded: {other}. Its record stays; --accept writes the new numbers"
        write_again(store, record, again, samples)
    return False, _done(again)


def _done(again: Again) -> str:
    count = sum(len(numbers) for numbers in (again.metrics.protocols or {}).values())
    if again.differs:
        return f"written, other than before: {'; '.join(again.differs)}"
    further = " and the statistics of its levels" if again.longrange else ""
    return f"every number as recorded; {count} of other protocols{further} written"


def _place(record: Record) -> Place:
    from bench.again import Place

    attempt = record.attempt.get("evaluated_again", record.attempt)
    on_gpu = attempt.get("device") != "cpu" and count_gpus() > 0
    return Place("cuda:0" if on_gpu else "cpu", int(attempt.get("threads") or 1))


def _data(record: Record, roots: DataRoots, prepared: Path) -> tuple[Source, Prepared]:
    """The dataset's files and the prepared split of the run. Raises UserError where they are not those of its spec."""
    spec = record.spec
    found = find(spec.dataset, roots, spec.task)
    if isinstance(found, Missing):
        raise UserError(f"{record.run_id}: {found.name}: {found.what}; {found.how}")
    what = f"preparing {spec.dataset} val at {size_text(spec.size)}"
    progress = preparation(terminal())
    (val,) = prepare_sizes(
        found, "val", [spec.size], spec.budget.val_images, prepared, lambda done, of: progress(what, done, of)
    )
    if (val.split_hash, val.manifest["pixel_hash"]) != (spec.val_hash, spec.val_pixels):
        raise UserError(f"{record.run_id}: {spec.dataset} val is not the data of its spec (another hash)")
    return found, val

"""audit: what holds of the paper. Imports no more than the audit itself, which is light."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable

from bench.audit.audit import run_audit
from bench.audit.ruling import LAYERS
from bench.audit.show import everything, in_full, summary
from bench.errors import OK, UserError


def audit(options: argparse.Namespace) -> int:
    """Exit code 0 whatever the verdicts: a claim of the paper that fails is no failure of ours."""
    if options.search:
        from bench.measure.search import run_search

        sys.stderr.write("searching the readings of the paper, about a minute\n")
        run_search(options.results)
    only = _ids(options.only)
    found = run_audit(options.results, options.layer or LAYERS, only)
    if options.json:
        sys.stdout.write(json.dumps(found.model_dump(mode="json"), indent=1, allow_nan=False) + "\n")
        return OK
    _say(in_full(found) if only else everything(found) if options.all else summary(found))
    return OK


def _ids(text: str | None) -> tuple[str, ...]:
    ids = tuple(part.strip().upper() for part in (text or "").split(",") if part.strip())
    if text is not None and not ids:
        raise UserError(f"--only takes ids of claims and findings, such as C57,A21; got {text!r}")
    return ids


def _say(lines: Iterable[str]) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)

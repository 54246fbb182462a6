"""Table 8: networks as rows, sizes as groups of columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.record import Record
from bench.report.exhibit import Exhibit
from bench.report.exhibits.comparison import build_exhibit as compare
from bench.report.exhibits.joined import sizes_side_by_side
from bench.report.gaps import Missing
from bench.spec import Suite


def build_exhibit(suite: Suite, records: Sequence[Record], missing: Mapping[str, Missing]) -> Exhibit:
    return compare(suite, records, missing, sizes_side_by_side)

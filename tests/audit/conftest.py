"""The claims as they are, and stores with planted runs and costs. Every number planted in here is test data."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.audit.audit import Audit, run_audit
from bench.audit.claims import FINDINGS_YAML, Book, read_book
from bench.files import write_json
from bench.measure.cost_records import CostRecord, cost_path, options_of
from bench.paper.numbers import PAPER_YAML
from bench.spec import parse_size
from bench.store import Store
from tests.report.conftest import Fake


@pytest.fixture(scope="session")
def book() -> Book:
    return read_book()


@pytest.fixture(scope="session")
def printed_audit(tmp_path_factory) -> Audit:
    """Of a store without any run or count."""
    return run_audit(tmp_path_factory.mktemp("empty"))


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(Store(tmp_path / "results"))


@pytest.fixture
def plant_cost(tmp_path: Path) -> Callable[..., None]:
    """Writes results/costs/<model>-<size>.json; flops in G, parameters in M, memory in MiB."""

    def write(model: str, flops: float | None, parameters: float, memory: float | None = 100, size="128x128") -> None:
        record = CostRecord(
            model=model,
            options=options_of(model),
            task="panoptic",
            classes=133,
            size=parse_size(size),
            parameters=round(parameters * 1e6),
            flops=None if flops is None else flops * 1e9,
            peak_memory_bytes=None if memory is None else round(memory * 2**20),
            reason="refused" if flops is None else None,
            versions={},
            git_commit=None,
        )
        path = cost_path(tmp_path / "results", model, record.size)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, record.model_dump(mode="json"))

    return write


@pytest.fixture
def edited(tmp_path: Path) -> Callable[..., Book]:
    """The book read from copies of paper.yaml and findings.yaml in which one text is replaced."""

    def read(old: str, new: str, findings: bool = False) -> Book:
        copies = []
        for path, changed in ((PAPER_YAML, not findings), (FINDINGS_YAML, findings)):
            copy = tmp_path / path.name
            shutil.copyfile(path, copy)
            text = copy.read_text()
            assert not changed or text.count(old) == 1, f"{old!r} is {text.count(old)} times in {path.name}"
            copy.write_text(text.replace(old, new) if changed else text)
            copies.append(copy)
        return read_book(*copies)

    return read

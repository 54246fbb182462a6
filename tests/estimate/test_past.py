"""What a finished run tells of the next: nothing, where not all of it was done on one machine by one process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.estimate.past import Past
from bench.files import write_json
from bench.record import Record
from bench.store import Store
from tests.estimate.calibrations import GPU, HERE
from tests.finished import finished


def record(store: Store, *attempts: dict[str, Any]) -> Record:
    """A finished run; each attempt went on from the one before."""
    found = finished(store, 0.5)
    for number, facts in enumerate(attempts, 1):
        resumed = {"resumed": {"made_by": {"attempt": number - 1}}} if number > 1 else {}
        write_json(found.folder / "attempts" / f"{number}.json", facts | resumed)
    return replace(found, attempt={**attempts[-1], **resumed, "seconds_total": 60.0})


def on(hardware: Any, **changes: Any) -> dict[str, Any]:
    return {**hardware.model_dump(), **changes}


@pytest.mark.parametrize("attempts", [(on(HERE),), (on(HERE), on(HERE)), (on(HERE), on(HERE), on(HERE))])
def test_the_time_of_all_attempts_is_that_of_the_machine_they_ran_on(tmp_path: Path, attempts: Any) -> None:
    assert Past.of(record(Store(tmp_path), *attempts)).by_hardware == {HERE: 60.0}


@pytest.mark.parametrize(
    "attempts",
    [
        (on(GPU), on(HERE)),
        (on(GPU), on(HERE), on(HERE)),
        (on(HERE, threads=1), on(HERE)),
        (on(HERE, processes=2), on(HERE)),
        (on(HERE, processes=2),),
    ],
)
def test_a_run_of_several_machines_or_processes_tells_nothing(tmp_path: Path, attempts: Any) -> None:
    assert Past.of(record(Store(tmp_path), *attempts)).times == {}


def test_an_attempt_that_is_gone_may_have_run_anywhere(tmp_path: Path) -> None:
    found = record(Store(tmp_path), on(HERE), on(HERE))
    (found.folder / "attempts" / "1.json").unlink()
    assert Past.of(found).times == {}


def test_a_run_that_does_not_say_where_it_ran_tells_its_time_alone(tmp_path: Path) -> None:
    found = Past.of(record(Store(tmp_path), {"device": "cpu"}))
    assert (found.seconds, found.by_hardware) == (60.0, {})

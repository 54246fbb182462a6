"""Whether a node sees the results folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench.execute.cluster.probe import probing


def test_it_is_seen_where_the_same_file_lies_and_may_be_written_beside(tmp_path: Path) -> None:
    with probing(tmp_path / "results") as probe:
        assert probe.is_here()
        assert not replace(probe, content="another").is_here()  # a copy of the folder
        assert not replace(probe, path=tmp_path / "elsewhere" / probe.path.name).is_here()
        assert not replace(probe, path=probe.path / "below").is_here()
    assert not probe.is_here()
    assert list((tmp_path / "results").iterdir()) == []


def test_two_drivers_have_two_probes(tmp_path: Path) -> None:
    with probing(tmp_path) as one, probing(tmp_path) as other:
        assert one.is_here()
        assert other.is_here()
        assert one != other


def test_a_folder_that_cannot_be_written_to_is_none_to_share(tmp_path: Path, monkeypatch: object) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError

    with probing(tmp_path) as probe:
        monkeypatch.setattr("bench.execute.cluster.probe.tempfile.TemporaryFile", refuse)  # type: ignore[attr-defined]
        assert not probe.is_here()

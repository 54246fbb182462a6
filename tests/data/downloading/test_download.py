"""Downloads from a local server that ranges, cuts, lies and fails; archives in the official structure, made here."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.cli import main
from bench.data.catalog import DataRoots, find
from bench.data.downloading import archives, fetch
from bench.data.downloading.archives import Archive, Download, downloads
from bench.data.downloading.download import download
from bench.errors import UserError
from tests.data.layouts import Layout, write_ade20k, write_cityscapes, write_coco

HOUR = "Wed, 21 Oct 2015 07:28:00 GMT"


@dataclass
class Host:
    """A server. `faults` are used up, one a request: ("status", 503), ("cut", bytes), ("lie", bytes more)."""

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    conditions: bool = True  # whether If-Range is honoured
    etags: bool = True
    faults: list[tuple[str, int]] = field(default_factory=list)
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    stop_at: int | None = None  # waits there until `go`
    go: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def mark(self, name: str) -> str:
        return f'"{hashlib.sha1(self.files[name]).hexdigest()}"'

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        name, wanted = request.path.lstrip("/"), request.headers.get("Range")
        self.requests.append((name, wanted))
        kind, number = self.faults.pop(0) if self.faults else ("", 0)
        if kind == "status" or name not in self.files:
            request.send_response(number or 404)
            request.send_header("Retry-After", "0")
            request.end_headers()
            return
        body, start = self.files[name], 0
        known = self.mark(name) if self.etags else HOUR
        same = request.headers.get("If-Range") == known or not self.conditions
        if wanted and self.ranges and same:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= len(body):
                request.send_response(416)
                request.end_headers()
                return
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        request.send_header("ETag" if self.etags else "Last-Modified", known)
        request.send_header("Content-Length", str(len(body) - start + (number if kind == "lie" else 0)))
        request.end_headers()
        body = body[start:]
        if self.stop_at is not None:
            request.wfile.write(body[: self.stop_at])
            self.go.wait(60)
            body = body[self.stop_at :]
        request.wfile.write(body[:number] if kind == "cut" else body)


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, Host]]:
    """The running server; its one host is replaced for each test."""
    current: dict[str, Host] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with suppress(BrokenPipeError, ConnectionResetError):
                current["host"].answer(self)

        def log_message(self, *_: Any) -> None: ...

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    current["host"] = Host(url=f"http://127.0.0.1:{running.server_port}")
    yield current
    running.shutdown()


@pytest.fixture
def host(server: dict[str, Host], monkeypatch: pytest.MonkeyPatch) -> Host:
    server["host"] = Host(url=server["host"].url)
    monkeypatch.setattr(fetch, "PAUSE", 0.0)
    return server["host"]


def zipped(folder: Path, *names: str, extra: dict[str, bytes] | None = None) -> bytes:
    """These files and folders below `folder`, and some more members."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for path in (path for name in names for path in [folder / name, *sorted((folder / name).rglob("*"))]):
            archive.write(path, path.relative_to(folder))
        for name, content in (extra or {}).items():
            archive.writestr(name, content)
    return target.getvalue()


def tarred(folder: Path, name: str) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        archive.add(folder / name, name)
    return target.getvalue()


def coco_archives(layout: Layout) -> dict[str, bytes]:
    """As cocodataset.org packs them: PNGs in an archive within the archive, with what macOS adds."""
    notes, litter = layout.folder / "annotations", {"__MACOSX/annotations/._x": b"x"}
    pngs = {f"panoptic_{split}2017": zipped(notes, f"panoptic_{split}2017", extra=litter) for split in layout.ids}
    inner = {f"annotations/{name}.zip": content for name, content in pngs.items()}
    jsons = [f"annotations/panoptic_{split}2017.json" for split in layout.ids]
    return {
        "train2017.zip": zipped(layout.folder, "train2017"),
        "val2017.zip": zipped(layout.folder, "val2017"),
        "annotations_trainval2017.zip": zipped(
            layout.folder, *(f"annotations/instances_{split}2017.json" for split in layout.ids)
        ),
        "panoptic_annotations_trainval2017.zip": zipped(layout.folder, *jsons, extra=inner | litter),
    }


def ade20k_archives(layout: Layout) -> dict[str, bytes]:
    names = ("images", "annotations", "objectInfo150.txt", "sceneCategories.txt")
    return {
        "ADEChallengeData2016.zip": zipped(layout.folder.parent, *(f"ADEChallengeData2016/{name}" for name in names)),
        "annotations_instance.tar": tarred(layout.folder, "annotations_instance"),
    }


def tiny(name: str, files: dict[str, bytes], url: str, layout: Layout) -> dict[str, Download]:
    """The official entry with addresses, lengths, checksums and counts of these archives."""
    official = downloads()[name]
    changed = []
    for one in official.archives:
        content = files[one.name]
        sha256 = hashlib.sha256(content).hexdigest()
        counts = {path: archives.count_files(layout.folder / path) for path in one.holds}
        update = {"url": f"{url}/{one.name}", "length": len(content), "sha256": sha256, "holds": counts, "room": 10**6}
        changed.append(one.model_copy(update=update))
    return {name: official.model_copy(update={"archives": tuple(changed)})}


WRITERS = {"coco": (write_coco, coco_archives), "ade20k": (write_ade20k, ade20k_archives)}


@dataclass
class Official:
    """A dataset, its archives on the host, and a data root to download to."""

    name: str
    layout: Layout
    known: dict[str, Download]
    root: Path

    def get(self, **options: Any) -> Path:
        return download(self.name, self.root, known=self.known, **options)


def official(name: str, host: Host, tmp_path: Path) -> Official:
    write, pack = WRITERS[name]
    layout = write(tmp_path / "original")
    host.files = pack(layout)
    return Official(name, layout, tiny(name, host.files, host.url, layout), tmp_path / "root")


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_what_is_downloaded_is_the_dataset(name: str, host: Host, tmp_path: Path) -> None:
    made = official(name, host, tmp_path)
    folder = made.get()
    found, original = find(name, DataRoots(root=made.root)), find(name, DataRoots({name: made.layout.folder}))
    for split, ids in made.layout.ids.items():
        assert found.ids(split) == ids
        assert np.array_equal(found.scene(split, ids[0]).segments, original.scene(split, ids[0]).segments)
        assert found.has_instances(split) == original.has_instances(split)
    assert not list(folder.rglob("__MACOSX"))
    assert {path.suffix for path in (folder / "archives").iterdir()} == {".json", ""}  # notes, and the lock
    asked = len(host.requests)
    assert asked == len(host.files)
    made.get()
    assert len(host.requests) == asked


def test_only_what_lacks_is_fetched_again(host: Host, tmp_path: Path) -> None:
    made = official("coco", host, tmp_path)
    folder, said = made.get(), []
    next((folder / "val2017").glob("*.jpg")).unlink()
    host.requests.clear()
    made.get(say=said.append)
    assert host.requests == [("val2017.zip", None)]
    assert len(list((folder / "val2017").glob("*.jpg"))) == len(made.layout.ids["val"])
    assert sum("already unpacked" in line for line in said) == 3


def test_kept_archives_serve_again(host: Host, tmp_path: Path) -> None:
    made = official("ade20k", host, tmp_path)
    folder = made.get(keep=True)
    assert (folder / "archives" / "annotations_instance.tar").is_file()
    shutil.rmtree(folder / "annotations_instance")
    host.requests.clear()
    made.get(keep=True)
    assert host.requests == []
    assert (folder / "annotations_instance" / "validation").is_dir()


def content(size: int = 300_000, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8).tobytes()


def test_a_cut_connection_goes_on_where_it_stopped(host: Host, tmp_path: Path) -> None:
    host.files, host.faults, said = {"a": content()}, [("cut", 1000), ("status", 503), ("cut", 0), ("cut", 500)], []
    fetch.fetch(f"{host.url}/a", tmp_path / "a", 300_000, say=said.append)
    assert (tmp_path / "a").read_bytes() == content()
    assert [wanted for _, wanted in host.requests] == [None, *["bytes=1000-"] * 3, "bytes=1500-"]
    assert "the connection ended at 1000 of 300000 bytes" in said[0]
    assert "the server answers 503; again in 0 s" in said[1]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.lists(st.integers(1, 4000), max_size=3),
    ranges=st.booleans(),
    etags=st.booleans(),
    size=st.integers(1, 9000),
)
def test_however_it_is_cut_the_file_is_the_servers(
    host: Host, tmp_path: Path, cuts: list[int], ranges: bool, etags: bool, size: int
) -> None:
    host.files, host.ranges, host.etags = {"a": content(size)}, ranges, etags
    host.faults = [("cut", cut) for cut in cuts]
    fetch.fetch(f"{host.url}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == content(size)
    (tmp_path / "a").unlink()


def test_a_server_without_ranges_begins_anew(host: Host, tmp_path: Path) -> None:
    host.files, host.ranges, host.faults = {"a": content()}, False, [("cut", 1000)]
    fetch.fetch(f"{host.url}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == content()


@pytest.mark.parametrize("conditions", [True, False])
@pytest.mark.parametrize("size", [300_000, 900, 400_000])
def test_a_file_that_changed_is_not_glued(host: Host, tmp_path: Path, conditions: bool, size: int) -> None:
    host.files, host.faults, host.conditions = {"a": content()}, [("cut", 1000)] + [("status", 503)] * 9, conditions
    with pytest.raises(UserError, match=r"1000 bytes are kept in .*a\.part, the same command goes on from there"):
        fetch.fetch(f"{host.url}/a", tmp_path / "a")
    host.files, host.faults = {"a": content(size, seed=1)}, []
    fetch.fetch(f"{host.url}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == content(size, seed=1)


def test_a_file_of_another_length_is_refused(host: Host, tmp_path: Path) -> None:
    host.files = {"a": content(500)}
    with pytest.raises(UserError, match="/a has 500 bytes, expected 700"):
        fetch.fetch(f"{host.url}/a", tmp_path / "a", 700)
    host.faults = [("lie", 200)] * 99
    with pytest.raises(UserError, match="the file changed, or it told a wrong length"):
        fetch.fetch(f"{host.url}/a", tmp_path / "a", 700)
    assert not (tmp_path / "a").exists()


def test_an_absent_file_is_refused_at_once(host: Host, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the server answers 404 Not Found; name a --mirror that has it"):
        fetch.fetch(f"{host.url}/a", tmp_path / "a")
    assert len(host.requests) == 1


def test_no_network_is_one_line(host: Host, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be reached \(Connection refused\); check the network") as caught:
        fetch.fetch("http://127.0.0.1:9/a", tmp_path / "a")
    assert "\n" not in str(caught.value)


def test_a_wrong_checksum_is_removed_and_said(host: Host, tmp_path: Path) -> None:
    made = official("ade20k", host, tmp_path)
    good = host.files["annotations_instance.tar"]
    host.files["annotations_instance.tar"] = good[:-1] + bytes([good[-1] ^ 1])
    with pytest.raises(UserError, match=r"annotations_instance.tar has sha256 \w+, expected \w+"):
        made.get()
    assert not list(made.root.rglob("annotations_instance"))
    assert not list(made.root.rglob("annotations_instance.tar"))
    host.files["annotations_instance.tar"] = good
    assert made.get().is_dir()


def test_without_a_published_checksum_the_first_one_counts(host: Host, tmp_path: Path) -> None:
    made = official("ade20k", host, tmp_path)
    entry = made.known["ade20k"]
    plain = [one.model_copy(update={"sha1": None, "sha256": None, "length": None}) for one in entry.archives]
    made.known = {"ade20k": entry.model_copy(update={"archives": tuple(plain)})}
    folder = made.get()
    notes = json.loads((folder / "archives" / "annotations_instance.tar.json").read_text())
    assert notes["sha256"] == hashlib.sha256(host.files["annotations_instance.tar"]).hexdigest()
    shutil.rmtree(folder / "annotations_instance")
    host.files["annotations_instance.tar"] += b"\0" * 512
    with pytest.raises(UserError, match="recorded at the first download"):
        made.get()


def test_too_small_a_disk_is_said_before_anything_is_fetched(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = type("Usage", (), {"free": 3_000_000_000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: free)
    with pytest.raises(UserError, match=r"coco needs 39\.1 GB in .*root, 3\.0 GB are free; make room") as caught:
        download("coco", tmp_path / "root", mirror=host.url)
    assert "\n" not in str(caught.value)
    assert host.requests == []
    assert not (tmp_path / "root").exists()


def test_room_for_an_archive_at_a_time_is_enough_unless_they_are_kept(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = official("ade20k", host, tmp_path)
    free = type("Usage", (), {"free": 2_000_000 + len(host.files["annotations_instance.tar"])})
    monkeypatch.setattr("shutil.disk_usage", lambda _: free)
    with pytest.raises(UserError, match="ade20k needs"):
        made.get(keep=True)
    made.get()


def test_what_the_user_has_is_never_overwritten(host: Host, tmp_path: Path) -> None:
    made = official("coco", host, tmp_path)
    mine = made.root / "coco" / "annotations" / "instances_val2017.json"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    entry = made.known["coco"]
    rest = entry.archives[2].model_copy(update={"holds": {"annotations/instances_train2017.json": 1}})
    made.known = {"coco": entry.model_copy(update={"archives": (rest,)})}
    with pytest.raises(UserError, match=r"instances_val2017\.json is there and is not the archive's; move it away"):
        made.get()
    assert mine.read_text() == "mine"
    assert [path.name for path in mine.parent.iterdir()] == [mine.name]


def test_two_at_once_are_refused(host: Host, tmp_path: Path) -> None:
    made = official("ade20k", host, tmp_path)
    host.stop_at = 100
    first = threading.Thread(target=made.get)
    first.start()
    until(lambda: list(made.root.rglob("*.part")))
    with pytest.raises(UserError, match="another download is at work"):
        made.get()
    host.go.set()
    first.join()
    assert find("ade20k", DataRoots(root=made.root)).ids("val") == made.layout.ids["val"]


def until(true: Callable[[], Any], seconds: float = 60.0) -> None:
    start = time.monotonic()
    while not true():
        assert time.monotonic() - start < seconds
        time.sleep(0.02)


def bench(config: Path, *arguments: str) -> subprocess.Popen[str]:
    """The command in a process of its own, with the archives of a file instead of the official ones."""
    code = (
        "import sys; from pathlib import Path; from bench.data.downloading import archives, fetch\n"
        "archives.FILE, fetch.PAUSE = Path(sys.argv[1]), 0.0\n"
        "from bench.cli import main; code = main(sys.argv[2:]); assert 'torch' not in sys.modules; sys.exit(code)"
    )
    command = [sys.executable, "-c", code, str(config), *arguments]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell's background job, and all that it starts, ignores SIGINT
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_command_goes_on_from_there(host: Host, tmp_path: Path, by: signal.Signals) -> None:
    made = official("coco", host, tmp_path)
    config = tmp_path / "archives.yaml"
    entries = {name: entry.model_dump(mode="json", exclude_none=True) for name, entry in made.known.items()}
    config.write_text(yaml.safe_dump(entries))
    arguments = ("data", "download", "coco", "--data-root", str(made.root), "--mirror", host.url)
    host.stop_at = 700
    process = bench(config, *arguments)
    part = made.root / "coco" / "archives" / "train2017.zip.part"
    until(lambda: part.is_file() and part.stat().st_size == 700)
    process.send_signal(by)
    out, error = process.communicate(timeout=60)
    host.go.set()
    if by == signal.SIGINT:
        assert process.returncode == 130
        assert "train2017.zip: stopped; 700 bytes are kept in" in out
        assert "interrupted" in error
    assert part.stat().st_size == 700
    host.requests.clear()
    process = bench(config, *arguments)
    out, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (0, "")
    assert host.requests[0] == ("train2017.zip", "bytes=700-")
    assert "coco: whole in" in out
    assert find("coco", DataRoots(root=made.root)).ids("train") == made.layout.ids["train"]


def test_the_command_tells_the_steps_for_cityscapes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "download", "cityscapes", "--data-root", str(tmp_path)]) == 2
    out = capsys.readouterr().out
    assert "csDownload gtFine_trainvaltest.zip leftImg8bit_trainvaltest.zip" in out
    assert f"mkdir -p {tmp_path / 'cityscapes'}" in out
    assert f"data verify cityscapes --data-root {tmp_path}" in out
    write_cityscapes(tmp_path)
    assert main(["data", "download", "cityscapes", "--data-root", str(tmp_path)]) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["coca", "--data-root", "."], "did you mean 'coco'?"),
        (["coco"], "where to? name a folder with --data-root or BENCH_DATA_ROOT"),
        (["coco", "--data-root", ".", "--mirror", "ftp://x"], "--mirror: expected a URL"),
        (["ade20k", "--data-root", ".", "--mirror", "http://127.0.0.1:9"], "cannot be reached"),
    ],
)
def test_a_mistake_of_the_command_is_one_line(
    host: Host,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_DATA_ROOT", raising=False)
    assert main(["data", "download", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_the_official_archives_hold_what_the_layout_has(name: str, tmp_path: Path) -> None:
    layout, entry = WRITERS[name][0](tmp_path), downloads()[name]
    held = {path for archive in entry.archives for path in archive.holds}
    assert all((layout.folder / path).exists() for path in held)
    assert layout.folder.name in entry.folders
    for archive in entry.archives:
        assert archive.checksum is not None
        assert archive.source
    counts = {count for archive in entry.archives for count in archive.holds.values()}
    assert counts == {"coco": {118287, 5000, 1}, "ade20k": {20210, 2000, 1}}[name]


def test_a_typing_error_in_the_file_of_archives_is_found() -> None:
    with pytest.raises(ValueError, match="sha265"):
        Archive.model_validate({"url": "http://x/a.zip", "sha265": "0" * 64, "room": 1, "holds": {}})

"""How a preparation goes: in one pass for all sizes, killed and started again, by two at once, with bad images."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.cli import main
from bench.data.native.coco_panoptic import CocoPanoptic, ImageFolder, SplitFiles
from bench.data.native.panoptic_png import write_ids
from bench.data.native.scenes import Scenes
from bench.data.prepared import existing, prepare, prepare_sizes
from bench.data.preparing.draft import held
from bench.data.verify_prepared import verify
from bench.errors import UserError

SIZES = [(24, 32), (16, 16), (10, 15)]
TEXTS = "24x32,16x16,10x15"
HASHES = ("split_hash", "pixel_hash", "fractions", "segments_vanished_by_category")


def hashes(prepared: Any) -> dict[str, Any]:
    return {name: prepared.manifest[name] for name in HASHES}


def many(folder: Any, images: int) -> Path:
    """The toy folder's json with the same two files under many ids. Returns the dataset's folder."""
    both = folder.content["images"], folder.content["annotations"]
    folder.content["images"] = [both[0][n % 2] | {"id": n} for n in range(images)]
    folder.content["annotations"] = [both[1][n % 2] | {"image_id": n} for n in range(images)]
    folder.write()
    return folder.root


class Counting:
    """A source that counts how often an image is read."""

    def __init__(self, source: Any) -> None:
        self.source, self.read = source, []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.source, name)

    def part(self, split: str, ids: Any) -> Counting:
        return self

    def scene(self, split: str, id: str, halve: bool = False) -> Any:
        self.read.append(id)
        return self.source.scene(split, id, halve)


def test_one_pass_makes_what_a_pass_for_each_size_makes(folder: Any, tmp_path: Path) -> None:
    folder.annotate_instances(139)
    source = Counting(folder.write())
    together = prepare_sizes(source, "val", SIZES, None, tmp_path / "a")
    assert source.read == ["aachen_1", "139"]
    for size, one in zip(SIZES, together, strict=True):
        assert one.size == size
        assert hashes(one) == hashes(prepare(source, "val", size, None, tmp_path / "b"))
        assert verify(one.folder) == []
    assert [one.folder for one in prepare_sizes(source, "val", SIZES[::-1], None, tmp_path / "a")] == [
        one.folder for one in together[::-1]
    ]


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    source = Counting(Scenes())
    prepare(source, "val", (16, 16), 3, tmp_path)
    prepare_sizes(source, "val", [(16, 16), (16, 24)], 3, tmp_path)
    assert len(source.read) == 6
    prepare_sizes(source, "val", [(16, 24), (16, 16)], 3, tmp_path)
    assert len(source.read) == 6


def large_jpegs(root: Path) -> CocoPanoptic:
    """Two drawn scenes as JPEGs of 401 x 533 pixels, large enough to be decoded at half size."""
    source, (height, width) = Scenes(), (401, 533)
    (root / "train").mkdir(parents=True)
    content: dict[str, Any] = {"images": [], "annotations": [], "categories": source.categories.to_json()}
    for n, id in enumerate(source.ids("train")[:2]):
        scene = source.scene("train", id)
        Image.fromarray(scene.image).resize((width, height), Image.Resampling.BICUBIC).save(root / f"{n}.jpg")
        ids = np.asarray(Image.fromarray(scene.segments).resize((width, height), Image.Resampling.NEAREST))
        write_ids(root / "train" / f"{n}.png", ids)
        infos = [{"id": k, "category_id": s.category + 1, "iscrowd": 0} for k, s in scene.table.items()]
        content["images"].append({"id": n, "file_name": f"{n}.jpg", "height": height, "width": width})
        content["annotations"].append({"image_id": n, "file_name": f"{n}.png", "segments_info": infos})
    (root / "train.json").write_text(json.dumps(content))
    return CocoPanoptic("large", {"train": SplitFiles(root / "train.json", root / "train", ImageFolder(root))})


def test_halved_pictures_do_not_depend_on_what_else_is_made(tmp_path: Path) -> None:
    """Sizes above 128 take whole pictures, the others halved ones: each size is the same alone and beside others."""
    source, sizes = large_jpegs(tmp_path / "large"), [(128, 128), (40, 56), (160, 200)]
    together = prepare_sizes(source, "train", sizes, None, tmp_path / "a")
    for size, one in zip(sizes, together, strict=True):
        assert hashes(one) == hashes(prepare(source, "train", size, None, tmp_path / "b"))
        whole = source.scene("train", "1")
        plain = Image.fromarray(whole.image).resize(size[::-1], Image.Resampling.BILINEAR)
        assert np.array_equal(one.images[1], plain) == (size == (160, 200))
        assert abs(one.images[1].astype(int) - np.asarray(plain)).mean() < 3
    assert source.scene("train", "1", True).image.shape == (201, 267, 3)
    assert source.scene("train", "1", True).segments.shape == (401, 533)


def test_an_interrupted_preparation_goes_on(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 64:
            raise KeyboardInterrupt

    source = Counting(Scenes())
    with pytest.raises(KeyboardInterrupt):
        prepare(source, "val", (16, 16), 100, tmp_path / "a", interrupt)
    assert existing(source, "val", (16, 16), 100, tmp_path / "a") is None
    seen: list[tuple[int, int]] = []
    resumed = prepare(source, "val", (16, 16), 100, tmp_path / "a", lambda *told: seen.append(told))
    assert sorted(source.read) == sorted(set(source.read)) == sorted(resumed.ids)  # no image was read twice
    assert seen == [(32, 100), (64, 100), (96, 100), (100, 100)]
    assert hashes(resumed) == hashes(prepare(Scenes(), "val", (16, 16), 100, tmp_path / "b"))
    assert [path.name for path in (tmp_path / "a" / "scenes").iterdir()] == [resumed.folder.name]


def test_more_sizes_go_on_from_where_each_is(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    source = Counting(Scenes())
    with pytest.raises(KeyboardInterrupt):
        prepare(source, "val", (16, 16), 64, tmp_path / "a", interrupt)
    both = prepare_sizes(source, "val", [(16, 24), (16, 16)], 64, tmp_path / "a")
    assert len(source.read) == 32 + 64  # the second half of the one, all of the other
    for one in both:
        assert hashes(one) == hashes(prepare(Scenes(), "val", one.size, 64, tmp_path / "b"))


def start(dataset: Path, root: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench", "data", "prepare", "toy", "--dataset", f"toy={dataset}"]
    return subprocess.Popen(
        [*command, "--sizes", TEXTS, "--prepared", str(root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def both_splits(make_folder: Callable[..., Any], root: Path, images: int) -> Path:
    many(make_folder(root, "train"), images)
    return many(make_folder(root, "val", ("x", "y")), 2)


def chunks_of(root: Path) -> list[Path]:
    return sorted(root.glob("toy/.*/*.npz"))


def in_time(true: Callable[[], bool], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for child processes in /proc")
def test_killed_and_started_again_gives_the_same(make_folder: Callable[..., Any], tmp_path: Path) -> None:
    """SIGKILL of the command while it works: its processes end too, and the next call does only the rest."""
    dataset, root = both_splits(make_folder, tmp_path / "toy", 1500), tmp_path / "killed"
    process = start(dataset, root)
    assert in_time(lambda: len(chunks_of(root)) >= 9)
    workers = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert workers
    assert in_time(lambda: not any(map(alive, workers)))
    done = len(chunks_of(root))
    assert 9 <= done < 3 * 47  # in the middle of the training split
    assert not list(root.glob("toy/train-*"))
    process = start(dataset, root)
    output = process.communicate()[0]
    assert process.returncode == 0, output
    assert not list(root.glob("toy/.*"))
    source = CocoPanoptic("toy", {split: files(dataset, split) for split in ("train", "val")})
    expected = prepare_sizes(source, "train", SIZES, None, tmp_path / "whole", processes=1)
    for one in expected:
        found = existing(source, "train", one.size, None, root)
        assert hashes(found) == hashes(one)
        assert verify(found.folder) == []


def files(dataset: Path, split: str) -> SplitFiles:
    stem = dataset / "annotations" / f"panoptic_{split}"
    return SplitFiles(stem.with_suffix(".json"), stem, ImageFolder(dataset / split))


def test_two_at_once_make_it_once(make_folder: Callable[..., Any], tmp_path: Path) -> None:
    dataset, root = both_splits(make_folder, tmp_path / "toy", 400), tmp_path / "p"
    processes = [start(dataset, root) for _ in range(2)]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    source = CocoPanoptic("toy", {split: files(dataset, split) for split in ("train", "val")})
    assert len(list(root.glob("toy/train-*"))) == 3
    assert not list(root.glob("toy/.*"))
    for one in prepare_sizes(source, "train", SIZES, None, tmp_path / "alone", processes=1):
        assert hashes(existing(source, "train", one.size, None, root)) == hashes(one)


def test_a_damaged_draft_is_named(tmp_path: Path) -> None:
    """After a loss of power a chunk may be told done whose pixels never reached the disk."""

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(Scenes(), "val", (16, 16), 40, tmp_path, interrupt)
    (draft,) = (tmp_path / "scenes").glob(".*")
    array = np.load(draft / "whole" / "segments.npy", mmap_mode="r+")
    array[5] = 0
    array.flush()
    with pytest.raises(UserError, match=rf"{draft.name} is damaged .*remove that folder and prepare again"):
        prepare(Scenes(), "val", (16, 16), 40, tmp_path)


def test_a_draft_cut_short_is_named(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(Scenes(), "val", (16, 16), 40, tmp_path, interrupt)
    (draft,) = (tmp_path / "scenes").glob(".*")
    os.truncate(draft / "whole" / "images.npy", 5000)
    with pytest.raises(UserError, match=rf"{draft.name} is damaged .*remove that folder and prepare again"):
        prepare(Scenes(), "val", (16, 16), 40, tmp_path)


def interrupted(source: Any, root: Path) -> Path:
    """The draft that an interrupted preparation leaves."""

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    before = set((root / source.name).glob(".*"))
    with pytest.raises(KeyboardInterrupt):
        prepare(source, "val", (16, 16), 40, root, interrupt)
    (draft,) = set((root / source.name).glob(".*")) - before
    return draft


def test_drafts_of_files_that_have_changed_are_removed_once_there_is_a_newer_whole(folder: Any, tmp_path: Path) -> None:
    source = CocoPanoptic("toy", {"val": files(many(folder, 70), "val")})
    interrupted(source, tmp_path)
    prepare(source, "val", (16, 20), 40, tmp_path)  # another size: the draft may still be gone on from
    os.utime(source.splits["val"].panoptic_json, (0, 0))
    newer = interrupted(source, tmp_path)
    os.utime(source.splits["val"].panoptic_json, (1, 1))
    with held(newer, lambda chunks: None):
        prepare(source, "val", (16, 16), 40, tmp_path)
        assert list((tmp_path / "toy").glob(".*")) == [newer]  # somebody is at it


def test_a_draft_of_the_dataset_s_other_truth_is_kept(tmp_path: Path) -> None:
    class Other(Scenes):
        form = "regions"

        def fingerprint(self, split: str) -> str:
            return "other"

    class Both(Scenes):
        def for_task(self, task: str) -> Any:
            return Other() if task == "semantic" else self

    draft = interrupted(Other(), tmp_path)
    prepare(Both(), "val", (16, 16), 40, tmp_path)
    assert list((tmp_path / "scenes").glob(".*")) == [draft]


def spoil(folder: Any, images: int = 70) -> CocoPanoptic:
    """Image 33's picture is cut short, 40's PNG is gone."""
    many(folder, images)
    content = folder.content
    (folder.images / "short.png").write_bytes((folder.images / "139.png").read_bytes()[:60])
    content["images"][33]["file_name"] = "short.png"
    content["annotations"][40]["file_name"] = "gone.png"
    return folder.write()


@pytest.mark.parametrize("processes", [1, 2])
def test_bad_images_are_left_out_when_asked(folder: Any, tmp_path: Path, processes: int) -> None:
    source = spoil(folder)
    with pytest.raises(UserError, match=r"image 33: .*short.png.*--skip-bad"):
        prepare_sizes(source, "val", SIZES, None, tmp_path, processes=processes)
    made = prepare_sizes(source, "val", SIZES, None, tmp_path, processes=processes, skip_bad=True)
    assert [path.name for path in sorted((tmp_path / "toy").glob(".*"))] == []
    for one in made:
        assert "-skipped-" in one.folder.name
        assert one.ids == [str(n) for n in range(70) if n not in (33, 40)]
        assert [skipped["image"] for skipped in one.manifest["skipped"]] == ["33", "40"]
        assert "short.png" in one.manifest["skipped"][0]["reason"]
        assert "gone.png" in one.manifest["skipped"][1]["reason"]
        assert verify(one.folder) == []


def test_without_the_bad_it_is_what_the_good_alone_would_give(folder: Any, tmp_path: Path) -> None:
    bad = prepare_sizes(spoil(folder), "val", SIZES, None, tmp_path / "a", skip_bad=True)
    whole = prepare_sizes(spoil(folder, 71), "val", SIZES, None, tmp_path / "c", skip_bad=True)
    assert whole[0].split_hash != bad[0].split_hash
    content = folder.content
    for key in ("images", "annotations"):
        content[key] = [row for n, row in enumerate(content[key]) if n not in (33, 40, 70)]
    good = prepare_sizes(folder.write(), "val", SIZES, None, tmp_path / "b", skip_bad=True)
    assert [hashes(one) for one in bad] == [hashes(one) for one in good]
    assert all("-skipped-" not in one.folder.name for one in good)  # nothing was: it is a whole preparation


def test_runs_take_the_one_without_bad_images_until_there_is_a_whole_one(folder: Any, tmp_path: Path) -> None:
    source = spoil(folder)
    (made,) = prepare_sizes(source, "val", [(16, 16)], None, tmp_path, skip_bad=True)
    assert existing(source, "val", (16, 16), None, tmp_path).folder == made.folder
    with pytest.raises(UserError, match="image 33"):
        prepare_sizes(source, "val", [(16, 16)], None, tmp_path)
    (folder.images / "short.png").write_bytes((folder.images / "139.png").read_bytes())
    (folder.pngs / "gone.png").write_bytes((folder.pngs / "139.png").read_bytes())
    (whole,) = prepare_sizes(source, "val", [(16, 16)], None, tmp_path)
    assert len(whole) == 70
    assert whole.split_hash != made.split_hash
    assert existing(source, "val", (16, 16), None, tmp_path).folder == whole.folder


def test_a_bad_row_of_the_json_is_left_out_too(folder: Any, tmp_path: Path) -> None:
    many(folder, 5)
    del folder.content["annotations"][2]
    source = folder.write()
    with pytest.raises(UserError, match=r"no annotation for image 2.*--skip-bad"):
        prepare(source, "val", (8, 8), None, tmp_path)
    (made,) = prepare_sizes(source, "val", [(8, 8)], None, tmp_path, skip_bad=True)
    assert made.ids == ["0", "1", "3", "4"]
    assert [skipped["image"] for skipped in made.manifest["skipped"]] == ["2"]


def test_nothing_good_is_refused(folder: Any, tmp_path: Path) -> None:
    source = folder.write()
    for path in folder.pngs.iterdir():
        path.unlink()
    with pytest.raises(UserError, match="no image can be read"):
        prepare_sizes(source, "val", [(8, 8)], None, tmp_path, skip_bad=True)


def test_the_command_tells_what_vanished_and_what_was_left_out(
    folder: Any, make_folder: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_folder(folder.root, "train", ("u", "v")).write()
    spoil(folder)
    command = ["data", "prepare", "toy", "--dataset", f"toy={folder.root}", "--sizes", "20x30,10x15"]
    command += ["--prepared", str(tmp_path / "p")]
    assert main(command) == 2
    assert "--skip-bad" in capsys.readouterr().err
    assert main([*command, "--skip-bad"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("left out: " in line for line in lines) == 4
    (row,) = [line.split() for line in lines if line.startswith("toy val 10x15")]
    assert row[3:9] == ["68", "2", "272", "68", "(25.0%)", "-"]
    assert " ".join(row).endswith("dog 68 of 68")


MEASURE = """
import resource, sys
from pathlib import Path
from bench.data.native.coco_panoptic import CocoPanoptic, ImageFolder, SplitFiles
from bench.data.prepared import prepare_sizes

def main():
    root = Path(sys.argv[1])
    stem = root / "annotations" / "panoptic_val"
    source = CocoPanoptic("toy", {"val": SplitFiles(stem.with_suffix(".json"), stem, ImageFolder(root / "val"))})
    prepare_sizes(source, "val", [(128, 128)], None, Path(sys.argv[2]), processes=2)
    # Not its own ru_maxrss, which an exec passes on: it would be the peak of the process that runs the tests.
    own = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
    print(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)

if __name__ == "__main__":
    main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_memory_does_not_grow_with_the_images(make_folder: Callable[..., Any], tmp_path: Path) -> None:
    """Prepared, the larger set has 205 MB more: neither the arrays nor their rows may be held."""
    script = tmp_path / "measure.py"
    script.write_text(MEASURE)
    quiet = os.environ | {"OMP_NUM_THREADS": "1"}
    peaks = []
    for images in (500, 3000):
        root = many(make_folder(tmp_path / str(images), "val"), images)
        command = [sys.executable, str(script), str(root), str(tmp_path / f"p{images}")]
        told = subprocess.run(command, capture_output=True, text=True, check=True, env=quiet)
        peaks.append(np.array(told.stdout.split(), dtype=int) / 1024)  # the process, the larger of its workers
    assert peaks[1].max() < 400
    assert (peaks[1] - peaks[0]).max() < 40

"""How fast `bench data prepare` is, as a ratio to two processes that merely decode the same files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.data.native.panoptic_png import write_ids
from bench.data.native.scenes import Scenes

FILES, IMAGES, PROCESSES, ROUNDS = 120, 960, 2, 3  # every file stands for some images: the disk is not what is measured
SIZE = (480, 640)
GRAIN = 13  # standard deviation of the noise: with it a JPEG has the 160 kB of COCO's of that size

DECODE = """
import sys, time
from PIL import Image
names = sys.argv[2:]
start = time.perf_counter()
for _ in range(int(sys.argv[1])):
    for name in names:
        with Image.open(name) as picture:
            picture.load()
print(time.perf_counter() - start)
"""
PREPARE = """
import sys, tempfile, time
from pathlib import Path
from bench.data.native.coco_panoptic import CocoPanoptic, ImageFolder, SplitFiles
from bench.data.prepared import prepare_sizes

def main():
    root, processes = Path(sys.argv[1]), int(sys.argv[2])
    own = root / "instances.json" if sys.argv[3] == "instances" else None
    source = CocoPanoptic("c", {"train": SplitFiles(root / "train.json", root / "train", ImageFolder(root), own)})
    ticks = []
    with tempfile.TemporaryDirectory() as out:
        sizes = [(128, 128), (64, 64), (48, 64), (32, 32)]
        tick = lambda done, of: ticks.append((time.perf_counter(), done))
        made = prepare_sizes(source, "train", sizes, None, Path(out), tick, processes)
    start, done = ticks[processes - 1]  # when every process has begun
    print((len(made[0]) - done) / (time.perf_counter() - start))

if __name__ == "__main__":
    main()
"""


def draw(folder: Path) -> tuple[list[str], list[str]]:
    """COCO's layout: drawn scenes at 640x480 with grain, their panoptic PNGs, and a polygon for every thing."""
    source, rng = Scenes(), np.random.default_rng(0)
    noise = rng.normal(0, GRAIN, (*SIZE, 3)).astype(np.float32)
    (folder / "train").mkdir()
    images, rows, instances = [], [], []
    pictures, pngs = [], []
    for n, id in enumerate(source.ids("train")[:FILES]):
        scene = source.scene("train", id)
        smooth = np.asarray(Image.fromarray(scene.image).resize(SIZE[::-1], Image.Resampling.BICUBIC), dtype=np.float32)
        grainy = np.clip(smooth + np.roll(noise, 7 * n, axis=0), 0, 255).astype(np.uint8)
        Image.fromarray(grainy).save(folder / f"{n}.jpg", quality=90)
        large = np.asarray(Image.fromarray(scene.segments).resize(SIZE[::-1], Image.Resampling.NEAREST))
        write_ids(folder / "train" / f"{n}.png", large * 1009)
        pictures.append(str(folder / f"{n}.jpg"))
        pngs.append(str(folder / "train" / f"{n}.png"))
        images.append({"file_name": f"{n}.jpg", "height": SIZE[0], "width": SIZE[1]})
        infos = [{"id": k * 1009, "category_id": s.category + 1, "iscrowd": 0} for k, s in scene.table.items()]
        rows.append({"file_name": f"{n}.png", "segments_info": infos})
        instances.append([polygon(large == k, s.category + 1) for k, s in scene.table.items() if s.is_thing])
    all_of = range(IMAGES)
    content = {
        "images": [images[n % FILES] | {"id": n} for n in all_of],
        "annotations": [rows[n % FILES] | {"image_id": n} for n in all_of],
        "categories": source.categories.to_json(),
    }
    (folder / "train.json").write_text(json.dumps(content))
    own = [row | {"image_id": n} for n in all_of for row in instances[n % FILES]]
    (folder / "instances.json").write_text(json.dumps({"annotations": own}))
    return pictures, pngs


def polygon(mask: np.ndarray, category: int) -> dict[str, Any]:
    """Around a mask, row by row: down its left side and up its right, a corner every few pixels as a person would."""
    rows = np.flatnonzero(mask.any(axis=1))[::4]
    left = [(int(mask[y].argmax()), int(y)) for y in rows]
    right = [(int(mask.shape[1] - mask[y, ::-1].argmax()), int(y)) for y in rows[::-1]]
    corners = [coordinate for corner in (*left, *right) for coordinate in corner]
    return {"category_id": category, "iscrowd": 0, "segmentation": [corners + corners[:2] * 2]}


def decoding(names: list[str]) -> float:
    """Images a second of two processes that decode a JPEG and a PNG for each."""
    parts = [names[k::PROCESSES] for k in range(PROCESSES)]
    repeats = IMAGES // FILES
    started = [
        subprocess.Popen([sys.executable, "-c", DECODE, str(repeats), *part], stdout=subprocess.PIPE, text=True)
        for part in parts
    ]
    seconds = [float(process.communicate()[0]) for process in started]
    return IMAGES / max(seconds)


def preparing(folder: Path, what: str) -> float:
    script = folder / "prepare.py"
    script.write_text(PREPARE)
    command = [sys.executable, str(script), str(folder), str(PROCESSES), what]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.perf
@pytest.mark.parametrize("what", ["panoptic", "instances"])
def test_four_sizes_are_prepared_nearly_as_fast_as_decoded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    pictures, pngs = draw(tmp_path)
    names = [name for pair in zip(pictures, pngs, strict=True) for name in pair]
    rates = [(preparing(tmp_path, what), decoding(names)) for _ in range(ROUNDS)]
    best = max(ours for ours, _ in rates), max(theirs for _, theirs in rates)
    kilobytes = np.mean([Path(name).stat().st_size for name in pictures]) / 1000
    with capsys.disabled():
        sys.stdout.write(
            f"\nprepare with {what}, 640x480, JPEGs of {kilobytes:.0f} kB, 4 sizes, {PROCESSES} processes: "
            f"{best[0]:.0f} images/s, merely decoding {best[1]:.0f}: ratio {best[0] / best[1]:.2f}; each round "
            f"{', '.join(f'{ours / theirs:.2f}' for ours, theirs in rates)}\n"
        )
    assert best[0] / best[1] > 0.5  # 0.8 on a quiet machine

"""Figures 2 and 5: the same images for all, pixel by pixel, and what is said where they are not."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bench.evaluate.samples import draw_sample
from bench.named import load_named
from bench.record import Record
from bench.report.build import build_reports
from bench.report.drawing.mosaic import Mosaic, Strip
from bench.report.drawing.samples import read_samples
from bench.report.exhibit import Exhibit
from bench.report.exhibits.gallery import build_exhibit
from bench.report.render.markdown import render_markdown
from bench.spec import Suite
from models.categories import Categories, Category, PredictedSegment, Segment

ROOT = Path(__file__).parents[2]
KINDS = Categories((Category(1, "road", False, (90, 0, 0)), Category(2, "car", True, (0, 200, 0))))
SIZE = (4, 6)
SEGMENTS = {1: Segment(0, False, False), 2: Segment(1, True, False)}
FOUND = {1: PredictedSegment(0, 0.5), 2: PredictedSegment(1, 0.5)}


def image_of(number: int) -> NDArray[np.uint8]:
    return np.random.default_rng(number).integers(0, 256, (*SIZE, 3)).astype(np.uint8)


def truth_of(number: int) -> NDArray[np.int64]:
    return np.random.default_rng(100 + number).integers(0, 3, SIZE)


def add_samples(record: Record, car_at: int, count: int = 4, changed: int | None = None) -> None:
    """A prediction of road with one car pixel, at the row's place `car_at`; `changed`: the image with another truth."""
    for number in range(count):
        truth, predicted = truth_of(number), np.ones(SIZE, np.int64)
        predicted[0, car_at] = 2
        if number == changed:
            truth[-1, -1] = (truth[-1, -1] + 1) % 3
        maps = (truth, SEGMENTS), (predicted, FOUND)
        draw_sample(record.folder / "samples", number, f"val-{number}", KINDS, "semantic", image_of(number), *maps)


def runs(fake, dataset: str = "scenes") -> tuple[Record, Record]:
    unet = fake.done("unet", 0.41, task="semantic", dataset=dataset)
    return unet, fake.done("maskattn-unet", 0.52, task="semantic", dataset=dataset)


def exhibit_of(*records: Record, suite: str = "figure2") -> Exhibit:
    return build_exhibit(load_named("suite", suite, Suite), records, {})


def text_of(exhibit: Exhibit) -> str:
    return render_markdown(exhibit, "../results", {})


def test_rows_are_input_truth_and_each_method_in_the_suites_order(fake) -> None:
    unet, ours = runs(fake)
    add_samples(unet, 1)
    add_samples(ours, 2)
    (section,) = exhibit_of(ours, unet).sections
    (mosaic,) = section.figures
    assert isinstance(mosaic, Mosaic)
    assert mosaic.heads == ("val-0", "val-1", "val-2", "val-3")
    assert [strip.label for strip in mosaic.strips] == ["Input", "Truth", "U-Net", "MaskAttn-UNet"]
    colors = np.array([(0, 0, 0), (90, 0, 0), (0, 200, 0)], np.uint8)
    for number in range(4):
        image, truth, one, other = (strip.pictures[number] for strip in mosaic.strips)
        assert (image == image_of(number)).all()
        assert (truth == colors[truth_of(number)]).all()
        for picture, at in ((one, 1), (other, 2)):
            assert picture is not None
            assert np.argwhere((picture == (0, 200, 0)).all(-1)).tolist() == [[0, at]]
    assert mosaic.classes == {"car": (0, 200, 0), "road": (90, 0, 0), "void": (0, 0, 0)}
    assert [cell.value for row in section.table.rows for cell in row.cells] == pytest.approx([41.0, 52.0])
    digests = [hashlib.sha256(path.read_bytes()).hexdigest()[:12] for path in sorted(ours.folder.glob("samples/*"))]
    assert section.facts[0].heads == ("Image", "U-Net", "MaskAttn-UNet")
    assert [(line[0], line[2]) for line in section.facts[0].lines] == list(zip(mosaic.heads, digests, strict=True))
    assert "does not say which methods" in text_of(exhibit_of(ours, unet))


def test_another_truth_for_one_image_is_named_and_not_mixed_in(fake) -> None:
    unet, ours = runs(fake)
    add_samples(unet, 1)
    add_samples(ours, 2, changed=2)
    exhibit = exhibit_of(unet, ours)
    (mosaic,) = exhibit.figures
    assert isinstance(mosaic, Mosaic)
    assert [picture is None for picture in mosaic.strips[-1].pictures] == [False, False, True, False]
    assert "MaskAttn-UNet, val-2: the truth is not that of U-Net, though both were evaluated on split abababab" in (
        text_of(exhibit)
    )


@pytest.mark.parametrize("what", ["the input", "the image's id"])
def test_another_image_under_one_number_is_named(fake, what: str) -> None:
    unet, ours = runs(fake)
    add_samples(unet, 1)
    add_samples(ours, 2)
    path = ours.folder / "samples" / "1-val-1.png"
    if what == "the input":
        pixels = np.array(Image.open(path))
        pixels[0, 0] ^= 1
        Image.fromarray(pixels).save(path)
    else:
        path.rename(path.with_name("1-val-9.png"))
    assert f": {what} is not that of U-Net" in text_of(exhibit_of(unet, ours))


def test_a_run_without_samples_is_a_gap_and_no_row(fake) -> None:
    unet, ours = runs(fake)
    add_samples(unet, 1)
    (section,) = exhibit_of(unet, ours).sections
    (mosaic,) = section.figures
    assert isinstance(mosaic, Mosaic)
    assert [strip.label for strip in mosaic.strips] == ["Input", "Truth", "U-Net"]
    assert len(section.table.rows) == 2
    gap = next(gap for gap in section.gaps if gap.models == ("MaskAttn-UNet",))
    assert gap.reason == "done, but its sample pictures are not here"
    assert gap.how == f"remove results/{ours.run_id} and run its suite again"


def test_a_broken_picture_is_named(fake) -> None:
    unet, ours = runs(fake)
    add_samples(unet, 1)
    add_samples(ours, 2)
    path = ours.folder / "samples" / "0-val-0.png"
    path.write_bytes(path.read_bytes()[:60])
    (unet.folder / "samples" / "9-x.png").write_text("no picture")
    Image.new("RGB", (10, 4)).save(unet.folder / "samples" / "8-x.png")
    Image.new("RGB", (3 * 321, 4)).save(unet.folder / "samples" / "7-x.png")
    (section,) = exhibit_of(unet, ours).sections
    assert len(section.table.notes) == 4
    assert all("cannot be read" in note and note.endswith("left out.") for note in section.table.notes)
    assert f"{ours.run_id}/samples/0-val-0.png cannot be read" in section.table.notes[-1]
    assert "8-x.png cannot be read (10 x 4 pixels are not three panels" in "".join(section.table.notes)


def test_a_picture_of_an_older_run_has_no_id_and_no_legend(fake) -> None:
    unet, ours = runs(fake)
    add_samples(unet, 1)
    for path in (unet.folder / "samples").iterdir():
        Image.fromarray(np.asarray(Image.open(path))).save(path.with_name(f"{path.name[0]}.png"))
        path.unlink()
    samples, faults = read_samples(unet)
    assert [(sample.name, sample.classes) for sample in samples] == [(f"image {n}", {}) for n in range(4)]
    assert faults == []
    add_samples(ours, 2)
    (mosaic,) = exhibit_of(unet, ours).figures
    assert isinstance(mosaic, Mosaic)
    assert mosaic.heads == ("val-0", "val-1", "val-2", "val-3")  # as the other run says


def mosaic() -> Mosaic:
    strips = (Strip("Input", (image_of(0), None)), Strip("Truth", (image_of(1), image_of(2))))
    return Mosaic("x", "alt", "A $title", ("one", "two"), strips, {"a $\\class$": (1, 2, 3), "b" * 40: (4, 5, 6)})


def test_the_svg_holds_each_picture_in_its_own_pixels() -> None:
    svg = mosaic().draw()["svg"].decode()
    found = [np.asarray(Image.open(io.BytesIO(base64.b64decode(x))).convert("RGB")) for x in embedded(svg)]
    assert [picture.shape for picture in found] == [(4, 6, 3)] * 3
    for number in range(3):
        same = [(p == image_of(number)).all() or (p[::-1] == image_of(number)).all() for p in found]
        assert sum(same) == 1
    assert "image-rendering:pixelated" in svg.replace(" ", "")


def embedded(svg: str) -> list[str]:
    return [found.replace("\n", "") for found in re.findall(r'base64,([^"]+)"', svg)]


def test_the_png_shows_the_pixels_as_squares() -> None:
    drawn = mosaic()
    files = drawn.draw()
    assert files == drawn.draw()
    shown = np.asarray(Image.open(io.BytesIO(files["png"])).convert("RGB"))
    for number in range(3):  # each colour of the random pictures stands in a patch of many pixels
        for color in image_of(number).reshape(-1, 3):
            assert (shown == color).all(-1).sum() > 400
    assert shown.shape[1] == 1400


def test_pictures_of_other_datasets_are_drawn_apart_and_on_no_page(fake, tmp_path: Path) -> None:
    records = runs(fake, dataset="coco")
    add_samples(records[0], 1)
    suites = [load_named("suite", "figure2", Suite)]
    out = tmp_path / "reports"
    with_pictures = {p: p.read_bytes() for p in build_reports(fake.store, suites, {}, out)}
    private = sorted(path.name for path in (out / "private").iterdir())
    assert [name.rpartition(".")[2] for name in private] == ["pdf", "png", "svg"]
    assert not any(b"data:image/png" in text or b"samples/" in text for text in with_pictures.values())
    assert not any(private[0].encode() in text for text in with_pictures.values())
    assert b"are not ours to pass on" in with_pictures[out / "figure2.md"]
    shutil.rmtree(records[0].folder / "samples")
    assert {p: p.read_bytes() for p in build_reports(fake.store, suites, {}, out)} == with_pictures  # as in a clone


def test_git_ignores_what_is_not_ours_to_pass_on() -> None:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("no git repository here")
    ours = "results/unet-scenes-64x64-quick-s0-9a7f4788ed/samples/9-val-9.png"
    theirs = ["results/unet-coco-64x64-quick-s0-9a7f4788ed/samples/9-1.png", "reports/private/figure2.svg"]
    done = subprocess.run(["git", "check-ignore", ours, *theirs], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == theirs


def test_figure_5_has_a_section_a_size(fake) -> None:
    sizes = [(64, 64), (48, 64), (32, 32)]
    records = [fake.done("maskattn-unet", task="semantic", size=size) for size in sizes]
    for record in records:
        add_samples(record, 1)
    exhibit = exhibit_of(*records, suite="figure5")
    assert [section.table.size for section in exhibit.sections] == ["64x64", "48x64", "32x32"]
    assert len({figure.name for figure in exhibit.figures}) == 3

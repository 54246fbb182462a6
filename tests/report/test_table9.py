"""Table 9 and Figures 6 and 7: what is averaged, what stands beside the paper's numbers, what the notes say."""

import csv
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import bench.report.tables.levels as levels_module
from bench.measure.longrange_record import Level, LongRange, Shape, Spread, Statistics, write_longrange
from bench.report.build import exhibit_of, read_records
from bench.report.render.csv import render_csv
from bench.report.render.latex import render_latex
from bench.report.render.markdown import render_markdown
from bench.report.tables.levels import pool
from bench.report.tables.table import part_text
from bench.spec import Suite

SUITES = Path(__file__).parents[2] / "bench" / "suites"
SIDES = (64, 32, 16, 32, 64, 128)
ATT = tuple(f"att{n}" for n in range(1, 7))
PLAIN = ("down 1/2", "down 1/4", "down 1/8", "up 1/4", "up 1/2", "up 1/1")
WINDOWS, LAGS, FREQUENCIES = (8.0, 16.0, 64.0), (1.0, 2.0), (0.1, 0.2, 0.4)


def suite(name):
    return Suite.model_validate(yaml.safe_load((SUITES / f"{name}.yaml").read_text()))


def statistics(hurst, dfa, sd=0.1, n=4):
    return Statistics(
        series=4,
        hurst=Spread(mean=hurst, sd=sd, n=n),
        dfa=Spread(mean=dfa, sd=sd, n=n),
        beta=Spread(mean=0.3, sd=sd, n=n),
        autocorrelation=(0.5, 0.2),
        fluctuation=tuple(window**dfa for window in WINDOWS),
        power=tuple(frequency**-0.3 for frequency in FREQUENCIES),
    )


def longrange(names, exponents, untrained=(0.55, 0.5), sides=SIDES):
    """`exponents`: (Hurst, DFA) of each level; a level of 8x8 is not measured."""
    axes = {"lags": LAGS, "windows": WINDOWS, "frequencies": FREQUENCIES}
    noise = {"white": statistics(0.54, 0.5), "blurred": statistics(0.66, 0.67)}
    small = [side < 16 for side in sides]
    return LongRange(
        statistics=1,
        images=1,
        channels=4,
        scan="row by row",
        blur=1.4,
        levels=tuple(
            Level(
                name=name,
                height=side,
                width=side,
                reason="8x8 are 64 values; 256 at least" if tiny else None,
                trained=None if tiny else statistics(*pair),
                untrained=None if tiny else statistics(*untrained),
            )
            for name, side, pair, tiny in zip(names, sides, exponents, small, strict=True)
        ),
        shapes=tuple(Shape(height=s, width=s, **axes, **noise) for s in dict.fromkeys(sides) if s >= 16),
    )


RISING = tuple((0.60 + 0.02 * n, 0.60 + 0.02 * n) for n in range(6))


@pytest.fixture
def write(fake):
    """A finished run with its statistics."""

    def one(model="maskattn-unet", exponents=RISING, found=None, **of_spec):
        record = fake.done(model, **{"profile": "full", "dataset": "coco", **of_spec})
        names = ATT if model == "maskattn-unet" else PLAIN
        write_longrange(record.folder, found or longrange(names, exponents))
        fake.store.finish(record.status)
        return record

    return one


def shown(fake, name="table9"):
    return exhibit_of(suite(name), read_records(fake.store)[0], {})


def texts(table, label, part="ours"):
    (row,) = [row for row in table.rows if row.label == label]
    return [part_text(cell, column, part) for cell, column in zip(row.cells, table.columns, strict=True)]


def test_rows_are_levels_of_each_network_and_control(fake, write):
    write("unet", seed=0)
    write(seed=0)
    (section,) = shown(fake).sections
    labels = [row.label for row in section.table.rows]
    of_modules = [f"{name} ({side}x{side})" for name, side in zip(ATT, SIDES, strict=True)]
    of_plain = [f"{name} ({side}x{side})" for name, side in zip(PLAIN, SIDES, strict=True)]
    sizes = ("16x16", "32x32", "64x64", "128x128")
    assert labels[:24] == [
        *(f"MaskAttn-UNet: {one}" for one in of_modules),
        *(f"MaskAttn-UNet, untrained: {one}" for one in of_modules),
        *(f"U-Net: {one}" for one in of_plain),
        *(f"U-Net, untrained: {one}" for one in of_plain),
    ]
    assert sorted(labels[24:28]) == sorted(f"white noise: {size}" for size in sizes)
    assert sorted(labels[28:]) == sorted(f"blurred noise: {size}" for size in sizes)
    assert [column.title for column in section.table.columns] == ["Hurst (R/S)", "DFA", "PSD β"]
    assert texts(section.table, "MaskAttn-UNet: att3 (16x16)") == ["0.640 ± 0.100", "0.640 ± 0.100", "0.300 ± 0.100"]
    assert texts(section.table, "blurred noise: 16x16")[:2] == ["0.660 ± 0.100", "0.670 ± 0.100"]
    assert all(cell.mark is None for row in section.table.rows for cell in row.cells)


def test_seeds_are_pooled_over_their_series(fake, write):
    """By hand: 4 series each with means .6 and .8, sd .1; squares 2 * 3 * .01 + 8 * .01 = .14, over 7: sd .1414."""
    runs = [write(exponents=[(mean, mean)] * 6, seed=seed).run_id for seed, mean in enumerate((0.6, 0.8))]
    (section,) = shown(fake).sections
    row = section.table.rows[0]
    assert texts(section.table, row.label)[0] == "0.700 ± 0.141"
    cell = row.cells[0]
    assert (cell.n, cell.of, sorted(cell.runs), cell.file) == (8, "series", sorted(runs), None)


@given(st.lists(st.lists(st.floats(-1, 2), min_size=1, max_size=8), min_size=1, max_size=4))
def test_pooling_is_one_sample_of_all(samples):
    parts = [np.array(sample) for sample in samples]
    spreads = [Spread(mean=p.mean(), sd=p.std(ddof=1) if len(p) > 1 else None, n=len(p)) for p in parts]
    found, whole = pool([*spreads, Spread(mean=None, sd=None, n=0)]), np.concatenate(parts)
    assert (found.n, found.mean) == (len(whole), pytest.approx(whole.mean(), abs=1e-12))
    assert found.sd == (pytest.approx(whole.std(ddof=1), abs=1e-7) if len(whole) > 1 else None)


def test_the_papers_numbers_stand_beside_whole_coco_at_128_alone(fake, write):
    write()
    write("unet")
    exhibit = shown(fake)
    (section,) = exhibit.sections
    assert texts(section.table, "MaskAttn-UNet: att1 (64x64)", "paper") == ["0.628", "0.459", "-"]
    assert texts(section.table, "MaskAttn-UNet: att2 (32x32)", "paper") == ["-", "-", "-"]
    assert texts(section.table, "MaskAttn-UNet: att6 (128x128)", "paper") == ["0.694", "0.657", "-"]
    assert texts(section.table, "U-Net: up 1/1 (128x128)", "paper") == ["-", "-", "-"]
    assert [column.beside for column in section.table.columns] == [True, True, False]
    assert exhibit.printed.rows[0].label == "att1 (Early Encoder)"
    (chart,) = shown(fake, "figure7").figures
    hollow = [[line.points for line in panel.lines if line.printed] for panel in chart.rows[-1]]
    assert [[value for _, value in points] for (points,) in hollow[:2]] == [[0.597, 0.694], [0.501, 0.657]]
    assert hollow[2] == []


@pytest.mark.parametrize("of_spec", [{"profile": "quick"}, {"dataset": "ade20k"}, {"images": 300}, {"train_images": 9}])
def test_elsewhere_they_keep_to_a_table_of_their_own(fake, write, of_spec):
    write(**of_spec)
    exhibit = shown(fake)
    (section,) = exhibit.sections
    assert not section.table.beside
    assert all(cell.paper is None for row in section.table.rows for cell in row.cells)
    assert [cell.paper for cell in exhibit.printed.rows[0].cells] == [0.628, 0.459]
    (chart,) = shown(fake, "figure6").figures
    assert not any(line.printed for panels in chart.rows for panel in panels for line in panel.lines)


def test_notes_say_what_the_numbers_say(fake, write):
    write(exponents=[(0.70, 0.45), (0.7, 0.7), (0.71, 0.5), (0.72, 0.6), (0.7, 0.7), (0.95, 0.3)])
    write("unet", exponents=[(0.7, 0.7)] * 6)
    (section,) = shown(fake).sections
    notes = section.table.notes
    assert "Hurst rises from level to level over att1, att3, att4, att6: 0.700, 0.710, 0.720, 0.950." in notes
    assert "DFA does not rise from level to level over att1, att3, att4, att6: 0.450, 0.500, 0.600, 0.300." in notes
    (sides,) = [note for note in notes if note.startswith("On two sides of 0.5")]
    assert sides.endswith("att1 (Hurst 0.700, DFA 0.450); att6 (Hurst 0.950, DFA 0.300).")
    apart = {note.split(" by more")[0].partition("differs from ")[2]: note for note in notes if "differs from" in note}
    assert set(apart) == {"MaskAttn-UNet, untrained", "U-Net", "blurred noise"}
    assert apart["U-Net"].endswith(
        "Hurst at att6 (higher) of 6; DFA at att1 (lower), att6 (lower) of 6; PSD β at no level of 6."
    )
    assert "Hurst at att6 (higher) of 6" in apart["blurred noise"]


def test_its_latex_needs_no_more_than_the_packages_that_it_names(fake, write):
    write()
    source = render_latex(shown(fake))
    assert r"PSD $\beta$" in source
    assert source.isascii()


def test_the_papers_own_numbers_are_judged_alike(fake):
    printed = shown(fake).printed
    assert printed.notes == (
        "Hurst does not rise from level to level over att1, att3, att4, att6: 0.628, 0.594, 0.597, 0.694.",
        "DFA does not rise from level to level over att1, att3, att4, att6: 0.459, 0.538, 0.501, 0.657.",
        "On two sides of 0.5, so persistent by one and not by the other: att1 (Hurst 0.628, DFA 0.459).",
    )


def test_a_level_that_is_too_small_has_no_number_and_says_why(fake, write):
    sides = (32, 16, 8, 16, 32, 64)
    write(found=longrange(ATT, RISING, sides=sides))
    (section,) = shown(fake).sections
    assert texts(section.table, "MaskAttn-UNet: att3 (8x8)") == ["-", "-", "-"]
    assert "Not measured: att3: 8x8 are 64 values; 256 at least." in section.table.notes
    assert not any("level to level" in note for note in section.table.notes)
    (chart,) = shown(fake, "figure6").figures
    assert [panel.title for panel in chart.rows[0]] == ["att1, 32x32", "att2, 16x16"]


def test_series_without_an_exponent_are_counted(fake, write):
    found = longrange(ATT, RISING)
    first = found.levels[0].model_copy(update={"trained": statistics(0.6, 0.6, n=3)})
    write(found=found.model_copy(update={"levels": (first, *found.levels[1:])}))
    cell = shown(fake).sections[0].table.rows[0].cells[0]
    assert (cell.n, cell.notes) == (3, ("1 of 4 series have none",))


def test_damaged_and_older_records_are_named_and_the_others_shown(fake, write):
    write(seed=0)
    broken = write(seed=1)
    (broken.folder / "longrange.json").write_text("{}")
    fake.done("unet", profile="full", dataset="coco")
    four = write(seed=2, found=longrange(ATT[:4], RISING[:4], sides=SIDES[:4])).run_id
    (section,) = shown(fake).sections
    assert f"Left out: {four} has 4 levels, not 6" in section.table.notes
    assert section.table.rows[0].cells[0].n == 4
    assert any(
        note.startswith(f"Left out: results/{broken.run_id}/longrange.json is not") for note in section.table.notes
    )
    assert any("1 runs have no statistics" in note and "bench evaluate --all" in note for note in section.table.notes)


def test_only_the_runs_that_are_shown_are_read(fake, write, monkeypatch):
    mine = [write(seed=seed).run_id for seed in (0, 1)]
    write("unet-small")
    write("maskattn-unet", task="semantic", seed=5)
    read, real = [], levels_module.read_longrange
    monkeypatch.setattr(levels_module, "read_longrange", lambda record: read.append(record.run_id) or real(record))
    shown(fake)
    assert sorted(read) == sorted(mine)


def test_without_a_run_the_papers_table_and_what_is_missing_still_stand(fake):
    exhibit = shown(fake)
    assert exhibit.sections == ()
    assert exhibit.gaps
    assert len(exhibit.printed.rows) == 4
    assert [row.label for row in shown(fake, "figure6").printed.rows] == [
        "att1 (Early Encoder)",
        "att3 (Bottom Encoder)",
    ]


def test_a_figure_has_its_half_of_the_levels_with_fits_of_the_tables_slope(fake, write):
    write("unet")
    write()
    for name, levels in (("figure6", ATT[:3]), ("figure7", ATT[3:])):
        exhibit = shown(fake, name)
        (chart,) = exhibit.figures
        assert [panel.title.split(",")[0] for panel in chart.rows[0]] == list(levels)
        names = [line.label for line in chart.rows[0][0].lines]
        assert names == ["MaskAttn-UNet", "MaskAttn-UNet, untrained", "U-Net", "white noise", "blurred noise"]
        fit = chart.rows[1][0].lines[-1]
        (x1, y1), (x2, y2) = fit.points
        own = {panel.title for panel in chart.rows[1]}
        slope = np.log(y2 / y1) / np.log(x2 / x1)
        assert f"fitted α = {slope:.2f}" in own
        (x1, y1), (x2, y2) = chart.rows[2][0].lines[-1].points
        assert np.log(y2 / y1) / np.log(x2 / x1) == pytest.approx(-0.3)
        summary = chart.rows[3][0].lines[0]
        assert summary.errors == (pytest.approx(0.1),) * 3
        assert exhibit.sections[0].table.rows[0].key == f"MaskAttn-UNet/{levels[0]}"
    assert list(chart.draw()) == ["svg", "png", "pdf"]


def test_every_text_is_written(fake, write):
    record = write()
    exhibit = shown(fake)
    text = render_markdown(exhibit, "../results", {})
    assert f"[0.600 ± 0.100](../results/{record.run_id}/longrange.json)" in text
    assert "| Source and level |" in text
    assert "& 0.600 $\\pm$ 0.100 &" in render_latex(exhibit)
    first = next(csv.DictReader(io.StringIO(render_csv(exhibit))))
    assert (first["n"], first["mean"], first["sd"]) == ("4", "0.6", "0.1")


def test_no_torch_is_imported():
    code = "import sys, bench.report.exhibits.table9; sys.exit('torch' in sys.modules or 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0

"""The exhibit of protocols: what moved is a difference of the same run, and nothing else mixes protocols."""

import csv
import io

import pytest

from bench.errors import UserError
from bench.files import read, write_json
from bench.protocols import AT, PROTOCOLS
from bench.record import Metrics
from bench.report.build import build_reports, read_records
from bench.report.exhibits.comparison import build_exhibit as build_table4
from bench.report.exhibits.protocols import build_exhibit
from bench.report.exhibits.shape import shape_table
from bench.report.tables.cells import score_cell


@pytest.fixture
def with_protocols(fake):
    """Gives a fabricated record numbers of the protocols; what is not named is None."""

    def add(record, **numbers):
        path = record.folder / "metrics.json"
        protocols = {name: {key: numbers.get(key) for key in keys} for name, keys in PROTOCOLS.items()}
        metrics = read(path, Metrics).model_copy(update={"protocols": protocols})
        write_json(path, metrics.model_dump(mode="json"))
        fake.store.finish(record.status)
        return fake.store.record(record.run_id)

    return add


def exhibit_of(fake, tmp_path):
    return build_exhibit(read_records(fake.store)[0], tmp_path)


def values(table, label):
    (row,) = [row for row in table.rows if row.label == label]
    named = zip(table.columns, row.cells, strict=True)
    return {f"{c.group}: {c.metric}": cell.value for c, cell in named if cell.value is not None}


def test_what_moved_is_the_reading_minus_standard_in_points(fake, with_protocols, tmp_path):
    for seed, stuff in enumerate((0.5, 0.6)):
        with_protocols(fake.done("unet", 0.4, ap=0.2, seed=seed), miou_stuff=stuff, miou_batch8=0.3, ap_iou30=0.35)
    exhibit = exhibit_of(fake, tmp_path)
    miou, thresholds, _ = (section.table for section in exhibit.sections)
    assert values(miou, "scenes 64x64: U-Net, panoptic") == pytest.approx(
        {
            "mIoU: standard": 40,
            "mIoU: paper-text: stuff alone": 55,
            "mIoU: released: batches of 8": 30,
            "mIoU moved: paper-text: stuff alone": 15,
            "mIoU moved: released: batches of 8": -10,
        }
    )
    assert values(thresholds, "scenes 64x64: U-Net, panoptic")["AP moved: paper-text: IoU 0.30"] == pytest.approx(15)
    assert {column.unit for column in miou.columns if "moved" in column.group} == {"pp"}
    assert miou.rows[0].cells[1].n == 2
    assert "not a reproduction" in miou.label


def test_settings_splits_profiles_and_truths_stay_apart(fake, with_protocols, tmp_path):
    fresh = [fake.done("unet"), fake.done("unet", val_hash="11" * 32), fake.done("unet", options={"width": 8})]
    fresh += [fake.done("unet", profile="quick"), fake.done("oracle-nearest", protocol="native", untrained=None)]
    for record in fresh:
        with_protocols(record, miou_stuff=0.5)
    sections = exhibit_of(fake, tmp_path).sections
    assert [(s.table.profile, s.table.protocol.partition(",")[0], len(s.table.rows)) for s in sections[::3]] == [
        ("quick", "standard", 1),
        ("smoke", "standard", 3),
        ("smoke", "native", 1),
    ]
    assert "nothing trained" in sections[-1].table.label
    assert all(cell.n < 2 for section in sections for row in section.table.rows for cell in row.cells)
    labels = [row.label for row in sections[3].table.rows]
    assert len(set(labels)) == 3


def test_candidates_of_a_search_and_older_records_are_left_out(fake, with_protocols, tmp_path):
    kept = with_protocols(fake.done("unet"), miou_stuff=0.5)
    budget = kept.spec.budget.model_copy(update={"held_out": 20})
    with_protocols(fake.done("unet", budget=budget), miou_stuff=0.9)
    fake.done("detr-r50")
    exhibit = exhibit_of(fake, tmp_path)
    assert [record.run_id for record in exhibit.records] == [kept.run_id]
    assert exhibit.notes == ("1 finished runs hold no other protocol yet: `python -m bench evaluate --all` adds it.",)


def test_a_record_with_fewer_numbers_shows_what_it_has(fake, tmp_path):
    record = fake.done("unet", ap=0.2)
    path = record.folder / "metrics.json"
    few = {"paper-text": {"ap_iou30": 0.4}}
    write_json(path, read(path, Metrics).model_copy(update={"protocols": few}).model_dump(mode="json"))
    fake.store.finish(record.status)
    tables = {section.table.key.rpartition("/")[2]: section.table for section in exhibit_of(fake, tmp_path).sections}
    assert values(tables["ap-thresholds"], "scenes 64x64: U-Net, panoptic") == pytest.approx(
        {"AP: standard": 20, "AP: paper-text: IoU 0.30": 40, "AP moved: paper-text: IoU 0.30": 20}
    )
    assert "shape" not in tables


def shape_of(fake, with_protocols, thresholds, caps):
    numbers = {f"ap_iou{k}": v for k, v in zip(AT, thresholds, strict=True)}
    record = with_protocols(fake.done("unet"), **numbers, **{f"ap_max{k}": v for k, v in zip(AT, caps, strict=True)})
    return shape_table("key", "Profile smoke", "label", [("ours", [record])])


def test_the_shape_of_table_2_is_told_by_its_ratios(fake, with_protocols):
    table = shape_of(fake, with_protocols, (0.4, 0.3, 0.1, 0.0), (0.2, 0.2, 0.2, 0.2))
    printed = {row.label: [cell.paper for cell in row.cells] for row in table.rows if row.kind == "paper"}
    assert printed["Table 2: COCO"] == [*map(pytest.approx, (3160 / 35, 3130 / 35, 3020 / 35)), None]
    by_threshold, by_cap = (row for row in table.rows if row.kind == "network")
    assert [cell.value for cell in by_threshold.cells[:3]] == pytest.approx([75, 25, 0])
    rows = [[3160 / 35, 3130 / 35, 3020 / 35], [3320 / 33.8, 3050 / 33.8, 3050 / 33.8]]
    rows.append([3660 / 38.9, 3620 / 38.9, 3550 / 38.9])
    expected = sum(abs(a - b) for row in rows for a, b in zip((75, 25, 0), row, strict=True)) / 9
    assert by_threshold.cells[-1].value == pytest.approx(expected)
    assert by_cap.cells[-1].value == pytest.approx(sum(100 - b for row in rows for b in row) / 9)
    assert "ours: no cap changes AP here, so neither reading is called the nearer." in table.notes
    assert not any("nearer to Table 2" in note for note in table.notes)


def test_the_nearer_reading_follows_the_numbers(fake, with_protocols):
    table = shape_of(fake, with_protocols, (0.4, 0.38, 0.36, 0.35), (0.4, 0.2, 0.1, 0.05))
    assert any("nearer to Table 2 is k as an IoU threshold" in note for note in table.notes)
    assert not any("no cap" in note for note in table.notes)
    table = shape_of(fake, with_protocols, (0.4, 0.3, 0.1, 0.0), (0.2, 0.2, 0.2, 0.19))
    assert any("nearer to Table 2 is k as a cap on detections" in note for note in table.notes)


def test_without_an_ap_there_is_no_shape(fake, with_protocols):
    assert shape_of(fake, with_protocols, (0.0,) * 4, (0.0,) * 4) is None


def test_the_report_holds_the_exhibit_and_says_what_to_run_where_there_is_nothing(fake, with_protocols, tmp_path):
    build_reports(fake.store, [], {}, tmp_path / "reports")
    text = (tmp_path / "reports" / "protocols.md").read_text()
    assert "No finished run holds these numbers yet: `python -m bench run`" in text
    with_protocols(fake.done("unet", 0.4), miou_stuff=0.5)
    before = {p.name: p.read_bytes() for p in build_reports(fake.store, [], {}, tmp_path / "reports")}
    assert before == {p.name: p.read_bytes() for p in build_reports(fake.store, [], {}, tmp_path / "reports")}
    rows = list(csv.DictReader(io.StringIO(before["protocols.csv"].decode())))
    moved = [row for row in rows if row["unit"] == "pp" and row["mean"]]
    assert [(row["metric"], float(row["mean"])) for row in moved] == [("paper-text: stuff alone", pytest.approx(10))]
    assert b'href="protocols.html"' in before["index.html"]
    assert b"Suite <code>protocols" not in before["protocols.html"]


def test_a_suite_may_not_take_the_exhibits_name(fake, suite, tmp_path):
    with pytest.raises(UserError, match="a suite is named 'protocols', which the report has a page of its own for"):
        build_reports(fake.store, [suite.model_copy(update={"name": "protocols"})], {}, tmp_path)
    assert not list(tmp_path.glob("protocols*"))


def test_two_protocols_never_share_a_cell(fake):
    records = [fake.done("unet", seed=0), fake.done("unet", seed=1, protocol="native")]
    with pytest.raises(ValueError, match="one cell of several protocols: native, version 1; standard, version 1"):
        score_cell("mIoU", "network", records)
    assert score_cell("mIoU", "network", records[:1]).n == 1


def test_two_protocols_or_versions_never_share_a_table(fake, suite):
    for seed, changes in enumerate(({}, {"protocol": "native"}, {"protocol_version": 7})):
        fake.done("unet", 0.11 * (seed + 1), **changes)
    sections = build_table4(suite, read_records(fake.store)[0], {}).sections
    assert [section.table.protocol for section in sections] == [
        "native, version 1",
        "standard, version 1",
        "standard, version 7",
    ]
    shown = [[row.cells[2].value for row in s.table.rows if row.kind == "network"] for s in sections]
    assert shown == [[pytest.approx(22)], [pytest.approx(11)], [pytest.approx(33)]]

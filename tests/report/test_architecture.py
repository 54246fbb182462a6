"""Figure 1: blocks, their places in the U, the drawing and its table, from networks written by hand."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from xml.etree import ElementTree

import pytest

from bench.files import write_json
from bench.named import load_named
from bench.record import Module, Network, Record, Status
from bench.report.drawing.blocks import Block, blocks_of, levels_of
from bench.report.drawing.blueprint import Blueprint, _boxes, thousands
from bench.report.exhibit import Exhibit
from bench.report.exhibits.architecture import build_exhibit
from bench.report.render.csv import render_csv
from bench.report.render.markdown import render_markdown
from bench.spec import Suite

Given = tuple[str, str, int, float | None, tuple[int, ...] | None, tuple[str, ...] | None]
U: tuple[Given, ...] = (  # name, kind, parameters, FLOPs, output, inputs; registered in another order than they run
    ("trunk", "Net", 210, 2100.0, (1, 4, 8, 8), ("images",)),
    ("trunk.up", "ModuleList", 60, 600.0, None, None),
    ("trunk.up.0", "Up", 60, 600.0, (1, 4, 8, 8), ("trunk.att1", "trunk.bottom.1")),
    ("trunk.down", "ModuleList", 30, 300.0, None, None),
    ("trunk.down.0", "DoubleConv", 30, 300.0, (1, 4, 8, 8), ("images",)),
    ("trunk.att1", "MaskAttention", 40, 400.0, (1, 4, 8, 8), ("trunk.down.0",)),
    ("trunk.att2", "Identity", 0, 0.0, (1, 4, 8, 8), ("trunk.up.0",)),
    ("trunk.bottom", "Sequential", 80, 800.0, (1, 16, 4, 4), ("trunk.att1",)),
    ("trunk.bottom.0", "Conv2d", 50, 500.0, (1, 16, 4, 4), ("trunk.att1",)),
    ("trunk.bottom.1", "Conv2d", 30, 300.0, (1, 16, 4, 4), ("trunk.bottom.0",)),
    ("heads", "Heads", 7, 70.0, None, ("trunk.up.0",)),
    ("heads.semantic", "Conv2d", 3, 30.0, (1, 3, 8, 8), ("trunk.up.0",)),
    ("heads.embedding", "Conv2d", 4, 40.0, (1, 2, 8, 8), ("trunk.up.0",)),
)
ORDER = ["trunk.down.0", "trunk.att1", "trunk.bottom", "trunk.up.0", "heads.semantic", "heads.embedding"]


def network(given: Sequence[Given] = U, parameters: int = 217, flops: float | None = 2170.0) -> Network:
    modules = [
        Module(name=name, kind=kind, parameters=count, flops=of, output=output, inputs=inputs)
        for name, kind, count, of, output, inputs in given
    ]
    return Network(
        model="maskattn-unet",
        input="8x8",
        classes=3,
        parameters_total=parameters,
        parameters_trainable=parameters,
        flops=flops,
        uncounted={"aten::gelu": 1, "aten::add": 2},
        modules=tuple(modules),
    )


def changed(name: str, **changes: object) -> Network:
    given = network()
    modules = tuple(m.model_copy(update=changes) if m.name == name else m for m in given.modules)
    return given.model_copy(update={"modules": modules})


def with_network(fake, content: Network, **of_spec: object) -> Record:
    """A finished run of MaskAttn-UNet with this network.json, sealed anew."""
    record = fake.done("maskattn-unet", **of_spec)
    write_json(record.folder / "network.json", content.model_dump(mode="json"))
    fake.store.finish(Status(run_id=record.run_id, state="done", attempt=record.status.attempt))
    return fake.store.record(record.run_id)


def exhibit_of(*records: Record) -> Exhibit:
    return build_exhibit(load_named("suite", "figure1", Suite), records, {})


def test_blocks_cut_the_tree_so_that_all_is_counted_once() -> None:
    blocks = blocks_of(network())
    assert [block.name for block in blocks] == ORDER  # in the order of the data, the identity left out
    assert sum(block.parameters for block in blocks) == 217
    assert sum(block.flops or 0 for block in blocks) == 2170
    fed = {block.name: block.inputs for block in blocks}
    assert fed["trunk.up.0"] == ("trunk.att1", "trunk.bottom")  # the part inside a block stands for it
    assert fed["trunk.down.0"] == ("images",)
    assert [block.short for block in blocks][:3] == ["down.0", "att1", "bottom"]


def test_the_u_has_its_halves_by_resolution() -> None:
    levels = levels_of(blocks_of(network()))
    assert levels is not None
    assert [level.size for level in levels] == [(8, 8), (4, 4)]
    names = [{half: [b.short for b in some] for half, some in level.halves.items()} for level in levels]
    assert names == [
        {"down": ["down.0", "att1"], "bottom": [], "up": ["up.0"], "end": ["semantic", "embedding"]},
        {"down": [], "bottom": ["bottom"], "up": [], "end": []},
    ]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("trunk.att1", {"inputs": None}),  # as in older records
        ("trunk.up.0", {"inputs": ("trunk",)}),  # made by what is no block
        ("trunk.bottom", {"output": (1, 16)}),
        ("trunk.down.0", {"output": (1, 4, 2, 2)}),  # small, large, small, large
    ],
)
def test_what_is_no_u_is_not_drawn(name: str, changes: dict[str, object]) -> None:
    assert levels_of(blocks_of(changed(name, **changes))) is None


def test_a_skip_runs_level_and_nothing_overlaps() -> None:
    levels = levels_of(blocks_of(network()))
    assert levels is not None
    boxes = {box.block.short: box for level, top in zip(levels, (5.0, 3.0), strict=True) for box in _boxes(level, top)}
    assert boxes["att1"].y == boxes["up.0"].y < boxes["down.0"].y == boxes["semantic"].y
    assert boxes["bottom"].y < boxes["att1"].y
    pairs = [(a, b) for a in boxes.values() for b in boxes.values() if a is not b]
    assert not any(abs(a.x - b.x) < (a.width + b.width) / 2 and abs(a.y - b.y) < 0.36 for a, b in pairs)


def test_the_drawing_says_shapes_and_parameters_and_is_the_same_twice() -> None:
    levels = levels_of(blocks_of(changed("trunk.down.0", kind="A $\\cost$ <b>")))
    assert levels is not None
    picture = Blueprint("x", "alt", "title", levels)
    drawn = picture.draw()
    assert list(drawn) == ["svg", "png", "pdf"]
    assert drawn == picture.draw()
    svg = drawn["svg"].decode()
    comments = {part.split("-->")[0].strip() for part in svg.split("<!--")[1:]}  # matplotlib notes each text there
    assert {"down.0", "4×8×8 · 30", "att1", "16×4×4 · 80", "8×8", "4×4", "images", "skip connection"} <= comments
    assert any("A $\\cost$" in text for text in comments)
    ElementTree.fromstring(svg)


def test_counts_are_told_in_three_digits() -> None:
    assert [thousands(n) for n in (0, 129, 1040, 38848, 790017, 5311488, 10724486)] == [
        "0",
        "129",
        "1.04 k",
        "38.8 k",
        "790.0 k",
        "5.31 M",
        "10.7 M",
    ]


def test_the_table_has_the_blocks_and_sums_to_the_network(fake) -> None:
    record = with_network(fake, network())
    exhibit = exhibit_of(record)
    (section,) = exhibit.sections
    assert [row.key for row in section.table.rows] == [*ORDER, "network"]
    rows = list(csv.DictReader(io.StringIO(render_csv(exhibit))))
    for metric, total in (("Parameters", 0.217), ("FLOPs", 0.00217)):
        values = [float(row["mean"]) for row in rows if row["metric"] == metric and row["kind"] == "block"]
        assert sum(values[:-1]) == pytest.approx(values[-1]) == pytest.approx(total)
    assert {cell.link for row in section.table.rows for cell in row.cells} == {f"{record.run_id}/network.json"}
    assert [figure.name for figure in section.figures] == [f"figure1-{record.run_id}"]
    assert section.table.notes[-1] == "Not counted in the FLOPs: aten::add (2), aten::gelu (1)."


def test_what_no_block_has_is_a_row(fake) -> None:
    (section,) = exhibit_of(with_network(fake, network(parameters=220, flops=2200.0))).sections
    *_, left, total = section.table.rows
    assert (left.label, total.label) == ("in none of these blocks", "the whole network")
    assert [cell.value for cell in left.cells] == pytest.approx([0.003, 0.00003])


def test_the_paper_stands_apart_and_what_it_says_beside(fake) -> None:
    exhibit = exhibit_of(with_network(fake, network()))
    assert exhibit.printed is not None
    assert [cell.paper for cell in exhibit.printed.rows[0].cells] == [11.0, 46.0]
    _, paper = exhibit.sections[0].facts
    lines = {line[0]: line[1:] for line in paper.lines}
    assert lines["resolutions"] == ("5", "5", "-", "2")
    assert lines["attention modules"] == ("8: one a stage", "9", "att1 to att6", "1")
    assert lines["skip connections"][-1] == "1"
    assert lines["channels of the encoder"] == ("64, 128, 256, 256", "-", "-", "4")
    assert lines["parameters (M)"] == ("46 (Table 4)", "-", "-", "0.00")


def test_a_record_older_than_the_arrows_has_its_table_alone(fake) -> None:
    old = network(tuple((*given[:5], None) for given in U))
    exhibit = exhibit_of(with_network(fake, old))
    (section,) = exhibit.sections
    assert section.figures == ()
    assert "Not drawn: this record does not say what feeds what" in render_markdown(exhibit, "../results", {})
    assert len(section.table.rows) == 7


def test_only_the_lowest_seed_and_the_suites_network_are_drawn(fake) -> None:
    records = [with_network(fake, network(), seed=seed) for seed in (1, 0)] + [fake.done("unet")]
    (section,) = exhibit_of(*records).sections
    assert records[1].run_id in section.table.key


def test_without_a_run_the_exhibit_says_what_to_run() -> None:
    exhibit = exhibit_of()
    assert exhibit.sections == ()
    assert exhibit.gaps[0].how == "python -m bench run --suite figure1"


def test_a_block_that_is_fed_by_the_images_alone_has_depth_one() -> None:
    block = Block("a", "Conv2d", 1, None, (1, 2, 4, 4), ("images",))
    assert levels_of([block]) is None  # an end, and no way to it


PARTS: tuple[Given, ...] = (
    ("trunk.att1.norm", "LayerNorm", 8, 80.0, (1, 64, 4), ("trunk.down.0",)),
    ("trunk.att1.mask", "LearnedMask", 5, 50.0, (1, 64), ("trunk.att1.norm",)),
    ("trunk.att1.attention", "MultiHeadAttention", 27, None, (1, 64, 4), ("trunk.att1.norm", "trunk.att1.mask")),
)


def test_the_inside_of_an_attention_module_is_drawn_and_listed_as_it_was_recorded(fake) -> None:
    (section,) = exhibit_of(with_network(fake, network((*U, *PARTS)))).sections
    (facts,) = [facts for facts in section.facts if facts.title == "Inside the attention modules"]
    assert facts.heads == ("Part", "Kind", "att1, 4x8x8")
    assert facts.lines == (
        ("norm", "LayerNorm", "8; 0.00"),
        ("mask", "LearnedMask", "5; 0.00"),
        ("attention", "MultiHeadAttention", "27; -"),
    )
    inside = section.figures[1].draw()
    comments = {part.split("-->")[0].strip() for part in inside["svg"].decode().split("<!--")[1:]}
    assert {"trunk.down.0", "mask (LearnedMask)", "64×4 · 27"} <= comments
    assert inside == section.figures[1].draw()  # to the byte


def test_a_module_whose_parts_say_not_what_feeds_them_is_not_opened(fake) -> None:
    older = [(*part[:-1], None) for part in PARTS]
    (section,) = exhibit_of(with_network(fake, network((*U, *older)))).sections
    assert len(section.figures) == 1
    assert all("Inside" not in facts.title for facts in section.facts)

"""Figure 1: the architecture, drawn from the network.json of a finished run: blocks, shapes, parameters, FLOPs.

Beside it stands what the paper says of its network, which is not enough to build one (AUDIT A19).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.files import read
from bench.paper.numbers import content, paper_value
from bench.record import Module, Network, Record
from bench.report.drawing.blocks import Block, Level, blocks_of, levels_of
from bench.report.drawing.blueprint import Blueprint
from bench.report.drawing.inside import Inside, inside_of
from bench.report.exhibit import Exhibit, Figure, Section, left_out
from bench.report.facts import Facts
from bench.report.gaps import Missing, nothing_run
from bench.report.tables.columns import COSTS, dataset_label, printed_column
from bench.report.tables.single import Part, Single, own_runs, parts_of
from bench.report.tables.table import NONE, Cell, Column, Row, Table, number
from bench.settings import profile_named
from bench.spec import Suite, size_text

PAPERS = "table4"  # prints the network's cost
MODEL, ATTENTION = "maskattn-unet", "MaskAttention"
ELSEWHERE = "in none of these blocks"
LEGEND = (
    "The network as it ran, read from the network.json of one finished run: nothing here is typed in. Each block is "
    "drawn at the resolution of its output; an arrow means that the output of one is in the input of the other, as one "
    "forward pass showed. What lies between two blocks (pooling, joining) has no parameters."
)
UNITS = (
    "Parameters in thousands, and multiply-adds of one image, each counted once (fvcore), in millions. Blocks sum to "
    "the network."
)
UNDRAWN = (
    "Not drawn: this record does not say what feeds what, or its blocks are no U. Where the run's weights are "
    "kept, `bench evaluate` adds it to an older record."
)
INSIDE = "A drawing of the parts of one attention module and what feeds each; the table of its inside has their sizes"
INSIDE_NOTE = (
    "Parameters, and multiply-adds in millions. What a module does between its parts, and what it adds to the last "
    "one's output, is in no part."
)
OPEN = (
    "The three descriptions exclude each other (AUDIT A19); the layout here is the one that Appendix B.3 and Table 9 "
    "fit. The text also leaves open: the width of the bottleneck and of the decoder, the width of a head, the inner "
    "width of the feed-forward part, norms, the shape of the mask and how it is trained, and the instances' heads.",
)
PAPERS_LABEL = (
    "the paper's numbers: it states neither the number of classes nor, for the FLOPs, the size of the input. Its text "
    "does not fix the network: the table above says where"
)


def build_exhibit(suite: Suite, records: Sequence[Record], missing: Mapping[str, Missing]) -> Exhibit:
    """A section a run that is drawn. Reads the network.json of those runs, and the paper's numbers."""
    own = own_runs(suite, records)
    found = tuple(section for part in parts_of(suite, own, missing) for section in _sections(suite, part))
    return Exhibit(
        suite=suite,
        sections=found,
        gaps=() if found else tuple(nothing_run(suite, own, missing)),
        printed=_printed(),
        records=tuple(own),
        notes=left_out(suite, records, own),
        legend=LEGEND,
        units=UNITS,
    )


def _sections(suite: Suite, part: Part) -> Iterator[Section]:
    for single in part.singles:
        network = read(single.record.folder / "network.json", Network)
        blocks = blocks_of(network)
        levels = levels_of(blocks)
        size, run = size_text(part.key.size), single.record.run_id
        title = f"{single.label}, {dataset_label(part.split.dataset)}, {size}"
        options = ", ".join(f"{key}={value}" for key, value in sorted(single.record.spec.options.items()))
        notes = [f"From the run {run}; its options: {options}.", *_uncounted(network), *([] if levels else [UNDRAWN])]
        table = Table(
            key=f"{suite.name}/{run}",
            title=f"{title}, profile {part.key.profile}",
            columns=_columns(size, network),
            rows=tuple(_rows(single, network, blocks)),
            label=profile_named(part.key.profile).label,
            profile=part.key.profile,
            size=size,
            protocol=f"{part.key.protocol}, version {part.key.protocol_version}",
            notes=tuple(notes),
            row_head="Block",
        )
        told = f"{title}; {profile_named(part.key.profile).label}; {_of(network)}"  # a figure leaves its page
        figures: tuple[Figure, ...] = (Blueprint(f"{suite.name}-{run}", _alt(blocks), told, levels),) if levels else ()
        attention = [
            (block, parts) for block in blocks if block.kind == ATTENTION and (parts := inside_of(network, block))
        ]
        for block, parts in attention[:1]:  # they are built alike
            name = f"{suite.name}-{run}-{block.short.replace('.', '-')}"
            figures += (Inside(name, INSIDE, f"{single.label}: inside {block.short}", parts),)
        paper = (_paper_facts(network, blocks, levels),) if levels and single.record.spec.model == MODEL else ()
        gaps = part.gaps if single is part.singles[-1] else ()
        yield Section(table, gaps, figures, (_feeding(blocks), *_inside(attention), *paper))


def _of(network: Network) -> str:
    flops = f"{number(network.flops * 1e-9, 2)} G FLOPs" if network.flops is not None else "FLOPs not counted"
    return f"{number(network.parameters_total * 1e-6, 2)} M parameters, {flops}, {network.classes} classes"


def _uncounted(network: Network) -> list[str]:
    listed = ", ".join(f"{name} ({times})" for name, times in sorted(network.uncounted.items()))
    return [f"Not counted in the FLOPs: {listed}."] if listed else []


def _alt(blocks: Sequence[Block]) -> str:
    return f"A drawing of the network's {len(blocks)} blocks and what feeds each; all of it is in the tables"


def _columns(size: str, network: Network) -> tuple[Column, ...]:
    group = f"At {size}, {network.classes} classes"
    shared: dict[str, Any] = {"group": group, "better": "lower", "digits": 3, "paper_digits": 0, "size": size}
    return (
        Column(key="parameters", metric="Parameters", unit="k", **shared),
        Column(key="flops", metric="FLOPs", unit="M", **shared),
    )


def _rows(single: Single, network: Network, blocks: Sequence[Block]) -> Iterator[Row]:
    """The blocks, what no block has where there is any, and the network."""
    run, model = single.record.run_id, single.record.spec.model

    def row(key: str, label: str, parameters: int, flops: float | None) -> Row:
        values = (parameters * 1e-3, None if flops is None else flops * 1e-6)
        cells = tuple(Cell(value, n=1, runs=(run,), file=f"{run}/network.json") for value in values)
        return Row(key, label, "block", model, cells)

    for block in blocks:
        yield row(block.name, f"{block.name} ({block.kind})", block.parameters, block.flops)
    parameters, flops = network.parameters_total, network.flops
    left = parameters - sum(block.parameters for block in blocks)
    left_flops = None if flops is None else flops - sum(block.flops or 0.0 for block in blocks)
    if left or left_flops:
        yield row("elsewhere", ELSEWHERE, left, left_flops)
    yield row("network", "the whole network", parameters, flops)


def _feeding(blocks: Sequence[Block]) -> Facts:
    """Shapes and arrows of the drawing, in words."""
    lines = tuple((b.name, b.kind, _shape(b), ", ".join(b.inputs) or "not recorded") for b in blocks)
    return Facts("What feeds what", ("Block", "Kind", "Output (channels x height x width)", "Fed by"), lines)


def _inside(attention: Sequence[tuple[Block, Sequence[Module]]]) -> Iterator[Facts]:
    """The parts of each attention module side by side: the paper's Figure 1(b), with numbers."""
    if not attention:
        return
    cells: dict[tuple[str, str], list[str]] = {}
    for block, parts in attention:
        for part in parts:
            flops = NONE if part.flops is None else number(part.flops * 1e-6, 2)
            name = part.name.removeprefix(f"{block.name}.")
            cells.setdefault((name, part.kind), []).append(f"{part.parameters:,}; {flops}")
    lines = tuple((name, kind, *texts) for (name, kind), texts in cells.items() if len(texts) == len(attention))
    heads = ("Part", "Kind", *(f"{block.short}, {_shape(block)}" for block, _ in attention))
    yield Facts("Inside the attention modules", heads, lines, (INSIDE_NOTE,))


def _shape(block: Block) -> str:
    return "x".join(map(str, block.output[1:])) if block.output else "no single map"


def _paper_facts(network: Network, blocks: Sequence[Block], levels: Sequence[Level]) -> Facts:
    """The three descriptions of the network in the paper, and the one that ran."""
    paper = content()["architecture"]
    drawn, totals = paper["figure1c_drawn"], paper["totals"]
    down, up = paper["encoder_downsampling_stages"], paper["decoder_upsampling_stages"]
    channels = [level.halves["down"][-1] for level in levels if level.halves["down"]]
    skips = sum(_is_skip(levels, block, source) for block in blocks for source in block.inputs)
    modules = sum(block.kind == ATTENTION for block in blocks)
    lines = (
        ("resolutions", str(down + 1), str(drawn["resolution_levels"]), NONE, str(len(levels))),
        ("channels of the encoder", _listed(paper["encoder_channels"]), NONE, NONE, _channels(channels)),
        (
            "attention modules",
            f"{down + up}: one a stage",
            str(drawn["attention_icons"]),
            f"att1 to att{paper['modules_named']['highest_index']}",
            str(modules),
        ),
        ("skip connections", "between corresponding layers", str(drawn["skip_arrows"]), NONE, str(skips)),
        ("parameters (M)", f"{totals['params_m']} (Table 4)", NONE, NONE, number(network.parameters_total * 1e-6, 2)),
        ("FLOPs (G)", f"{totals['flops_g']} (Table 4)", NONE, NONE, number(_giga(network.flops), 2)),
    )
    heads = ("", "Text, Sec. 4.1", "Figure 1(c)", "Appendix B.3", "This network")
    return Facts("What the paper says of its network", heads, lines, OPEN)


def _giga(flops: float | None) -> float | None:
    return None if flops is None else flops * 1e-9


def _channels(blocks: Sequence[Block]) -> str:
    return _listed([block.output[1] for block in blocks if block.output])


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))


def _is_skip(levels: Sequence[Level], block: Block, source: str) -> bool:
    """Whether an arrow leads from the way down to the way up."""
    named = {half: {b.name for level in levels for b in level.halves[half]} for half in ("down", "up")}
    return block.name in named["up"] and source in named["down"]


def _printed() -> Table:
    """Its cost as Table 4 prints it."""
    cells = [paper_value(PAPERS, MODEL, None, metric) for metric in COSTS]
    values = tuple(Cell(paper=cell.value if cell else None) for cell in cells)
    row = Row(f"{PAPERS}/{MODEL}", "MaskAttn-UNet, Table 4", "paper", MODEL, values)
    columns = tuple(printed_column(None, metric) for metric in COSTS)
    return Table("figure1/paper", "The paper's network, as printed", columns, (row,), PAPERS_LABEL)

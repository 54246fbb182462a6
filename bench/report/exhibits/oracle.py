"""The resolution oracles: what a resize alone costs, by dataset and size, beside the paper's Table 8.

Rows are a dataset under an oracle, columns a size with its scores. The truth behind a row is one, at its native size;
its hash is in every record, and two never share a row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bench.paper.numbers import UNNAMED_DATASET, paper, read_as
from bench.record import Record, Vanished
from bench.report.drawing.figures import Chart, Line, Panel
from bench.report.exhibit import Exhibit, Section, left_out
from bench.report.gaps import Gap, Missing, find_gaps, nothing_run
from bench.report.tables.cells import score_cell
from bench.report.tables.columns import SCORE, SCORES, dataset_label
from bench.report.tables.grouping import belongs, networks, section_key, splits
from bench.report.tables.rows import label_of
from bench.report.tables.table import Cell, Column, Row, Table, summarise, with_marks
from bench.settings import OFFICIAL_IMAGES, profile_named, sizes_of
from bench.spec import Suite, parse_size, size_text

VANISHED = "things vanished"
METRICS = (*SCORES["panoptic"], VANISHED)
PAPERS = "table8"
LEGEND = (
    "Each image's own truth is brought down to a size and back to its native size, and scored there against itself as "
    "if a network had predicted it: what the resize alone costs, without any network or training. It is not a strict "
    "bound. A network may know where an edge runs between two pixels of its grid, and how the truth is brought down "
    "matters: on real COCO the bilinear oracle beats the nearest. Nearest takes the pixel under the centre, both ways, "
    "as the prepared truth of every network does. Bilinear averages each segment's mask over the cells, interpolates "
    "it back and gives a pixel to the segment with the largest weight. Stride 4 does so at a quarter of the size, "
    "where DETR and Mask2Former predict their masks. These scores are at the native size, and not comparable with "
    "the other tables, where truth and prediction are both small. Sizes are height x width."
)
UNITS = (
    "mIoU, PQ and AP are percentages (higher is better), things vanished the share of thing segments of which no pixel "
    "is left, in percent. Instances are the dataset's own or its thing segments, each taken down and back by itself, "
    "half the weight making a pixel; all have the score 1.0, so AP tells of masks and not of ranking. Crowds are never "
    "predicted, but their pixels keep their class in the mIoU."
)
PAPERS_LABEL = (
    "the paper's numbers: mIoU of networks, one value each; the paper names neither dataset nor split. Its 64x48 is "
    "read as width x height, which is 48x64 here"
)
WHOLE, SMALL = "every image that is here, nothing trained", "some images, small, not a reproduction; nothing trained"
BESIDE = (
    "Rows of Table 8 and hollow markers are networks in the paper: mIoU at the input's size, its dataset not named and "
    "taken to be COCO."
)


@dataclass(frozen=True, order=True)
class _Truth:
    """One set of images at native size."""

    rank: int
    dataset: str
    images: int
    hash: str


BySize = Mapping[str, Record]  # '48x64' -> its run
Runs = Mapping[_Truth, Mapping[str, BySize]]  # truth -> oracle -> size -> its run


def build_exhibit(suite: Suite, records: Sequence[Record], missing: Mapping[str, Missing]) -> Exhibit:
    """The tables and figures of the oracles from all records of a store. Reads no file but the paper's numbers."""
    own = [record for record in records if record.spec.model in networks(suite) and belongs(record, suite)]
    groups: dict[tuple[int, str, str, int], list[Record]] = defaultdict(list)
    for record in own:
        key = section_key(record.spec)
        groups[key.rank, key.profile, key.protocol, key.protocol_version].append(record)
    done = {key: [r for r in group if r.metrics and r.metrics.vanished] for key, group in sorted(groups.items())}
    found = tuple(_section(suite, groups[key], ended, missing) for key, ended in done.items() if ended)
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


def _section(
    suite: Suite, records: Sequence[Record], done: Sequence[Record], missing: Mapping[str, Missing]
) -> Section:
    spec = done[0].spec
    profile, runs = profile_named(spec.profile), _runs(suite, done)
    planned = {size_text(size) for size in sizes_of(suite, profile)}
    sizes = sorted(planned | {size_text(record.spec.size) for record in done}, key=lambda s: (-_pixels(s), s))
    label = f"{profile.name}: {WHOLE if profile.reproduction else SMALL}"  # the profile's own tells of its training
    columns = tuple(_column(size, metric) for size in sizes for metric in METRICS)
    name = f"{profile.name}-{spec.protocol}-v{spec.protocol_version}"
    table = Table(
        key=f"{suite.name}/{name}",
        title=f"Profile {profile.name}",
        label=label,
        profile=profile.name,
        protocol=f"{spec.protocol}, version {spec.protocol_version}",
        columns=columns,
        rows=tuple(_rows(suite, columns, runs)),
        notes=tuple(_notes(runs)),
        row_head="Dataset and oracle",
    )
    gaps = _gaps(suite, profile.name, sizes, records, missing)
    title = "" if profile.reproduction else label  # a figure leaves its page: what is small says so itself
    return Section(table, tuple(gaps), (_chart(f"{suite.name}-{name}", title, suite, sizes, runs),))


def _runs(suite: Suite, done: Sequence[Record]) -> Runs:
    """One run a cell. What may differ between two with one truth, size and protocol has no part in the numbers."""
    rank = {dataset: i for i, dataset in enumerate(suite.datasets)}
    runs: dict[_Truth, dict[str, dict[str, Record]]] = defaultdict(lambda: defaultdict(dict))
    for record in sorted(done, key=lambda record: record.run_id):
        assert record.metrics is not None
        dataset, hash_ = record.spec.dataset, _vanished(record).truth_hash
        truth = _Truth(rank.get(dataset, len(rank)), dataset, record.metrics.final.images, hash_)
        runs[truth][record.spec.model][size_text(record.spec.size)] = record
    return {truth: runs[truth] for truth in sorted(runs)}


def _vanished(record: Record) -> Vanished:
    assert record.metrics is not None
    assert record.metrics.vanished is not None
    return record.metrics.vanished


def _pixels(size: str) -> float:
    height, width = parse_size(size)
    return float(height * width)


def _column(size: str, metric: str, printed: bool = False) -> Column:
    return Column(
        key=f"{'paper.' if printed else ''}{size}.{metric}",
        group=size,
        metric=metric,
        unit=SCORE.unit,
        better="lower" if metric == VANISHED else SCORE.better,
        digits=SCORE.digits,
        paper_digits=SCORE.paper_digits,
        size=size,
        printed=printed,
    )


def _rows(suite: Suite, columns: Sequence[Column], runs: Runs) -> list[Row]:
    rows = []
    for truth, by_model in runs.items():
        where = (truth.dataset, truth.hash[:8])
        for model in networks(suite):
            if by_size := by_model.get(model):
                cells = tuple(_cell(column.metric, by_size.get(column.size or "")) for column in columns)
                label = f"{_title(truth, runs)}: {label_of(model)}"
                rows.append(Row("/".join((*where, model)), label, "oracle", model, cells, *where))
        if _may_stand_beside(truth, by_model):
            rows += _papers_rows(columns)
    return rows


def _title(truth: _Truth, runs: Runs) -> str:
    """The dataset; where it is there with several truths, also which."""
    several = sum(truth.dataset == other.dataset for other in runs) > 1
    return f"{dataset_label(truth.dataset)}{f', truth {truth.hash[:8]}' if several else ''}, {truth.images} images"


def _cell(metric: str, record: Record | None) -> Cell:
    if record is None:
        return Cell()
    if metric != VANISHED:
        return score_cell(metric, "oracle", [record])
    things, instances = _vanished(record).things, _vanished(record).instances
    share = things.vanished / things.total if things.total else None
    notes = (f"{things.vanished} of {things.total} things", f"{instances.vanished} of {instances.total} instances")
    return replace(summarise([(record.run_id, share)], 100.0), notes=notes)


def _may_stand_beside(truth: _Truth, by_model: Mapping[str, BySize]) -> bool:
    """Whether Table 8 may be set beside these runs: its dataset, the whole split, a profile that allows it."""
    specs = [record.spec for by_size in by_model.values() for record in by_size.values()]
    allowed = all(profile_named(spec.profile).reproduction and spec.budget.val_images is None for spec in specs)
    whole = truth.images == OFFICIAL_IMAGES[UNNAMED_DATASET][1]
    return allowed and whole and truth.dataset == UNNAMED_DATASET


def _papers_rows(columns: Sequence[Column]) -> list[Row]:
    rows = []
    for name, by_size in _papers_values().items():
        values = [by_size.get(column.size or "") if column.metric == "mIoU" else None for column in columns]
        rows.append(Row(f"{PAPERS}/{name}", name, "paper", name, tuple(Cell(paper=value) for value in values)))
    return rows


def _papers_values() -> dict[str, dict[str, float]]:
    """mIoU of Table 8 by row and size as we write it: its columns are read as width x height."""
    values: dict[str, dict[str, float]] = defaultdict(dict)
    for cell in paper().table(PAPERS).cells:
        _, size = read_as(cell)
        assert size is not None
        values[f"Table 8: {cell.row}"][size_text(size)] = cell.value
    return values


def _printed() -> Table:
    """Table 8 as printed, a column a size."""
    sizes = dict.fromkeys(size for by_size in _papers_values().values() for size in by_size)
    columns = tuple(_column(size, "mIoU", printed=True) for size in sizes)
    title = "The paper's Table 8, as printed"
    return with_marks(Table(f"{PAPERS}/paper", title, columns, tuple(_papers_rows(columns)), PAPERS_LABEL))


def _notes(runs: Runs) -> list[str]:
    notes = [BESIDE] if any(_may_stand_beside(*item) for item in runs.items()) else []
    for truth, by_model in runs.items():
        whole = OFFICIAL_IMAGES.get(truth.dataset, (0, truth.images))[1]
        capped = any(r.spec.budget.val_images is not None for by_size in by_model.values() for r in by_size.values())
        if capped or truth.images < whole:
            notes.append(f"{_title(truth, runs)}: not the whole split.")
    return notes


def _gaps(
    suite: Suite, profile: str, sizes: Sequence[str], records: Sequence[Record], missing: Mapping[str, Missing]
) -> list[Gap]:
    """What lacks at each size; what lacks at every size is said once."""
    found: dict[Gap, list[str]] = defaultdict(list)
    for size in sizes:
        here = [record for record in records if size_text(record.spec.size) == size]
        for gap in find_gaps(suite, profile, here, splits(here, suite.datasets), missing):
            found[gap].append(size)
    return [
        replace(gap, times=len(at), dataset=gap.dataset + ("" if len(at) == len(sizes) else f" at {', '.join(at)}"))
        for gap, at in found.items()
    ]


def _chart(name: str, title: str, suite: Suite, sizes: Sequence[str], runs: Runs) -> Chart:
    """A row of panels a dataset, a panel a metric; x is the number of pixels."""
    datasets = ", ".join(dict.fromkeys(dataset_label(truth.dataset) for truth in runs))
    return Chart(
        name=name,
        alt=f"Scores of the resize oracles against the size on {datasets}; the numbers are in the table",
        title=title,
        x_label="height x width (pixels)",
        ticks=tuple((_pixels(size), size) for size in sizes),
        rows=tuple(
            tuple(
                _panel(_title(truth, runs) if n == 0 else "", metric, truth, suite, by_model)
                for n, metric in enumerate(METRICS)
            )
            for truth, by_model in runs.items()
        ),
    )


def _panel(title: str, metric: str, truth: _Truth, suite: Suite, by_model: Mapping[str, BySize]) -> Panel:
    lines = []
    for model in networks(suite):
        values = {size: _cell(metric, record).value for size, record in by_model.get(model, {}).items()}
        if points := _points(values):
            lines.append(Line(label_of(model), points, method=model))
    if metric == "mIoU" and _may_stand_beside(truth, by_model):
        models = {f"Table 8: {row}": model for row, model in paper().models.items()}
        lines += [
            Line(name, _points(by_size), printed=True, method=models[name])
            for name, by_size in _papers_values().items()
        ]
    return Panel(title, f"{metric} (%)", tuple(lines), None if metric == VANISHED else 100.0)


def _points(values: Mapping[str, float | None]) -> tuple[tuple[float, float], ...]:
    return tuple(sorted((_pixels(size), value) for size, value in values.items() if value is not None))

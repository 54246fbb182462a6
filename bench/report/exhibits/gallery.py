"""Figures 2 and 5: the first images of a validation split, their truth, and what each network makes of them.

Truth and input of one image must be the same pixels in all runs of a split: where they are not, the run's picture is
left out and named. Pictures of datasets that are not ours to pass on are drawn apart, into a folder that git ignores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from bench.evaluate.samples import VOID, Color
from bench.record import Record
from bench.report.drawing.mosaic import Mosaic, Strip
from bench.report.drawing.samples import Sample, is_public, read_samples
from bench.report.exhibit import PRIVATE, Exhibit, Section, left_out
from bench.report.facts import Facts
from bench.report.gaps import Gap, Missing, nothing_run
from bench.report.tables.cells import score_cell
from bench.report.tables.columns import SCORES, dataset_label
from bench.report.tables.single import Part, Single, own_runs, parts_of
from bench.report.tables.table import NONE, Column, Row, Table
from bench.settings import profile_named
from bench.spec import Suite, size_text
from models.categories import Task

LEGEND = (
    "Rows are the input, the truth and each network's prediction, columns always the same images: the first of those "
    "that the runs were evaluated on, however well they come out. Each row is one run, of the lowest seed. One pixel "
    "is one pixel of the network's input."
)
UNDER: Mapping[Task, str] = {
    "semantic": "A colour a class, void in black. The score is the run's own over the whole split, in percent.",
    "instance": (
        "A colour a class, instances in shades of their class's, all stuff as one background, void in black. The score "
        "is the run's own over the whole split, in percent."
    ),
    "panoptic": (
        "A colour a class, things in shades of their class's, void in black. The scores are the run's own over the "
        "whole split, in percent."
    ),
}
NOT_NAMED = " The paper's text does not say which methods its Figure 2 shows; these are one of each family of Table 4."
WITHHELD = (
    "{dataset}: its images are not ours to pass on, so this page has none of them. Where the runs' samples lie, the "
    f"figure is drawn into {PRIVATE}/, which git ignores."
)
HEX = 12
FILES = (
    f"The first {HEX} digits of each file's sha256. It lies in the run's folder, under samples/, and has the "
    "image's id in its name."
)
AGAIN = "remove results/{run} and run its suite again"


@dataclass(frozen=True)
class Shown:
    """A run with those of its pictures that belong beside the others."""

    single: Single
    samples: Mapping[int, Sample]


def build_exhibit(suite: Suite, records: Sequence[Record], missing: Mapping[str, Missing]) -> Exhibit:
    """A section a dataset, profile and size. Reads the sample pictures of the runs that are shown."""
    own = own_runs(suite, records)
    parts = sorted(parts_of(suite, own, missing), key=lambda part: (part.key.rank, -prod(part.key.size)))
    found = tuple(_section(suite, part) for part in parts)
    return Exhibit(
        suite=suite,
        sections=found,
        gaps=() if found else tuple(nothing_run(suite, own, missing)),
        printed=None,
        records=tuple(own),
        notes=left_out(suite, records, own),
        legend=LEGEND + NOT_NAMED * (suite.exhibit == "figure2"),
        units=UNDER[suite.task],
    )


def _section(suite: Suite, part: Part) -> Section:
    public = is_public(part.split.dataset)
    shown, faults, gaps = _shown(part)
    profile, size = profile_named(part.key.profile), size_text(part.key.size)
    title = f"{dataset_label(part.split.dataset)}, {size}, profile {profile.name}"
    columns = tuple(_column(metric, part) for metric in SCORES[suite.task])
    table = Table(
        key=f"{suite.name}/{part.name}",
        title=title,
        columns=columns,
        rows=tuple(_row(single, columns) for single in part.singles),
        label=profile.label,
        profile=profile.name,
        size=size,
        protocol=f"{part.key.protocol}, version {part.key.protocol_version}",
        notes=tuple(faults) if public else (WITHHELD.format(dataset=dataset_label(part.split.dataset)),),
    )
    drawn = (_mosaic(suite, part, shown),) if any(one.samples for one in shown) else ()
    if not public:  # nothing here may depend on what others do not have
        return Section(table, part.gaps, private=drawn)
    return Section(table, (*part.gaps, *gaps), drawn, (_files(shown),) if drawn else ())


def _shown(part: Part) -> tuple[list[Shown], list[str], list[Gap]]:
    """The runs with their pictures, in words what is wrong with others, and the runs without any."""
    shown, faults, gaps = [], [], []
    first: dict[int, tuple[Single, Sample]] = {}
    for single in part.singles:
        samples, unreadable = read_samples(single.record)
        faults += [f"{single.label}: {fault}; left out." for fault in unreadable]
        kept = {}
        for sample in samples:
            other, model = first.setdefault(sample.number, (single, sample))
            if differs := _what_differs(sample, model):
                faults.append(
                    f"{single.label}, {sample.name}: {differs} is not that of {other.label}, though both were "
                    f"evaluated on split {part.split.short}; left out ({sample.file}, {model.file})."
                )
            else:
                kept[sample.number] = sample
        shown.append(Shown(single, kept))
        if not samples and not unreadable:
            record, why = single.record, "done, but its sample pictures are not here"
            how = AGAIN.format(run=record.run_id)
            gaps.append(Gap(part.split.dataset, (single.label,), (record.spec.seed,), why, how))
    return shown, faults, gaps


def _what_differs(sample: Sample, other: Sample) -> str:
    """Of two pictures of one image; '' where nothing does. An id that is not known differs from none."""
    if sample.id and other.id and sample.id != other.id:
        return "the image's id"
    if not np.array_equal(sample.image, other.image):
        return "the input"
    return "" if np.array_equal(sample.truth, other.truth) else "the truth"


def _mosaic(suite: Suite, part: Part, shown: Sequence[Shown]) -> Mosaic:
    runs = [one for one in shown if one.samples]
    numbers = sorted({number for one in runs for number in one.samples})
    images = [next(one.samples[number] for one in runs if number in one.samples) for number in numbers]
    strips = [
        Strip("Input", tuple(sample.image for sample in images)),
        Strip("Truth", tuple(sample.truth for sample in images)),
    ]
    for one in runs:
        found = [one.samples.get(number) for number in numbers]
        strips.append(Strip(one.single.label, tuple(sample.prediction if sample else None for sample in found)))
    names = ", ".join(one.single.label for one in runs)
    dataset, label = dataset_label(part.split.dataset), profile_named(part.key.profile).label
    return Mosaic(
        name=f"{suite.name}-{part.name}",
        alt=f"{len(images)} images of {dataset}, their truth, and the predictions of {names}",
        title=f"{suite.title}: {dataset}, {size_text(part.key.size)}; {label}",  # a figure leaves its page
        heads=tuple(_name(runs, number) for number in numbers),
        strips=tuple(strips),
        classes=_classes([sample for one in runs for sample in one.samples.values()]),
    )


def _classes(samples: Sequence[Sample]) -> dict[str, Color]:
    """What any of the pictures shows, by name, void last."""
    found = {name: color for sample in samples for name, color in sample.classes.items()}
    return dict(sorted(found.items(), key=lambda item: (item[0] == VOID, item[0])))


def _files(shown: Sequence[Shown]) -> Facts:
    """Which file each picture comes from: a line an image, a column a run."""
    given = [one for one in shown if one.samples]
    numbers = sorted({number for one in given for number in one.samples})
    lines = tuple((_name(given, n), *(_hash(one.samples.get(n)) for one in given)) for n in numbers)
    return Facts("The pictures", ("Image", *(one.single.label for one in given)), lines, (FILES,))


def _name(shown: Sequence[Shown], number: int) -> str:
    """The image's id, where one of the runs has it."""
    found = [one.samples[number] for one in shown if number in one.samples]
    return next((sample.id for sample in found if sample.id), found[0].name)


def _hash(sample: Sample | None) -> str:
    return sample.sha256[:HEX] if sample else NONE


def _column(metric: str, part: Part) -> Column:
    split = part.split
    return Column(
        key=f"{split.dataset}.{split.short}.{metric}",
        group=f"{dataset_label(split.dataset)}, split {split.short}",
        metric=metric,
        unit="%",
        better="higher",
        digits=1,
        paper_digits=1,
        dataset=split.dataset,
        split=split.short,
        size=size_text(part.key.size),
    )


def _row(single: Single, columns: Sequence[Column]) -> Row:
    record = single.record
    cells = tuple(score_cell(column.metric, "network", [record]) for column in columns)
    return Row(f"network/{record.run_id}", single.label, "network", record.spec.model, cells)

"""How each row of a comparison was trained, beside what the paper says of it, and whether the rows had the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from bench.paper.training import stated
from bench.record import Record
from bench.report.facts import Facts
from bench.report.tables.columns import dataset_label
from bench.report.tables.rows import Variant
from bench.spec import Recipe, RunSpec, Tuning, size_text
from models.registry import REGISTRY
from models.thresholds import TOLD

TITLE = "How each row was trained"
HEADS = (
    "Network",
    "Data",
    "Initial weights",
    "Input",
    "Epochs",
    "Image passes",
    "Batch",
    "Optimiser",
    "Schedule",
    "Augmentation",
    "Post-processing",
    "Search of the rate",
    "The paper",
)
OPTIMIZERS = {"adamw": "AdamW"}
SCHEDULES = {"constant": "constant", "poly": "polynomial", "step": "one drop"}
EXPLAINED = (
    "Image passes are epochs times the training images of an epoch; a last batch that is not full is left out of each."
)


def conditions(lines: Iterable[Variant], exhibit: str | None) -> Facts | None:
    """A line a row, or one for each way a row was trained where that differs between datasets; None without rows."""
    told = []
    for variant in lines:
        by_way: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for split, runs in variant.runs.items():
            by_way[_way(runs[0], exhibit)].append(dataset_label(split.dataset))
        told += [(variant.label, ", ".join(dict.fromkeys(data)), *way) for way, data in by_way.items()]
    return Facts(TITLE, HEADS, tuple(told), (EXPLAINED,)) if told else None


def unequal(lines: Sequence[Variant]) -> list[str]:
    """Notes: where the rows of one column did not have the same epochs times images, or the same search."""
    notes = []
    for split in dict.fromkeys(split for variant in lines for split in variant.runs):
        here = {variant.label: variant.runs[split] for variant in lines if split in variant.runs}
        where = f"on {dataset_label(split.dataset)}, split {split.short}"
        notes += _unequal(
            "epochs times training images", where, {label: _budgets(runs) for label, runs in here.items()}
        )
        searches = {label: _grid(runs[0].spec.recipe.tuning) for label, runs in here.items()}
        notes += _unequal("searches of the learning rate", where, searches)
    return notes


def at_the_edge(lines: Iterable[Variant]) -> list[str]:
    """A note: the rows whose best rate is the smallest or the largest that was tried."""
    names: dict[str, list[str]] = defaultdict(list)
    for variant in lines:
        for split, runs in variant.runs.items():
            tuning = runs[0].spec.recipe.tuning
            if tuning and len(tuning.factors) > 1 and tuning.factor in (min(tuning.factors), max(tuning.factors)):
                names[variant.label].append(dataset_label(split.dataset))
    if not names:
        return []
    who = "; ".join(f"{label} ({', '.join(data)})" for label, data in names.items())
    return [f"The best rate is at the edge of the search, so a better one may lie beyond: {who}."]


def passes(record: Record) -> int:
    """How often the network saw an image in training, by the rule of `drop_last` in bench/data/batches.py."""
    assert record.metrics is not None
    recipe, images = record.spec.recipe, record.metrics.train_images
    return recipe.epochs * (images - images % recipe.batch_size if images > recipe.batch_size else images)


def _budgets(runs: Sequence[Record]) -> str:
    """Without what a batch that is not full leaves out: batches of another size leave out another rest."""
    found = {run.spec.recipe.epochs * run.metrics.train_images for run in runs if run.metrics}
    return " or ".join(f"{count:,}" for count in sorted(found))


def _unequal(what: str, where: str, by_label: Mapping[str, str]) -> list[str]:
    groups: dict[str, list[str]] = defaultdict(list)
    for label, value in by_label.items():
        groups[value].append(label)
    if len(groups) < 2:
        return []
    parts = "; ".join(f"{value}: {', '.join(labels)}" for value, labels in groups.items())
    return [f"Not a fair comparison {where}: the networks had different {what}. {parts}."]


def _way(record: Record, exhibit: str | None) -> tuple[str, ...]:
    """The columns after the data, of one run; its row's other seeds have the same."""
    spec, recipe = record.spec, record.spec.recipe
    return (
        _weights(spec),
        size_text(spec.size),
        f"{recipe.epochs:,}",
        f"{passes(record):,}",
        str(recipe.batch_size),
        _optimizer(recipe),
        SCHEDULES[recipe.schedule] + (f", {recipe.warmup_steps} steps of warm-up" if recipe.warmup_steps else ""),
        _augmentation(recipe),
        _postprocessing(spec),
        _search(recipe.tuning),
        stated(spec.model, spec.task, exhibit),
    )


def _weights(spec: RunSpec) -> str:
    start = str(spec.options.get("backbone_weights", "none"))
    names = {"none": "random", "imagenet": "backbone trained on ImageNet, the rest random"}
    return names.get(start) or f"backbone from a file ({start[:15]}…), the rest random"


def _optimizer(recipe: Recipe) -> str:
    parts = [f"{OPTIMIZERS[recipe.optimizer]}, rate {recipe.lr:g}, weight decay {recipe.weight_decay:g}"]
    if recipe.backbone_lr_factor != 1:
        parts.append(f"the backbone at {recipe.backbone_lr_factor:g} of the rate")
    if recipe.clip_norm is not None:
        parts.append(f"gradients clipped at norm {recipe.clip_norm:g}")
    return f"{', '.join(parts)} (recipe {recipe.name})"


def _augmentation(recipe: Recipe) -> str:
    by = recipe.augmentation
    return "none" if by is None else f"scale {by.scale[0]:g} to {by.scale[1]:g}, flip {by.flip:g}"


def _postprocessing(spec: RunSpec) -> str:
    """How its outputs become segments and instances; a semantic map needs nothing."""
    if spec.task == "semantic":
        return "none"
    if "grouping" in spec.options:
        return f"pixels grouped by '{spec.options['grouping']}'"
    return TOLD.get(REGISTRY[spec.model].family, "none") if spec.model in REGISTRY else "not recorded"


def _search(tuning: Tuning | None) -> str:
    return "none" if tuning is None else f"×{tuning.factor:g}, the best of {_grid(tuning)}"


def _grid(tuning: Tuning | None) -> str:
    if tuning is None:
        return "none"
    factors = ", ".join(f"×{factor:g}" for factor in tuning.factors)
    return f"{factors} by {tuning.metric} on {tuning.held_out} % of the training images, seed {tuning.seed}"

"""What the paper says of the training of a network (Sec. 4.2), and what it leaves open. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml

from bench.paper.numbers import LOADER, PAPER_YAML, paper
from models.categories import Task

NOT_STATED = "paper: not stated"
NOT_IN_PAPER = "not in the paper"
OPEN = {
    "pretrained": "initial weights",
    "lr_schedule": "schedule",
    "augmentation_parameters": "numbers of the augmentation",
    "postprocessing_to_instances": "post-processing",
}  # what may be null: its words


def stated(model: str, task: Task, exhibit: str | None = None) -> str:
    """In one line, for a registered network; of an exhibit with a training of its own, what the paper says of that."""
    training = _content()["training"]
    common = training["common"]
    if model in common["networks"]:
        return _here(_own({**common, **training[task]}, task), exhibit)
    if model not in paper().models.values():
        return NOT_IN_PAPER
    known = [f"{key} {value}" for key, value in training["baselines"].items() if key != "note" and value is not None]
    return f"paper: {', '.join(known)}" if known else NOT_STATED


def _here(line: str, exhibit: str | None) -> str:
    """Where the paper trains for an exhibit otherwise, or does not say how, Sec. 4.2 is no statement about it."""
    if exhibit in ("table8", "sizes"):
        return f"paper: not stated for its Table 8; in Sec. 4.2: {line}"
    if exhibit == "figure4":
        epochs = _content()["figures"][exhibit]["epochs"]
        return f"paper: {epochs} epochs for its Figure 4, nothing else stated there; in Sec. 4.2: {line}"
    return f"paper: {line}"


def _own(given: Mapping[str, Any], task: Task) -> str:
    if task != "semantic":
        given = {**given, "postprocessing_to_instances": _content()["architecture"]["postprocessing_to_instances"]}
    height, width = given["input_size"]
    parts = [
        f"input {height}x{width}",
        f"{given['epochs']} epochs",
        f"batch {given['batch_size']}",
        f"{given['optimizer']}, rate {given['initial_lr']:g}, weight decay {given['weight_decay']:g}",
        *given["augmentation"],
        *(f"{words} {given[key]}" for key, words in OPEN.items() if given.get(key) is not None),
    ]
    left_open = [words for key, words in OPEN.items() if key in given and given[key] is None]
    return ", ".join(parts) + (f"; not stated: {', '.join(left_open)}" if left_open else "")


@cache
def _content() -> Mapping[str, Any]:
    content: Mapping[str, Any] = yaml.load(PAPER_YAML.read_bytes(), Loader=LOADER)
    return content

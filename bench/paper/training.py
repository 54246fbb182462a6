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


def stated(model: str, task: Task) -> str:
    """In one line, for a registered network."""
    training = _content()["training"]
    common = training["common"]
    if model in common["networks"]:
        return _own({**common, **training[task]}, task)
    if model not in paper().models.values():
        return NOT_IN_PAPER
    known = [f"{key} {value}" for key, value in training["baselines"].items() if key != "note" and value is not None]
    return f"paper: {', '.join(known)}" if known else NOT_STATED


def _own(given: Mapping[str, Any], task: Task) -> str:
    if task != "semantic":
        given = {**given, "postprocessing_to_instances": _content()["architecture"]["postprocessing_to_instances"]}
    height, width = given["input_size"]
    parts = [
        f"paper: input {height}x{width}",
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

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cityscapesscripts.helpers.labels import labels

from bench.data.native.category_tables import table

COUNTS = {"coco": (80, 53), "ade20k": (100, 50), "cityscapes": (8, 11)}


@pytest.mark.parametrize("name", COUNTS)
def test_things_and_stuff_number_what_the_dataset_says(name: str) -> None:
    categories = table(name)
    things = sum(categories.is_thing)
    assert (things, len(categories) - things) == COUNTS[name]


@pytest.mark.parametrize("name", COUNTS)
def test_ids_lead_to_contiguous_indices_and_back(name: str) -> None:
    categories = table(name)
    indices = [categories.index_of[entry.id] for entry in categories.entries]
    assert indices == list(range(len(categories)))
    assert [categories.entries[i].id for i in indices] == sorted(categories.index_of)
    assert len({entry.name for entry in categories.entries}) == len(categories)
    assert len({entry.color for entry in categories.entries}) == len(categories)


def test_cityscapes_is_what_its_own_scripts_say() -> None:
    evaluated = [label for label in labels if not label.ignoreInEval]
    rows = [(label.id, label.name, label.hasInstances, label.color) for label in evaluated]
    assert [(e.id, e.name, e.isthing, e.color) for e in table("cityscapes").entries] == rows
    assert [label.trainId for label in evaluated] == list(range(19))  # the contiguous index is the train id


def test_coco_is_what_its_json_says(shared_data: Path) -> None:
    rows = json.loads((shared_data / "coco_panoptic/annotations/panoptic_val2017.json").read_text())["categories"]
    official = sorted((row["id"], row["name"], bool(row["isthing"])) for row in rows)
    assert [(e.id, e.name, e.isthing) for e in table("coco").entries] == official


def test_ade20k_has_the_names_of_its_own_list(shared_data: Path) -> None:
    lines = (shared_data / "ade20k_samples/objectInfo150.txt").read_text().splitlines()[1:]
    fields = [line.split("\t") for line in lines]
    official = [(int(number), names.split(",")[0].strip()) for number, _, _, _, names in fields]
    assert [(entry.id, entry.name) for entry in table("ade20k").entries] == official


def test_ade20k_things_are_the_hundred_instance_categories() -> None:
    """As CSAILVision/placeschallenge lists them, instancesegmentation/instanceInfo100_train.txt, in their order."""
    official = (
        "bed, windowpane, cabinet, person, door, table, curtain, chair, car, painting, sofa, shelf, mirror, armchair, "
        "seat, fence, desk, wardrobe, lamp, bathtub, railing, cushion, box, column, signboard, chest of drawers, "
        "counter, sink, fireplace, refrigerator, stairs, case, pool table, pillow, screen door, bookcase, "
        "coffee table, toilet, flower, book, bench, countertop, stove, palm, kitchen island, computer, swivel chair, "
        "boat, arcade machine, bus, towel, light, truck, chandelier, awning, streetlight, booth, "
        "television receiver, airplane, apparel, pole, bannister, ottoman, bottle, van, ship, fountain, washer, "
        "plaything, stool, barrel, basket, bag, minibike, oven, ball, food, step, trade name, microwave, pot, "
        "animal, bicycle, dishwasher, screen, sculpture, hood, sconce, vase, traffic light, tray, ashcan, fan, "
        "plate, monitor, bulletin board, radiator, glass, clock, flag"
    )
    ours = [entry.name for entry in table("ade20k").entries if entry.isthing]
    assert ours == official.replace("television receiver", "television").split(", ")

"""The paper's numbers as data, against the paper's text."""

import hashlib
import re
import subprocess
import sys

import pytest

from bench.errors import UserError
from bench.paper.numbers import paper, paper_value
from models.registry import REGISTRY

TABLE4_LINES = range(168, 174)
COLUMNS = (
    (None, "FLOPs"),
    (None, "Params"),
    *((dataset, metric) for dataset in ("coco", "ade20k", "cityscapes") for metric in ("mIoU", "PQ", "AP")),
)


@pytest.fixture(scope="module")
def text(shared_paper):
    content = (shared_paper / "maskattn_unet.md").read_bytes()
    assert hashlib.sha256(content).hexdigest() == paper().text_sha256
    return content.decode().split("\n")


def rows_of_table4(text):
    """(label, [numbers], [underlined]) of each printed row."""
    for number in TABLE4_LINES:
        label, *fields = text[number - 1].split("\t")
        fields = [field for field in fields if field.strip()]
        yield label, [float(re.sub(r"</?u>", "", field)) for field in fields], ["<u>" in field for field in fields]


def test_every_cell_of_table_4_is_the_texts(text):
    compared = 0
    for label, numbers, underlined in rows_of_table4(text):
        assert len(numbers) == len(COLUMNS)
        for (dataset, metric), value, line in zip(COLUMNS, numbers, underlined, strict=True):
            cell = paper_value("table4", paper().models[label], dataset, metric)
            assert (cell.row, cell.value) == (label, value)
            assert (cell.mark_text == "underline") == line
            compared += 1
    assert compared == 66


def test_the_caption_is_where_the_data_says(text):
    table = paper().table("table4")
    assert text[table.caption_line - 1].startswith("Table 4.")
    assert paper_value("table4", "unet", "coco", "PQ").reference == "Table 4, line 175"


def test_units_and_sizes():
    assert paper_value("table4", "maskattn-unet", None, "FLOPs").unit == "G"
    assert paper_value("table4", "maskattn-unet", None, "FLOPs").resolution is None
    assert paper_value("table4", "maskattn-unet", "coco", "mIoU").unit == "%"
    assert paper_value("table4", "maskattn-unet", "coco", "mIoU").resolution == (128, 128)


def test_every_network_named_is_registered():
    assert set(paper().models.values()) <= set(REGISTRY)


def test_what_the_paper_does_not_print_is_none():
    assert paper_value("table4", "majority", "coco", "PQ") is None
    assert paper_value("table4", "unet", "scenes", "PQ") is None
    assert paper_value("table8", "maskattn-unet", None, "mIoU") is None  # three sizes: no single number


def test_an_unknown_table_is_the_users_mistake():
    with pytest.raises(UserError, match="did you mean 'table4'"):
        paper_value("tabel4", "unet", "coco", "PQ")


def test_ids_are_unique():
    ids = [cell.id for table in paper().tables.values() for cell in table.cells]
    assert len(ids) == len(set(ids))


def test_importing_needs_no_torch_and_no_pandas():
    code = "import sys, bench.paper.numbers as n; n.paper(); print(sorted({'torch', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"

"""paper.yaml against the paper's text: every cell of its tables, and every number of its prose."""

import re

import pytest

from bench.paper.numbers import content, paper

ROWS = {  # the lines of each table's body in the text
    "table1": (134, 134), "table2": (147, 149), "table3": (158, 160), "table4": (168, 173), "table5": (329, 330),
    "table6": (341, 342), "table7": (353, 354), "table8": (366, 368), "table9": (420, 423),
}  # fmt: skip
OURS = {"lines", "computed", "computed_differences", "leaves_out", "note", "elsewhere", "cost", "measured"}
NO_NUMBERS = (  # names and references with digits in them
    r"https?: ?//\S+", r"\[\d+(?:, ?\d+)*\]", r"<sup>.*?</sup>",
    r"\(Eqs?\.? ?\d+\)|Eq\. ?\d+|Fig\. ?\d+|Figures ?\d+ and \d+|Figure ?\d+|Tab\. ?\d+|Table ?\d+|Section ?[\d.]+",
    r"Appendix B\.\d|\\tag\{\d+\}|\(\d\)\$\$|\\qquad \(\d\)|\\quad \(\d\)|^ ?\(\d\)$|\\times|U-Net|128\^2",
    r"Mask2Former|ADE20K|val2017|train2017|V100|A100|R50|R101|ResNet-101|att\d|W_[12]|b_[12]|\^\{-?\d\}",
)  # fmt: skip
OCR = {166: r"\t0\t", 167: r"12015\(0\)|\(11\)"}  # noise in the header of Table 4


@pytest.fixture(scope="module")
def text(shared_paper):
    return (shared_paper / "maskattn_unet.md").read_text().split("\n")


def numbers(string):
    return [float(found) for found in re.findall(r"(?<![\w.])\d+(?:\.\d+)?", string)]


def fields(line):
    cells = [re.sub(r"</?u>", "", part).strip() for part in line.split("\t")[1:]]
    return [float(cell) for cell in cells if cell]


HEADS = {  # as printed, without arrows and units; Table 4 has two lines, the upper one by spans of three
    "table4": (
        "FLOPs",
        "Params",
        *(f"{d} {m}" for d in ("COCO", "ADE20K", "Cityscapes") for m in ("mIoU", "PQ", "AP")),
    ),
}


def label(line):
    return re.sub(r"</?[a-z]+>", "", line.split("\t")[0]).strip()


def heads(text, name):
    """What stands over the columns of numbers."""
    if name in HEADS:
        return HEADS[name]
    above = [line for line in text[: ROWS[name][0] - 1] if "\t" in line][-1]
    if name == "table8":
        return tuple(f"{w}x{h}" for w, h in re.findall(r"(\d+) \\times (\d+)", above))
    cleaned = re.sub(r"</?[a-z]+>|[$↑^]|\\uparrow|\(\\?%\)|\\", "", above)
    return tuple(part.strip() for part in cleaned.split("\t")[1:])


@pytest.mark.parametrize("name", ROWS)
def test_every_cell_is_the_texts(text, name):
    """Its row by its printed label, its column by the head above it, its value by the digits."""
    table, compared = paper().tables[name], 0
    first, last = ROWS[name]
    cells = {(cell.row if name != "table1" else "mIoU", cell.column): cell.value for cell in table.cells}
    columns = [column.replace("(%)", "").strip() for column in heads(text, name)]
    for row, number in enumerate(range(first, last + 1)):
        printed = fields(text[number - 1])
        assert content()["tables"][name]["values"][row] == printed
        said = label(text[number - 1]) if name != "table1" else "mIoU"
        assert {column: cells[said, column] for column in columns} == dict(zip(columns, printed, strict=True))
        compared += len(printed)
    assert compared == len(table.cells) == len(cells)


def test_the_points_of_figure_3_are_the_sentences(text):
    for point, number in zip(content()["figures"]["figure3"]["data"], range(199, 204), strict=True):
        found = numbers(text[number - 1].replace("\\%", "%"))
        assert found[0] == point["fraction"]
        assert {point["mIoU"], point["PQ"], point["AP"]} <= set(found)
    cells = paper().cells
    assert cells["fig3.10.miou"].value == 36.7
    assert (cells["fig3.75.pq"].train_percent, cells["fig3.75.pq"].model) == (75, "maskattn-unet")


def known_numbers():
    """Every number in the YAML but those that are ours or line numbers."""
    found = set()

    def walk(value):
        if isinstance(value, bool) or value is None:
            return
        if isinstance(value, int | float):
            found.add(float(value))
        elif isinstance(value, str):
            found.update(numbers(re.sub(r"(?<=\d)x(?=\d)", " ", value)))
        elif isinstance(value, list):
            for one in value:
                walk(one)
        else:
            for key, one in value.items():
                if key not in OURS:
                    walk(key)
                    walk(one)

    walk({key: value for key, value in content().items() if key != "conventions"})
    return found


def prose(text):
    """(line number, line without names and references) of the body: no headings, authors, references."""
    inside = True
    for number, line in enumerate(text, 1):
        inside = (inside and not line.startswith("## References")) or line.startswith("# Appendix")
        if inside and not line.startswith("#") and not 1 < number < 8:
            line = re.sub(OCR[number], "\t", line) if number in OCR else line
            line = re.sub(r"AP@(\d+)", r" \1 ", line)
            yield number, re.sub("|".join(NO_NUMBERS), " ", line)


def test_every_number_of_the_text_is_in_the_data(text):
    known, seen, missing = known_numbers(), 0, []
    for line, cleaned in prose(text):
        for value in numbers(cleaned):
            seen += 1
            missing += [] if value in known else [(line, value)]
    assert not missing
    assert seen > 300


def test_claims_are_on_the_lines_they_name(text):
    assert all(0 < line <= len(text) for claim in content()["claims"] for line in claim["lines"])
    for claim in content()["claims"]:
        stated = claim.get("stated") or []
        said = " ".join(text[line - 1] for line in claim["lines"])
        if claim["op"] in ("restate", "rel_diff_eq", "diff_eq"):
            wanted = {float(number) for number in (stated if isinstance(stated, list) else [stated])}
            assert wanted <= set(numbers(re.sub(r"(?<=\d)[GM]\b", " ", said))), claim["id"]

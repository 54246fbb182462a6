"""What is said of an exhibit before its tables: where it is in the paper, which claims rest on it, how we read it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.paper.numbers import cells_of, content

READINGS = {
    "table1": (
        "mIoU is over all categories of the dataset, stuff and things. The paper's own mIoU of the panoptic task "
        "(Table 3) is higher on all three datasets, and Sec. 4.3 calls it one over stuff: two definitions may be "
        "meant. What the choice moves is in the report on protocols."
    ),
    "table2": (
        "k is an IoU threshold in the paper's text, where AP@100 would ask for masks equal to the last pixel, and a "
        "cap on the detections of an image in its released code. Both come from the same predictions; numbers of one "
        "are never set against the other. AP alone is COCO's, the mean over IoU .50:.95."
    ),
    "table3": (
        "Columns are in the order of this table, mIoU, AP, PQ; Table 4 has mIoU, PQ, AP. Its nine numbers are those "
        "of Table 4. The paper says once that this mIoU is over stuff alone; ours is over all categories. The paper "
        "does not define its AP; ours is COCO's."
    ),
    "table5": (
        "The paper's UNet is the network with its modules removed (Sec. B.2), so its numbers belong to the row "
        "'MaskAttn-UNet (no modules)'. They equal those of U-Net in Table 4 to the digit, so a textbook U-Net may be "
        "meant: that row stands beside it, without a number of the paper. Text and table do not settle which of the "
        "two it is."
    ),
    "table6": (
        "The paper compares with its UNet (Table 5), read as the network without modules, and with the full network."
    ),
    "table7": (
        "The paper's row is the network that it cites as [47], U-Transformer, which has self- and cross-attention and"
        " differs from the proposed one in more than the mask. The controlled row is 'Self-Attention UNet': the "
        "proposed network without its mask, all else equal. It has no number in the paper."
    ),
    "table8": (
        "Sizes are height x width: the paper's 64 x 48 is read as 64 wide and 48 high. It names neither dataset nor "
        "split nor whether the networks were trained at the size: COCO, and trained at the size, are our reading. At "
        "a size where a network is not clearly above the floors, it segments nothing that a constant map would not."
    ),
    "sizes": (
        "A sweep of ours beside Table 8 of the paper (Sec. B.2), whose mIoU falls off a cliff between two "
        "neighbouring sizes: does it, in small steps? Sizes are height x width."
    ),
    "figure3": (
        "The parts of the training images are nested and fixed, and each is trained on for as many epochs, so a "
        "smaller part means fewer steps. All are evaluated on the same validation images."
    ),
    "figure4": (
        "The paper shows the combined loss against the weight, without a value of any point, and takes the weight "
        "where it is lowest. At convergence the lowest combined loss cannot fall as the weight grows, whatever is "
        "best: the contrastive term is not negative, so each network costs no less under a larger weight. So the "
        "terms without their weight and the scores are shown beside it. Our combined loss is the sum that is trained "
        "on: Eq. 7 and, with weight 1, the classification of each instance (Sec. 4.2), which Eq. 7 does not hold. "
        "Whether the paper's figure holds it is not said."
    ),
}


def about(exhibit: str) -> str:
    """Sentences, for a reader."""
    kind = "table" if exhibit.startswith("table") else "figure"
    found = content()[f"{kind}s"].get(exhibit)
    said = []
    if found:
        said.append(f"{kind.title()} {exhibit.removeprefix(kind)} of the paper is in Sec. {found['section']}.")
    if claims := ", ".join(_claims(exhibit)):
        said.append(f"Claims of the audit that rest on its numbers: {claims}.")
    return " ".join([*said, *([READINGS[exhibit]] if exhibit in READINGS else [])])


def _claims(exhibit: str) -> Iterator[str]:
    ids = {cell.id for cell in cells_of(exhibit)}
    for claim in content()["claims"]:
        if any(name in ids or f"figures.{exhibit}." in name for name in _names(claim)):
            yield claim["id"]


def _names(value: Any) -> Iterator[str]:
    """All strings in it."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _names(one)

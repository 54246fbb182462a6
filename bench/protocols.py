"""The readings of the paper's metrics that differ from `standard`: their names and what each number is. No torch.

A record holds them under `protocols` in metrics.json: name -> key -> fraction, None where the number does not exist.
They come from the same predictions, truth and images as the record's `standard` numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

AT = (30, 50, 70, 100)  # the columns AP@k of the paper's Table 2
BATCHES = (1, 8, 14)  # images: the released scripts for Cityscapes; semantic and ADE20K; panoptic COCO

# the protocols in which Table 2's AP@k can be read: how its keys begin, and what k is
AP_AT_K: Mapping[str, tuple[str, str]] = {
    "paper-text": ("ap_iou", "k as an IoU threshold"),
    "released": ("ap_max", "k as a cap on detections"),
}

PAPER_TEXT: Mapping[str, str] = {
    "miou_all": "mIoU over all classes, as in `standard`",
    "miou_stuff": "mIoU over stuff alone (Sec. 4.3)",
    "miou_thing": "mIoU over things alone",
    **{f"ap_iou{k}": f"AP at the single IoU threshold {k / 100:.2f} (Table 2: k is a threshold)" for k in AT},
}
RELEASED: Mapping[str, str] = {
    **{f"miou_batch{n}": f"mIoU of each {n} images in turn, averaged over these batches" for n in BATCHES},
    **{f"ap_max{k}": f"AP over IoU .50:.05:.95 of the {k} best detections of each image" for k in AT},
    "ap_iou30to95": "AP over ten IoU thresholds from .30 to .95",
    **{
        f"ap_components_max{k}": f"AP over IoU .50:.05:.95 of connected components, stuff too, {k} best of each image"
        for k in AT
    },
    "ap_components_thing_max100": "the part of the last one that is over thing classes",
}
PROTOCOLS: Mapping[str, Mapping[str, str]] = {"paper-text": PAPER_TEXT, "released": RELEASED}
KEYS = frozenset(f"{name}.{key}" for name, keys in PROTOCOLS.items() for key in keys)

"""When a query's mask becomes a segment, and how that is told. No torch."""

from __future__ import annotations

# facebookresearch/detr:models/segmentation.py, PostProcessPanoptic: threshold of the released panoptic models, and
# "area <= 4" is dropped. Every pixel goes to the strongest mask, so there is no mask and no overlap threshold.
DETR_SCORE_THRESHOLD = 0.85
DETR_MIN_PIXELS = 5
# facebookresearch/Mask2Former:configs/coco/panoptic-segmentation, TEST.OBJECT_MASK_THRESHOLD and OVERLAP_THRESHOLD;
# mask_former/maskformer_model.py panoptic_inference takes mask probabilities from 0.5.
MASK2FORMER_SCORE_THRESHOLD = 0.8
MASK2FORMER_OVERLAP_THRESHOLD = 0.8
MASK2FORMER_MASK_THRESHOLD = 0.5

TOLD = {
    "detr": f"queries from score {DETR_SCORE_THRESHOLD:g}, segments from {DETR_MIN_PIXELS} pixels",
    "mask2former": f"queries from score {MASK2FORMER_SCORE_THRESHOLD:g}, pixels from mask value "
    f"{MASK2FORMER_MASK_THRESHOLD:g}, segments that keep {MASK2FORMER_OVERLAP_THRESHOLD:g} of their mask",
}  # by family

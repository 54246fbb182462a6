"""The sentences that every form of a report shares."""

LEGEND = (
    "Scores are means over seeds ± their standard deviation (n - 1). Bold is best and underlined second best in a "
    "column, computed from the numbers; ≈ is a tie: the numbers print alike, or with two or more seeds each they "
    "differ by less than the pooled standard deviation. Floors, untrained networks, "
    "second settings and networks outside the suite take no part."
)
UNITS = (
    "mIoU, PQ and AP are percentages (higher is better) and their differences percentage points (pp), ours minus the "
    "paper's. FLOPs are G multiply-adds, each counted once (fvcore's way), for one image at the run's own input size; "
    "parameters are M, all of the network. Lower is better for both. The paper does not state the input size of its "
    "FLOPs column, and its values fit different sizes, so no difference is taken there. Our AP is COCO's, the mean "
    'over IoU .50:.05:.95; the paper does not say which AP its panoptic tables hold (its Sec. 4: "AP under 100% mIoU '
    'threshold"), so a difference in AP may compare two definitions.'
)

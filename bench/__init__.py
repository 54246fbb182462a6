"""A reproducibility benchmark for MaskAttn-UNet (arXiv 2503.10686)."""

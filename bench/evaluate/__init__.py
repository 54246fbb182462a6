"""Predictions -> numbers: semantic, panoptic, instance. Imports no torch."""

"""Runs in a tracker: TensorBoard, or trackio. Off by default; no record depends on it."""

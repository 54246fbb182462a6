"""Fills the prepared form: one pass, several sizes, resumable."""

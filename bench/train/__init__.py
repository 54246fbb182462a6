"""Training: recipes (no torch), seeds (no torch), the loop."""

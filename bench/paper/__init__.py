"""The paper's printed numbers, as data. No torch."""

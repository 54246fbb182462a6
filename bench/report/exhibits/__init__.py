"""A builder for each kind of exhibit."""

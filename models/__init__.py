"""The networks. Knows nothing of `bench`; importing this package imports no torch."""

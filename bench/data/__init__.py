"""Native datasets -> prepared arrays -> batches."""

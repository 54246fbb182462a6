"""What a network costs: parameters and FLOPs."""

"""What each command does: read the options, call the rooms below, print. Heavy imports stay inside functions."""

"""How much a plan is, and how long it takes: work, FLOPs, calibrations, past runs, hours. No torch."""

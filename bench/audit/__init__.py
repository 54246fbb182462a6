"""Does each claim of the paper hold? Claims are data, tested by few operations in three layers. No torch."""

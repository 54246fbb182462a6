"""Runs in processes of their own. Importing it imports no torch."""

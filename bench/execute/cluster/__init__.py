"""Runs as the tasks of a Ray cluster. Imported only where one is asked for."""

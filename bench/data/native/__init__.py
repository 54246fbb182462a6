"""Reads datasets in their own files, and draws the embedded one."""

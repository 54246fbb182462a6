"""Fetches the official archives and unpacks them."""

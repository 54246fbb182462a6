"""Figures as plain data, and their drawing."""

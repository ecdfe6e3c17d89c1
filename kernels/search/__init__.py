"""Exact search of sparse documents on a GPU."""

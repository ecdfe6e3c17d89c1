"""Indexes that are served: opened, followed, filled and closed."""

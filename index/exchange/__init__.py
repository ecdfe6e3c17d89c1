"""Vectors and postings in the formats of other engines."""

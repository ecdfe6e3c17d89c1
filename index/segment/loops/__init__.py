"""Compiled loops: arrays and scalars in, arrays out; no objects, no checks, no files."""

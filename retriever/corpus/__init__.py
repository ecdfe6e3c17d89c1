"""Readers of every input: passages, fields, languages, judgements."""

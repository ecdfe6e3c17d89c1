"""Encoders: formats on disk, tokenizers, heads and their arithmetic."""

"""Other ways to an index than reading a corpus in one go: vectors, and pieces."""

"""Other ways to an index than reading a corpus in one go: vectors, pieces, and another index."""

"""What a training reads: sources, token rows, development sets."""

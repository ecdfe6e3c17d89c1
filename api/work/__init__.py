"""Threads that work, who is next, and when work ends. Knows nothing of what is done."""

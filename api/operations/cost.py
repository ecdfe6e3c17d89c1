"""About how much work a request is, counted in hits of a plain search.

Rough weights are enough: a call that takes longer than they say lets others go first all the same;
see workers.py. They tell which calls are to begin but a few at a time.
"""

EXPLAINED = 50  # a hit with matched terms or highlights
RERANKED = 100  # a document that the reranker reads
ENCODED = 100  # a text that a model reads
LONG = 10_000


def is_long(*, hits: int = 0, explained: int = 0, reranked: int = 0, encoded: int = 0) -> bool:
    """Whether so many of each, over all queries of a request, are likely to take long."""
    work = hits + EXPLAINED * explained + RERANKED * reranked + ENCODED * encoded
    return work > LONG

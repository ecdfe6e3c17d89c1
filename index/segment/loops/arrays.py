"""The groups of arrays that the loops work on. Names and shapes; no methods."""

from typing import Any, NamedTuple

import numpy as np

WINDOW = 1 << 16  # documents of a window: a document's place in its window is two bytes
IMAGE_MAX = 255
LEVELS, LEVEL_IMAGES = 8, 32  # images are counted by level, to tell what a cut leaves unread
GROUPS = 1024  # of the documents of a window, to find good sums without looking at all
CACHE_LINE_BYTES = 64
BUCKET_BITS = 5  # sums are counted in buckets of 2 ** 5 units
SUM_LIMIT = 65_535  # a sum is two bytes
BLOCK = 8  # documents that share a summary
MAX_QUERY_TERMS = 8192  # each term may lose a unit or two of SUM_LIMIT to rounding

POSTING = np.dtype([("place", "<u2"), ("image", "u1")])  # 3 bytes, packed
RARE_POSTING = np.dtype([("doc", "<i4"), ("image", "u1")])  # 5 bytes, packed


class Lists(NamedTuple):
    """Inverted lists: which documents hold a term, and about how strongly.

    A common term's list is cut by windows: the slice of window ``w`` and row ``r`` begins at
    ``bases[w] + slices[w, r]`` and ends where the next begins. Its strongest postings come first,
    so that a search can stop where they become too weak. A rare term's list lies in one piece.

    An image is a weight in steps of its term, rounded up: ``weight <= image * step``.
    """

    rows: Any  # [vocab_size] int32, the row of a common term, -1 for any other
    bases: Any  # [windows + 1] int64
    slices: Any  # [windows, rows + 1] uint32
    postings: Any  # [common postings] POSTING; images fall within a slice, then places rise
    weaker: Any  # [rows, LEVELS] uint32, postings of images up to (level + 1) * LEVEL_IMAGES
    rare_starts: Any  # [vocab_size + 1] int64; empty for a common term
    rare_postings: Any  # [rare postings] RARE_POSTING; documents rise within a list
    steps: Any  # [vocab_size] float32, 0 for a term that no document holds


class Records(NamedTuple):
    """The documents' own vectors: the stored weight of an entry is ``impact * scales[term]``."""

    starts: Any  # [documents + 1] int64
    entries: Any  # [nnz] packed {term, impact}; terms rise within a document
    scales: Any  # [vocab_size] float32


class Blocks(NamedTuple):
    """Documents in blocks of `BLOCK` like ones, each with a summary."""

    lists: Any  # `Lists` of the summaries, whose documents are the blocks
    members: Any  # [documents] int32, the documents of block 0, of block 1, ...


class Scratch(NamedTuple):
    """What one running query writes on. ``sums`` and ``dense`` are all zero between queries."""

    sums: Any  # [WINDOW] uint16
    best: Any  # [GROUPS] uint16, the best sum of each group of a window
    hot: Any  # [WINDOW + 1] uint16, places whose sums have become good enough
    buckets: Any  # [SUM_LIMIT / 2 ** BUCKET_BITS + 1] int64
    docs: Any  # [documents] int32, candidates
    marks: Any  # [documents] uint16, their sums
    dense: Any  # [vocab_size] float64, the query by term
    cuts: Any  # [MAX_QUERY_TERMS] uint8, the least image to read of each chosen term
    units: Any  # [MAX_QUERY_TERMS] uint32, what an image step of each adds
    begins: Any  # [MAX_QUERY_TERMS] int64, where a term's postings of this window begin
    ends: Any  # [MAX_QUERY_TERMS] int64, and end, or those that were read
    rare_begins: Any  # [MAX_QUERY_TERMS] int64, where a term's rare postings of this window begin
    rare_ends: Any  # [MAX_QUERY_TERMS] int64, and end


class Knobs(NamedTuple):
    """How much of the lists a search reads, for all queries or for each of a batch.

    `SearchParams` explains them.
    """

    cut: Any  # float or [queries] float64
    slack: Any  # float or [queries] float64
    blocks: Any = False  # or [queries] bool, whether to search by blocks


def new_scratch(documents: int, vocab_size: int) -> Scratch:
    """Scratch for one thread; pages that no query touches take no memory."""
    return Scratch(
        sums=np.zeros(WINDOW, np.uint16),
        best=np.empty(GROUPS, np.uint16),
        hot=np.empty(WINDOW + 1, np.uint16),
        buckets=np.zeros((SUM_LIMIT >> BUCKET_BITS) + 1, np.int64),
        docs=np.empty(documents, np.int32),
        marks=np.empty(documents, np.uint16),
        dense=np.zeros(vocab_size, np.float64),
        cuts=np.empty(MAX_QUERY_TERMS, np.uint8),
        units=np.empty(MAX_QUERY_TERMS, np.uint32),
        begins=np.empty(MAX_QUERY_TERMS, np.int64),
        ends=np.empty(MAX_QUERY_TERMS, np.int64),
        rare_begins=np.empty(MAX_QUERY_TERMS, np.int64),
        rare_ends=np.empty(MAX_QUERY_TERMS, np.int64),
    )

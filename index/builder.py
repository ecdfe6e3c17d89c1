"""Turning rows into a segment: posting lists on disk, in two passes and bounded memory.

The passes read the same batches: the first counts each term, the second puts each posting in its
place. Memory holds one batch and two numbers a term; the lists themselves are mapped files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tamis.index.errors import InputError
from tamis.index.loops.postings import count_terms, scatter_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tamis.index.storage import FileEntry, Storage
    from tamis.index.vectors import SparseVectors

MAX_DOCUMENTS = 2**31 - 1


def write_postings(
    storage: Storage,
    folder: str,
    batches: Callable[[], Iterable[SparseVectors]],
    vocab_size: int,
) -> dict[str, FileEntry]:
    """Write the posting lists of all batches.

    Args:
        storage: where to write.
        folder: the segment's folder, which exists.
        batches: gives the same batches at each call; rows are documents in order. A batch's
            vocabulary may be smaller than ``vocab_size``.
        vocab_size: number of terms, at least that of every batch.

    Returns:
        The files written.
    """
    offsets = _posting_offsets(batches(), vocab_size)
    postings = int(offsets[-1])
    docs_name, weights_name = f"{folder}/postings.docs", f"{folder}/postings.weights"
    docs = storage.create_array(docs_name, np.int32, (postings,))
    weights = storage.create_array(weights_name, np.float32, (postings,))
    cursors, first_doc = offsets[:-1].copy(), 0
    for batch in batches():
        scatter_rows(batch.offsets, batch.terms, batch.weights, first_doc, cursors, docs, weights)
        first_doc += len(batch)
    return {
        f"{folder}/postings.offsets": storage.write_array(f"{folder}/postings.offsets", offsets),
        docs_name: storage.seal(docs_name, docs),
        weights_name: storage.seal(weights_name, weights),
    }


def _posting_offsets(batches: Iterable[SparseVectors], vocab_size: int) -> np.ndarray:
    counts, documents = np.zeros(vocab_size + 1, np.int64), 0
    for batch in batches:
        count_terms(batch.terms, counts[1:])
        documents += len(batch)
    if documents > MAX_DOCUMENTS:
        raise InputError(
            f"expected at most {MAX_DOCUMENTS} documents in a segment, found {documents}; "
            "build several indexes"
        )
    return np.cumsum(counts)

"""Random sparse vectors for tests: seeded, with sizes that divide nothing."""

import numpy as np

from tamis.index import SparseVectors


def random_vectors(rows, vocab_size, *, seed, longest=12, weights="float"):
    """Rows of 0 to ``longest`` terms, the common terms far more often than the rare ones.

    Weights are multiples of a quarter when ``weights`` is "ties", so that scores collide.
    """
    rng = np.random.default_rng(seed)
    popularity = 1 / np.arange(1, vocab_size + 1)
    lengths = rng.integers(0, min(longest, vocab_size) + 1, rows)
    terms = [
        np.sort(rng.choice(vocab_size, size, replace=False, p=popularity / popularity.sum()))
        for size in lengths
    ]
    nnz = int(lengths.sum())
    values = rng.integers(1, 9, nnz) / 4 if weights == "ties" else rng.exponential(1.0, nnz) + 1e-3
    return SparseVectors(
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.concatenate([*terms, np.zeros(0, np.int64)]).astype(np.int32),
        values.astype(np.float32),
        vocab_size,
    )

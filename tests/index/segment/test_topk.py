import numpy as np
import pytest

from tamis.index.segment.loops.topk import DEEP, keep_best, sort_documents


@pytest.mark.parametrize("k", [1, DEEP - 1, DEEP, 700])
@pytest.mark.parametrize("found", [0, 5, 699, 3000])
def test_the_best_are_those_of_a_stable_sort(k, found):
    """Many scores are equal, some are 0, and documents go up to the last number there is."""
    rng = np.random.default_rng(found + k)
    docs = np.sort(rng.choice(2**31 - 1, found, replace=False)).astype(np.int32)
    docs[-1:] = 2**31 - 1
    scores = rng.integers(0, 400, found).astype(np.float32) * np.float32(1.7e-20)
    scores[::7] *= np.float32(1e30)
    best_docs, best_scores = np.empty(k, np.int32), np.empty(k, np.float32)
    keep_best(docs, scores, best_docs, best_scores)
    matched = np.flatnonzero(scores > 0)
    order = matched[np.lexsort((docs[matched], -scores[matched]))][:k]
    assert best_docs.tolist() == docs[order].tolist() + [-1] * (k - order.size)
    assert best_scores.tolist() == scores[order].tolist() + [0.0] * (k - order.size)


@pytest.mark.parametrize("documents", [1, 2048, 2049, 2**31 - 1])
def test_documents_are_put_in_rising_order(documents):
    docs = np.random.default_rng(1).integers(0, documents, 900).astype(np.int32)
    wanted = sorted(docs.tolist())
    sort_documents(docs, documents)
    assert docs.tolist() == wanted

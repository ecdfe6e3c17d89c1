"""What every exact search must do, whatever the index; a test class inherits and gives `search_of`.

``search_of(documents)`` makes an index of vectors and gives its search: ``search(queries, k)``,
a `TopK`. Documents are numbered as they were given.
"""

from __future__ import annotations

import numpy as np
import pytest

from tamis.index import InputError, MismatchError, SparseVectors

VOCAB = 61


def random_vectors(rows, terms, seed):
    """Rows of about so many terms of `VOCAB`; every ninth row has none."""
    rng = np.random.default_rng(seed)
    return SparseVectors.from_dicts(
        [
            {
                int(term): float(np.float32(rng.lognormal(0, 1)))
                for term in np.flatnonzero(rng.random(VOCAB) < terms / VOCAB)
                if row % 9 != 8
            }
            for row in range(rows)
        ],
        vocab_size=VOCAB,
    )


def naive(documents, queries, k):
    """For each query the best documents and their scores, from the definition."""
    found = []
    for q in range(len(queries)):
        asked, scores = dict(zip(*map(np.ndarray.tolist, queries.row(q)), strict=True)), {}
        for d in range(len(documents)):
            held = dict(zip(*map(np.ndarray.tolist, documents.row(d)), strict=True))
            if shared := asked.keys() & held.keys():
                scores[d] = float(np.float32(sum(asked[t] * held[t] for t in sorted(shared))))
        found.append(sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:k])
    return found


def ranked(found, q):
    """The documents of a row, and their scores, without what fills it up."""
    count = int((found.docs[q] >= 0).sum())
    assert (found.docs[q, count:] == -1).all()
    assert (found.scores[q, count:] == 0).all()
    return list(zip(found.docs[q, :count].tolist(), found.scores[q, :count].tolist(), strict=True))


class ExactSearchContract:
    """The promises of an exact search."""

    @pytest.mark.parametrize(("rows", "k"), [(1, 1), (37, 5), (211, 10), (211, 300)])
    def test_finds_the_k_best_by_dot_product(self, search_of, rows, k):
        documents, queries = random_vectors(rows, 9, rows), random_vectors(4, 5, 1)
        found, wanted = search_of(documents)(queries, k), naive(documents, queries, k)
        assert found.docs.shape == found.scores.shape == (4, k)
        assert (found.docs.dtype, found.scores.dtype) == (np.int32, np.float32)
        for q in range(4):
            np.testing.assert_allclose(
                [score for _, score in ranked(found, q)],
                [score for _, score in wanted[q]],
                rtol=3e-7,
            )
            assert [doc for doc, _ in ranked(found, q)] == [doc for doc, _ in wanted[q]]

    def test_equal_scores_stand_by_rising_document(self, search_of):
        rows = [{3: 1.0, 5: 0.5}, {7: 2.0}, {5: 0.5, 3: 1.0}, {3: 1.5}, {3: 1.0, 5: 0.5}]
        documents = SparseVectors.from_dicts(rows, vocab_size=VOCAB)
        query = SparseVectors.from_dicts([{3: 2.0, 5: 2.0}], vocab_size=VOCAB)
        found = search_of(documents)(query, 3)
        assert ranked(found, 0) == [(0, 3.0), (2, 3.0), (3, 3.0)]

    def test_a_query_finds_only_documents_that_share_a_term_with_it(self, search_of):
        documents = SparseVectors.from_dicts([{1: 1.0}, {}, {2: 0.25}], vocab_size=VOCAB)
        queries = SparseVectors.from_dicts([{}, {2: 4.0}, {9: 1.0}], vocab_size=VOCAB)
        found = search_of(documents)(queries, 3)
        assert [ranked(found, q) for q in range(3)] == [[], [(2, 1.0)], []]

    def test_no_query_is_no_row(self, search_of):
        found = search_of(random_vectors(20, 9, 2))(random_vectors(0, 5, 3), 4)
        assert found.docs.shape == found.scores.shape == (0, 4)
        assert found.work.shape == (0,)

    def test_answers_to_the_same_bits_again_and_alone(self, search_of):
        queries = random_vectors(3, 5, 5)
        search = search_of(random_vectors(70, 9, 4))
        whole, again = search(queries, 6), search(queries, 6)
        alone = [search(queries.rows(q, q + 1), 6) for q in range(len(queries))]
        for name in ("docs", "scores"):
            np.testing.assert_array_equal(getattr(whole, name), getattr(again, name))
            rows = np.concatenate([getattr(one, name) for one in alone])
            np.testing.assert_array_equal(getattr(whole, name), rows)

    def test_twice_the_weights_of_a_query_are_twice_its_scores(self, search_of):
        search, query = search_of(random_vectors(80, 9, 6)), random_vectors(2, 5, 7)
        once, twice = search(query, 8), search(query.scaled(np.full(query.nnz, 2.0)), 8)
        np.testing.assert_array_equal(once.docs, twice.docs)
        np.testing.assert_array_equal(2 * once.scores, twice.scores)

    def test_says_how_many_documents_it_scored(self, search_of):
        found = search_of(random_vectors(80, 9, 8))(random_vectors(5, 5, 9), 8)
        assert (found.work.shape, found.work.dtype) == ((5,), np.int64)
        assert (found.work >= (found.docs >= 0).sum(1)).all()
        assert (found.work <= 80).all()


class IndexContract(ExactSearchContract):
    """The promises of an index: it also refuses what cannot be asked of it."""

    @pytest.mark.parametrize("k", [0, -1, 10_001])
    def test_refuses_a_k_that_is_out_of_range(self, search_of, k):
        with pytest.raises(InputError, match=f"expected k from 1 to 10000, found {k}"):
            search_of(random_vectors(5, 9, 10))(random_vectors(1, 5, 11), k)

    def test_refuses_queries_over_another_vocabulary(self, search_of):
        queries = SparseVectors.from_dicts([{3: 1.0}], vocab_size=VOCAB + 1)
        with pytest.raises(MismatchError):
            search_of(random_vectors(5, 9, 12))(queries, 3)

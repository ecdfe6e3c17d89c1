"""Fusion and feedback against numbers worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.index.errors import InputError
from tamis.index.vectors import SparseVectors
from tamis.retriever.fusion import min_max, rocchio, rrf, sparse_rocchio, weighted_sum

FIRST = {"a": 9.0, "b": 5.0, "c": 1.0}
SECOND = {"c": 0.9, "d": 0.5}


def test_rrf_worked_by_hand():
    fused = rrf([FIRST, SECOND])
    assert fused == pytest.approx({"c": 1 / 63 + 1 / 61, "a": 1 / 61, "b": 1 / 62, "d": 1 / 62})
    assert list(fused) == ["c", "a", "b", "d"]  # equal scores by document id


def test_rrf_takes_weights_and_its_constant():
    fused = rrf([FIRST, SECOND], k=0, weights=[1.0, 0.5])
    assert fused == pytest.approx({"a": 1.0, "c": 1 / 3 + 0.5, "b": 0.5, "d": 0.25})


def test_weighted_sum_worked_by_hand():
    fused = weighted_sum([FIRST, SECOND], [2.0, 1.0])
    assert fused == pytest.approx({"a": 2.0, "b": 1.0, "c": 1.0, "d": 0.0})


def test_a_missing_document_counts_zero_or_a_lowest_score_below_zero():
    fused = weighted_sum([{"a": -3.0, "b": -5.0}, {"c": 2.0}], [1.0, 1.0], normalise=dict)
    assert fused == {"a": -3.0, "c": -3.0, "b": -5.0}


@pytest.mark.parametrize("words", [{"d": 5.0}, {"d": 5.0, "b": 5.0}, {"d": 0.0}])
@pytest.mark.parametrize("fuse", ["weighted_sum", "rrf"])
def test_what_one_ranking_alone_finds_is_not_given_to_the_others(words, fuse):
    forms = {
        "weighted_sum": lambda one: weighted_sum([one, FIRST], [0.6, 0.4]),
        "rrf": lambda one: rrf([one, FIRST]),
    }
    with_words, without = forms[fuse](words), forms[fuse]({})
    gains = {doc: score - without.get(doc, 0.0) for doc, score in with_words.items()}
    found = {gains[doc] for doc in words}
    assert min(found) > 0
    assert all(gains[doc] == pytest.approx(0) for doc in FIRST if doc not in words)


def test_min_max_spans_zero_to_one():
    assert min_max(FIRST) == {"a": 1.0, "b": 0.5, "c": 0.0}
    assert min_max({"a": 3.0, "b": 3.0}) == {"a": 1.0, "b": 1.0}
    assert min_max({}) == {}


def test_fusion_of_nothing_is_empty():
    assert rrf([{}, {}]) == {}
    assert weighted_sum([{}, {}], [1.0, 1.0]) == {}


def test_weights_must_be_as_many_as_rankings():
    for fuse in (lambda: rrf([FIRST], weights=[1, 2]), lambda: weighted_sum([FIRST], [])):
        with pytest.raises(InputError, match="one weight a ranking"):
            fuse()


def test_rocchio_adds_the_mean_of_the_feedback():
    query = np.array([1, 0, 2], np.float32)
    feedback = np.array([[0, 4, 0], [2, 0, 0]], np.float32)
    np.testing.assert_array_equal(rocchio(query, feedback), np.array([1.5, 1, 2], np.float32))
    np.testing.assert_array_equal(rocchio(query, feedback[:0]), query)


def test_sparse_rocchio_worked_by_hand():
    query = SparseVectors.from_dicts([{1: 3.0, 2: 4.0}], 9)  # length 5
    feedback = SparseVectors.from_dicts([{1: 6.0, 5: 16.0}, {7: 2.0}], 9)
    # mean: 1 -> 3, 5 -> 8, 7 -> 1, length sqrt(74); scaled to length 5, then halved
    scale = 0.5 * 5 / np.sqrt(74)
    (found,) = sparse_rocchio(query, feedback, terms=1).to_dicts()
    assert found == pytest.approx({1: 3 + 3 * scale, 2: 4.0, 5: 8 * scale})
    (wide,) = sparse_rocchio(query, feedback, alpha=2.0, terms=10).to_dicts()
    assert wide == pytest.approx({1: 6 + 3 * scale, 2: 8.0, 5: 8 * scale, 7: scale})


def test_sparse_rocchio_without_feedback_leaves_the_query():
    query = SparseVectors.from_dicts([{1: 3.0}], 9)
    assert sparse_rocchio(query, SparseVectors.empty(9)) is query
    assert sparse_rocchio(query, SparseVectors.empty(9, rows=3)) is query


def test_sparse_rocchio_refuses_another_vocabulary():
    query = SparseVectors.from_dicts([{1: 3.0}], 9)
    with pytest.raises(InputError, match="over 8 terms"):
        sparse_rocchio(query, SparseVectors.empty(8))

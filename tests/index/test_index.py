import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vectors_of import random_vectors

from tamis.index import Index, InputError, MismatchError, SparseVectors, reference
from tamis.index.segment.columns import Column
from tamis.index.segment.identifiers import hashes_of


def assert_same(found, expected):
    assert np.array_equal(found.docs, expected.docs)
    assert np.array_equal(found.scores, expected.scores)
    assert (found.work >= (found.docs >= 0).sum(axis=1)).all()
    assert (found.work <= expected.work).all()  # documents scored in full: never more than match


@pytest.mark.parametrize(("documents", "vocab_size"), [(1, 1), (7, 5), (101, 63), (1009, 331)])
@pytest.mark.parametrize("weights", ["float", "ties"])
@pytest.mark.parametrize("k", [1, 3, 10, 100])
def test_search_equals_the_reference(tmp_path, documents, vocab_size, weights, k):
    corpus = random_vectors(documents, vocab_size, seed=1, weights=weights)
    queries = random_vectors(29, vocab_size, seed=2, longest=6, weights=weights)
    index = Index.build(tmp_path / "index", corpus)
    assert_same(index.search(queries, k), reference.search(corpus, queries, k))


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(
        st.dictionaries(st.integers(0, 6), st.sampled_from([0.25, 0.5, 1.0]), max_size=4),
        min_size=1,
        max_size=12,
    ),
    query=st.dictionaries(st.integers(0, 6), st.sampled_from([0.5, 1.0]), max_size=4),
    k=st.integers(1, 5),
)
def test_search_equals_the_reference_on_any_small_collection(tmp_path_factory, rows, query, k):
    corpus, queries = (SparseVectors.from_dicts(part, 7) for part in (rows, [query]))
    index = Index.build(tmp_path_factory.mktemp("any") / "index", corpus)
    assert_same(index.search(queries, k), reference.search(corpus, queries, k))


def test_a_score_is_the_dot_product(tmp_path):
    corpus = SparseVectors.from_dicts([{0: 1.5, 2: 2.0}, {1: 4.0}, {2: 1.0}], 3)
    query = SparseVectors.from_dicts([{0: 2.0, 2: 0.5}], 3)
    best = Index.build(tmp_path / "index", corpus).search(query, 10)
    docs, scores = best.row(0)
    assert docs.tolist() == [0, 2]
    assert scores.tolist() == [4.0, 0.5]
    assert best.docs[0, 2:].tolist() == [-1] * 8


def test_many_batches_give_the_same_index_as_one(tmp_path):
    corpus = random_vectors(101, 33, seed=3)
    queries = random_vectors(11, 33, seed=4)
    parts = (corpus.rows(start, min(start + 13, 101)) for start in range(0, 101, 13))
    whole = Index.build(tmp_path / "whole", corpus)
    assert_same(Index.build(tmp_path / "parts", parts).search(queries), whole.search(queries))


def test_threads_do_not_change_the_answer(tmp_path):
    corpus = random_vectors(503, 97, seed=5)
    queries = random_vectors(64, 97, seed=6)
    index = Index.build(tmp_path / "index", corpus)
    assert_same(index.search(queries, 7, threads=4), index.search(queries, 7))


def test_a_query_without_terms_finds_nothing(tmp_path):
    index = Index.build(tmp_path / "index", random_vectors(7, 5, seed=7))
    best = index.search(SparseVectors.empty(5, rows=2), 3)
    assert (best.docs == -1).all()
    assert best.work.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"k": 0}, "expected k from 1 to 10000, found 0"),
        ({"k": 10_001}, "found 10001"),
        ({"recall": 0.0}, "expected recall above 0"),
        ({"recall": 1.5}, "found 1.5"),
        ({"recall": float("nan")}, "found nan"),
        ({"threads": 0}, "at least one thread"),
    ],
)
def test_arguments_out_of_range_are_refused(tmp_path, arguments, words):
    index = Index.build(tmp_path / "index", random_vectors(7, 5, seed=8))
    with pytest.raises(InputError, match=words):
        index.search(random_vectors(2, 5, seed=9), **arguments)


def test_queries_of_another_vocabulary_are_refused(tmp_path):
    index = Index.build(tmp_path / "index", random_vectors(7, 5, seed=8))
    with pytest.raises(MismatchError, match="expected query vectors over 5 terms, found 6"):
        index.search(random_vectors(2, 6, seed=9))


def test_ids_lead_both_ways(tmp_path):
    ids = ["a", "b/ c", "Ä" * 100, "0"]
    index = Index.build(tmp_path / "index", random_vectors(4, 5, seed=1), ids)
    assert [index.doc_id(doc) for doc in range(4)] == ids
    assert [index.doc(doc_id) for doc_id in ids] == [0, 1, 2, 3]
    assert index.doc("missing") is None


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (["a", "b", "a"], "found 'a' for records 1 and 3"),
        (["a", "b"], "found 2 ids and 3 vectors"),
        (["a", "", "c"], "expected an id of 1 to 512 bytes"),
        (["a", "b\n", "c"], "without control characters"),
        (["a", "b" * 513, "c"], "found 513 bytes"),
    ],
)
def test_faulty_ids_are_refused_and_leave_no_index(tmp_path, ids, words):
    with pytest.raises(InputError, match=words):
        Index.build(tmp_path / "index", random_vectors(3, 5, seed=1), ids)
    assert not (tmp_path / "index" / "CURRENT").exists()


def test_an_index_can_be_searched_without_some_documents_or_in_them_alone(tmp_path):
    corpus, queries = random_vectors(101, 63, seed=1), random_vectors(29, 63, seed=2, longest=6)
    index = Index.build(tmp_path / "index", corpus)
    chosen = np.arange(3, 101, 3)
    others = np.setdiff1d(np.arange(101), chosen)
    for view, docs in ((index.only(chosen), chosen), (index.without(chosen), others)):
        expected = reference.search(corpus.take(docs), queries, 10)
        found = view.search(queries, 10, exact=True)
        assert np.array_equal(found.docs, np.where(expected.docs < 0, -1, docs[expected.docs]))
        assert np.array_equal(found.scores, expected.scores)
    assert index.only(chosen).without(chosen).search(queries, 10).docs.max() == -1


def test_documents_are_found_by_the_hashes_of_their_ids_and_by_their_values(tmp_path):
    corpus = random_vectors(5, 9, seed=1)
    colour = Column.of("colour", "string", ["red", None, "blue", "red", "green"])
    ids = ["a", "b", "c", "d", "e"]
    index = Index.build(tmp_path / "index", corpus, ids, columns=[colour])
    assert index.docs_hashed(hashes_of(["e", "none", "b"])).tolist() == [4, 1]
    assert index.docs_with("colour", ["red", "none"]).tolist() == [0, 3]
    assert index.without(np.array([3])).docs_with("colour", ["red", "blue"]).tolist() == [0, 2]
    with pytest.raises(InputError, match=r"declared field \(colour\), found 'size'"):
        index.docs_with("size", [1])


def test_an_existing_index_is_not_overwritten(tmp_path):
    corpus = random_vectors(3, 5, seed=1)
    Index.build(tmp_path / "index", corpus)
    with pytest.raises(InputError, match="expected no index there yet"):
        Index.build(tmp_path / "index", corpus)


def test_a_stopped_build_does_not_open_and_can_be_begun_again(tmp_path):
    corpus = random_vectors(30, 5, seed=1)

    def stops():
        yield corpus
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Index.build(tmp_path / "index", stops())
    with pytest.raises(Exception, match="unfinished build"):
        Index.open(tmp_path / "index")
    assert len(Index.build(tmp_path / "index", corpus)) == 30

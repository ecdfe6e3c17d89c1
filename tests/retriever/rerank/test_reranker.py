"""The second stage of a search, with a reranker worked by hand."""

from dataclasses import replace

import numpy as np
import pytest

from tamis.index.errors import InputError
from tamis.retriever import Passage, Searcher, index_corpus
from tamis.retriever.rerank.lazy_reranker import LazyReranker
from tamis.retriever.rerank.reranker import with_others_below


class ByLength:
    """Prefers short documents; keeps what it was asked."""

    def __init__(self):
        self.asked = []

    def score(self, query, documents, *, first_stage=None):
        self.asked.append((query, list(documents), list(first_stage)))
        return np.array([-len(text) for text in documents], np.float32)


@pytest.fixture(scope="module")
def searcher(tmp_path_factory):
    passages = [Passage(f"d{n}", "owl " + "night " * n, "Birds") for n in range(5)]
    path = index_corpus(passages, tmp_path_factory.mktemp("owls") / "index", encoder=None).path
    return Searcher.open(path)


def test_the_best_documents_come_in_the_rerankers_order_and_others_after_them(searcher):
    reranker = ByLength()
    both = replace(searcher, reranker=reranker)
    (first,) = searcher.search(["owl night"], 5, exact=True)
    (found,) = both.search(["owl night"], 4, exact=True, rerank=3)
    (query, documents, scores) = reranker.asked[0]
    head = first.hits[:3]
    assert query == "owl night"
    assert documents == [f"Birds {hit.document['text']}" for hit in head]
    assert scores == [hit.score for hit in head]
    by_length = sorted(head, key=lambda hit: len(hit.document["text"]))
    assert [hit.doc_id for hit in found.hits[:3]] == [hit.doc_id for hit in by_length]
    assert found.hits[3].doc_id == first.hits[3].doc_id
    assert [hit.rank for hit in found.hits] == [1, 2, 3, 4]
    assert found.hits[3].score == found.hits[2].score - 1
    assert found.times.rerank_ms > 0
    (shallow,) = both.search(["owl night"], 1, exact=True, rerank=3)
    assert [hit.doc_id for hit in shallow.hits] == [by_length[0].doc_id]


def test_only_texts_and_only_with_a_reranker(searcher):
    with pytest.raises(InputError, match="expected a searcher with a reranker"):
        searcher.search(["owl"], rerank=3)
    both = replace(searcher, reranker=ByLength())
    with pytest.raises(InputError, match="a query of weights"):
        both.search([{"=owl": 1.0}], rerank=3)
    with pytest.raises(InputError, match="found depth 0"):
        both.search(["owl"], rerank=0)


def test_no_hit_is_no_work(searcher):
    (found,) = replace(searcher, reranker=ByLength()).search(["zebra"], rerank=3)
    assert found.hits == ()


def test_nothing_is_loaded_where_there_is_nothing_to_score(tmp_path):
    lazy = LazyReranker(str(tmp_path / "no-model"), "cpu")
    for reranker in (lazy, lazy.over(tmp_path)):
        assert reranker.score("owl", []).shape == (0,)
        with pytest.raises(InputError, match="no-model"):
            reranker.score("owl", ["a text"])


@pytest.mark.parametrize(
    ("best", "count", "scores"),
    [
        ([2.0, 5.0], 4, [2.0, 5.0, 1.0, 0.0]),
        ([2.0, 5.0], 2, [2.0, 5.0]),
        ([], 2, [-1.0, -2.0]),
        ([], 0, []),
    ],
)
def test_others_stand_one_lower_each(best, count, scores):
    assert with_others_below(np.array(best, np.float32), count).tolist() == scores


def test_a_reranker_needs_nothing_but_scores(searcher):
    (found,) = searcher.with_reranker(ByLength()).search(["owl night"], 4, exact=True, rerank=3)
    assert len(found.hits) == 4

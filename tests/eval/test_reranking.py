"""A reranked system, with a first stage and a reranker worked by hand."""

import numpy as np
import pytest

from tamis.eval.reranking import RerankedRanker
from tamis.eval.specs import RerankSpec, needed


class FirstStage:
    def __init__(self):
        self.depths = []

    def rank(self, queries, depth):
        self.depths.append(depth)
        return [{"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0} for _ in queries]

    def timed(self, query, k):
        return {"retrieve_ms": 1.0}


class Longest:
    def score(self, query, documents, *, first_stage=None):
        assert first_stage == [4.0, 3.0, 2.0][: len(documents)]
        return np.array([len(text) for text in documents], np.float32)


def ranker(depth):
    texts = {"a": "x", "b": "xxx", "c": "xx", "d": "xxxx"}
    return RerankedRanker(FirstStage(), Longest(), texts, depth)


def test_the_best_are_ordered_anew_and_the_others_stay_below_them():
    (found,) = ranker(3).rank(["q"], 10)
    assert list(found) == ["b", "c", "a", "d"]
    assert found == pytest.approx({"b": 3, "c": 2, "a": 1, "d": 0})
    (cut,) = ranker(3).rank(["q"], 2)
    assert list(cut) == ["b", "c"]


def test_equal_scores_of_the_first_stage_keep_its_order():
    class Tied(FirstStage):
        def rank(self, queries, depth):
            return [{"d": 4.0, "c": 3.0, "a": 3.0} for _ in queries]

    class Same:
        def score(self, query, documents, *, first_stage=None):
            return np.zeros(len(documents), np.float32)

    texts = dict.fromkeys("acd", "x")
    (found,) = RerankedRanker(Tied(), Same(), texts, 2).rank(["q"], 3)
    assert list(found) == ["d", "c", "a"]


def test_the_first_stage_is_asked_for_as_many_as_are_reranked():
    one = ranker(3)
    one.rank(["q"], 2)
    assert one.base.depths == [3]
    assert set(one.timed("q", 1)) == {"retrieve_ms", "rerank_ms"}


def test_a_suite_keeps_the_first_stage_that_a_reranked_system_names():
    from tamis.eval.specs import Bm25Spec

    specs = [Bm25Spec(), RerankSpec("bm25", "bm25+rerank")]
    assert [spec.name for spec in needed(specs, ["bm25+rerank"])] == ["bm25", "bm25+rerank"]

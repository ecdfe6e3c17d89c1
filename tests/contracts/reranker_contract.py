"""What every reranker must do, whatever its model; a test class inherits and gives `reranker`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tamis.index.errors import InputError

QUERY = "what lets small grains through"
DOCUMENTS = [
    "The sieve lets small grains through and keeps the coarse ones.",
    "a",
    "Inverted indexes map each term to the passages that hold it, summaries skip blocks.",
    "naïve café — Übergröße, 東京 and Москва 🙂, 1984!",
    "one two three four five six seven eight nine ten eleven twelve " * 40,
    "[SEP] [CLS] <s> {text}",
]
BLANK = ["", " \t\n", "\u200b\ufeff", "\x00\x1f"]


def order(scores):
    """Places, best first; equal scores in the order given."""
    return np.argsort(-scores, kind="stable").tolist()


class ScoresContract:
    """The promises of whatever scores documents for a query, be they texts or held."""

    def test_gives_one_finite_score_a_document(self, reranker):
        scores = reranker.score(QUERY, DOCUMENTS)
        assert (scores.shape, scores.dtype) == ((len(DOCUMENTS),), np.float32)
        assert np.isfinite(scores).all()
        assert len(set(scores.tolist())) == len(DOCUMENTS)

    def test_no_document_is_no_score(self, reranker):
        scores = reranker.score(QUERY, [])
        assert (scores.shape, scores.dtype) == ((0,), np.float32)

    def test_one_document_is_enough(self, reranker):
        assert np.isfinite(reranker.score(QUERY, DOCUMENTS[:1])).all()

    def test_scores_to_the_same_bits_again(self, reranker):
        first, second = (reranker.score(QUERY, DOCUMENTS) for _ in range(2))
        np.testing.assert_array_equal(first, second)

    def test_the_order_of_documents_does_not_matter(self, reranker):
        forward = reranker.score(QUERY, DOCUMENTS)
        backward = reranker.score(QUERY, DOCUMENTS[::-1])[::-1]
        np.testing.assert_allclose(backward, forward, atol=1e-5, rtol=1e-5)

    @pytest.mark.parametrize("place", [0, 3, len(DOCUMENTS)])
    def test_documents_without_text_come_last_as_they_were_given(self, reranker, place):
        documents = [*DOCUMENTS[:place], *BLANK, *DOCUMENTS[place:]]
        blank = list(range(place, place + len(BLANK)))
        scores = reranker.score(QUERY, documents)
        assert order(scores)[-len(BLANK) :] == blank
        np.testing.assert_allclose(
            np.delete(scores, blank), reranker.score(QUERY, DOCUMENTS), atol=1e-5, rtol=1e-5
        )
        assert order(reranker.score(QUERY, BLANK)) == [0, 1, 2, 3]

    def test_a_query_without_words_is_answered(self, reranker):
        assert np.isfinite(reranker.score("", DOCUMENTS)).all()

    def test_a_long_query_is_cut(self, reranker):
        assert np.isfinite(reranker.score(QUERY * 500, DOCUMENTS)).all()

    def test_what_is_given_stays_as_it_is(self, reranker):
        documents = [*DOCUMENTS, *BLANK]
        reranker.score(QUERY, documents)
        assert documents == [*DOCUMENTS, *BLANK]

    def test_threads_get_what_one_alone_gets(self, reranker):
        queries = [QUERY, "a café", "summaries"]
        alone = [reranker.score(query, DOCUMENTS) for query in queries]
        with ThreadPoolExecutor(3) as pool:
            for _ in range(2):
                together = pool.map(lambda query: reranker.score(query, DOCUMENTS), queries)
                for one, other in zip(alone, together, strict=True):
                    np.testing.assert_allclose(one, other, atol=1e-6)

    @pytest.mark.parametrize("at", [0, len(DOCUMENTS)])
    @pytest.mark.parametrize("bad", [None, 7, b"bytes", "half \ud83d a pair"])
    def test_what_is_no_text_is_refused_and_named(self, reranker, bad, at):
        documents = [*DOCUMENTS[:at], bad, *DOCUMENTS[at:]]
        with pytest.raises(InputError, match=f"document {at}"):
            reranker.score(QUERY, ["", *documents][1:])

    def test_one_string_in_place_of_a_list_is_refused(self, reranker):
        with pytest.raises(InputError, match="expected a list of documents"):
            reranker.score(QUERY, "a text that is no list")


class RerankerContract(ScoresContract):
    """The promises of `tamis.retriever.rerank.reranker.Reranker`."""

    def test_equal_first_stage_scores_leave_the_order_alone(self, reranker):
        scores = reranker.score(QUERY, DOCUMENTS, first_stage=[2.5] * len(DOCUMENTS))
        assert order(scores) == order(reranker.score(QUERY, DOCUMENTS))

    def test_first_stage_scores_of_documents_without_text_play_no_part(self, reranker):
        first_stage = [float(n) for n in range(len(DOCUMENTS))]
        wanted = reranker.score(QUERY, DOCUMENTS, first_stage=first_stage)
        found = reranker.score(
            QUERY, [BLANK[0], *DOCUMENTS, BLANK[1]], first_stage=[99.0, *first_stage, -99.0]
        )
        np.testing.assert_allclose(found[1:-1], wanted, atol=1e-5, rtol=1e-5)
        assert order(found)[-2:] == [0, len(DOCUMENTS) + 1]

    @pytest.mark.parametrize("count", [0, 1, len(DOCUMENTS) + 1])
    def test_first_stage_scores_must_be_as_many_as_documents(self, reranker, count):
        with pytest.raises(InputError, match="first-stage scores"):
            reranker.score(QUERY, DOCUMENTS, first_stage=[1.0] * count)

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_first_stage_scores_that_are_no_numbers_are_refused(self, reranker, bad):
        first_stage = [1.0] * len(DOCUMENTS)
        first_stage[4] = bad
        with pytest.raises(InputError, match="document 4"):
            reranker.score(QUERY, DOCUMENTS, first_stage=first_stage)

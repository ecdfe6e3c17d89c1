"""What every encoder must do, whatever its model; a test class inherits and gives `encoder`."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.index.errors import InputError
from tamis.retriever.models.encoder import Encoder, QueryEncoder

TEXTS = [
    "The sieve keeps the coarse grains.",
    "",
    "What is learned sparse retrieval?",
    " \t\n",
    "naïve café — Übergröße, 東京 and Москва 🙂",
    "a",
    "terms and postings and blocks and summaries " * 70,
]


def assert_same_vectors(one, other, tolerance=1e-4):
    """Equal as dense matrices: a weight near zero may be kept on one side alone."""
    assert one.vocab_size == other.vocab_size
    np.testing.assert_allclose(
        one.to_scipy().toarray(), other.to_scipy().toarray(), rtol=0, atol=tolerance
    )


class QueryEncoderContract:
    """The promises of the query side."""

    def test_is_a_query_encoder(self, encoder):
        assert isinstance(encoder, QueryEncoder)

    def test_gives_one_query_row_a_text_with_rising_terms_and_weights_above_zero(self, encoder):
        vectors = encoder.encode_queries(TEXTS)
        assert len(vectors) == len(TEXTS)
        assert vectors.vocab_size == encoder.description.vocab_size
        for i in range(len(vectors)):
            terms, weights = vectors.row(i)
            assert (np.diff(terms) > 0).all()
            assert (weights > 0).all()

    def test_finds_terms_in_a_query(self, encoder):
        assert len(encoder.encode_queries(["a sieve of terms"]).row(0)[0]) > 0

    def test_a_blank_query_has_no_terms(self, encoder):
        assert encoder.encode_queries(["", " \t\n"]).nnz == 0

    def test_no_query_is_no_row(self, encoder):
        vectors = encoder.encode_queries([])
        assert (len(vectors), vectors.vocab_size) == (0, encoder.description.vocab_size)

    def test_queries_encode_to_the_same_bits_again(self, encoder):
        first, second = (encoder.encode_queries(TEXTS) for _ in range(2))
        np.testing.assert_array_equal(first.terms, second.terms)
        np.testing.assert_array_equal(first.weights, second.weights)

    def test_a_query_does_not_depend_on_its_neighbours(self, encoder):
        together = encoder.encode_queries(TEXTS)
        for i, text in enumerate(TEXTS):
            assert_same_vectors(encoder.encode_queries([text]), together.rows(i, i + 1))

    def test_terms_and_their_names_are_one_to_one(self, encoder):
        terms, names = encoder.encode_queries(TEXTS).row(0)[0], encoder.vocabulary
        assert [names.term(names.name(int(term))) for term in terms] == terms.tolist()
        assert names.size == encoder.description.vocab_size

    def test_an_unknown_name_has_no_term(self, encoder):
        assert encoder.vocabulary.term("no such piece, surely") is None

    def test_one_string_in_place_of_a_list_is_refused(self, encoder):
        with pytest.raises(InputError, match="expected a list of texts"):
            encoder.encode_queries("not a list")


class EncoderContract(QueryEncoderContract):
    """The promises of the query side and of the document side."""

    def test_is_an_encoder(self, encoder):
        assert isinstance(encoder, Encoder)

    def test_gives_one_row_a_document_with_rising_terms_and_weights_above_zero(self, encoder):
        vectors = encoder.encode_documents(TEXTS)
        assert len(vectors) == len(TEXTS)
        assert vectors.vocab_size == encoder.description.vocab_size
        counts = np.diff(vectors.offsets)
        assert counts[1] == counts[3] == 0  # blank
        assert counts[0] > 0
        assert counts[-1] > 0
        for i in range(len(vectors)):
            terms, weights = vectors.row(i)
            assert (np.diff(terms) > 0).all()
            assert (weights > 0).all()

    def test_counts_tokens_without_cutting(self, encoder):
        bare, short, long = encoder.count_tokens(["", "a", TEXTS[-1] * 99])
        assert 0 <= bare < short < long
        assert long > encoder.description.max_length
        assert encoder.count_tokens([]) == []

    def test_no_document_is_no_row(self, encoder):
        assert len(encoder.encode_documents([])) == 0

    def test_documents_encode_to_the_same_bits_again(self, encoder):
        first, second = (encoder.encode_documents(TEXTS) for _ in range(2))
        np.testing.assert_array_equal(first.terms, second.terms)
        np.testing.assert_array_equal(first.weights, second.weights)

    def test_the_order_of_documents_does_not_matter(self, encoder):
        forward = encoder.encode_documents(TEXTS)
        backward = encoder.encode_documents(TEXTS[::-1])
        for i in range(len(TEXTS)):
            j = len(TEXTS) - 1 - i
            assert_same_vectors(backward.rows(j, j + 1), forward.rows(i, i + 1))

    def test_a_text_is_cut_after_the_longest_length(self, encoder):
        long = "terms and postings " * encoder.description.max_length
        assert_same_vectors(
            encoder.encode_documents([long]), encoder.encode_documents([long + "never read"])
        )

    def test_progress_counts_every_document_once(self, encoder):
        steps: list[int] = []
        encoder.encode_documents(TEXTS, progress=steps.append)
        assert sum(steps) == len(TEXTS)

    def test_special_tokens_are_never_emitted(self, encoder):
        emitted = set(encoder.encode_documents(TEXTS).terms.tolist())
        assert not emitted & encoder.tokenizer.special_ids

"""First-stage scores and those of stored dense vectors, as one."""

import numpy as np
import pytest
import torch
from reranker_contract import DOCUMENTS, RerankerContract
from tiny_dense import write_dense

from tamis.index.errors import InputError, TamisWarning
from tamis.retriever import Passage, Searcher, index_corpus
from tamis.retriever.editor import Editor
from tamis.retriever.models.dense_encoder import DenseEncoder
from tamis.retriever.rerank.dense import DenseReranker, store_vectors, stored_vectors
from tamis.retriever.rerank.text_store import VECTORS, TextStore
from tamis.retriever.types import content_of

QUERY = "what lets small grains through"
WORDS = [f"{prefix} owl {ones}" for prefix in ("an", "the") for ones in "abcdefg"]


def load(folder):
    return DenseEncoder.load(str(folder), device="cpu", dtype=torch.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_dense(tmp_path_factory.mktemp("dense") / "model")


@pytest.fixture(scope="module")
def encoder(model):
    return load(model)


class TestNotStored(RerankerContract):
    """Every text is encoded."""

    @pytest.fixture(scope="class")
    @classmethod
    def reranker(cls, encoder):
        return DenseReranker(encoder)


class TestHalfStored(RerankerContract):
    """Every second document has its vector."""

    @pytest.fixture(scope="class")
    @classmethod
    def reranker(cls, encoder, tmp_path_factory):
        folder = tmp_path_factory.mktemp("collection")
        store_vectors(encoder, DOCUMENTS[::2], folder / VECTORS.folder, budget_bytes=1 << 20)
        return DenseReranker(encoder).over(folder)


def test_scores_are_the_weighted_sum_of_both_standardised(encoder):
    first = np.array([3.0, 9.0, 5.0, 4.0, 9.0, 6.0])
    cosines = encoder.encode_documents(DOCUMENTS) @ encoder.encode_queries([QUERY])[0]
    units = [(of - of.mean()) / of.std() for of in (first, cosines.astype(np.float64))]
    for weight in (0.0, 0.3, 1.0):
        reranker = DenseReranker(encoder, weight)
        found = reranker.assess(QUERY, DOCUMENTS, first_stage=first.tolist(), explain=True)
        wanted = (1 - weight) * units[0] + weight * units[1]
        np.testing.assert_allclose(found.scores, wanted, atol=1e-6)
        assert found.not_stored == len(DOCUMENTS)
        for at, parts in enumerate(found.parts):
            assert [part.name for part in parts] == ["first stage", "dense"]
            assert [part.value for part in parts] == pytest.approx([first[at], cosines[at]])
            assert sum(part.contribution for part in parts) == pytest.approx(found.scores[at])


@pytest.mark.parametrize(("score", "count"), [(13.37, 7), (0.1, 50), (5.3, 11)])
def test_equal_first_stage_scores_add_nothing(encoder, score, count):
    texts = [f"owl {at}" for at in range(count)]
    found = DenseReranker(encoder).assess(QUERY, texts, first_stage=[score] * count, explain=True)
    assert [parts[0].contribution for parts in found.parts] == [0.0] * count


def test_without_a_first_stage_cosines_decide(encoder):
    cosines = encoder.encode_documents(DOCUMENTS) @ encoder.encode_queries([QUERY])[0]
    found = DenseReranker(encoder).assess(QUERY, ["", *DOCUMENTS], explain=True)
    np.testing.assert_allclose(found.scores[1:], cosines, atol=1e-6)
    assert found.parts[0] == ()
    assert [part.name for part in found.parts[1]] == ["dense"]


def test_stored_numbers_are_at_most_half_a_step_off(encoder, tmp_path):
    store = store_vectors(encoder, DOCUMENTS, tmp_path / "s", budget_bytes=1 << 20)
    assert store.contents.nbytes == len(DOCUMENTS) * (encoder.size + 2)
    found = stored_vectors(store, store.find(DOCUMENTS[::-1]))[::-1]
    true = encoder.encode_documents(DOCUMENTS)
    largest = np.abs(true).max(1, keepdims=True)
    assert (np.abs(found - true) <= largest / 254 * 1.001 + largest / 2048).all()
    assert np.abs(found - true).max() > largest.mean() / 1000  # it does round
    with pytest.raises(InputError, match="dense vectors of at most 9 bytes"):
        store_vectors(encoder, DOCUMENTS, tmp_path / "s", budget_bytes=9)


# Beside a collection


@pytest.fixture
def collection(tmp_path):
    passages = [Passage(f"d{at}", f"owl {word} owl") for at, word in enumerate(WORDS)]
    return index_corpus(passages, tmp_path / "index", encoder=None).path


def store(collection, encoder):
    searcher = Searcher.open(collection)
    (found,) = searcher.search([None], k=100)
    texts = [content_of(hit.document) for hit in found.hits]
    return store_vectors(encoder, texts, collection / VECTORS.folder, budget_bytes=1 << 20)


def test_a_search_names_the_reranker_of_what_is_stored(collection, encoder):
    searcher = Searcher.open(collection)
    with pytest.raises(InputError, match="found none; build it with `tamis optimize --dense-"):
        searcher.search(["owl"], rerank=5, reranker="dense")
    store(collection, encoder)
    (plain,) = searcher.search(["the owl c"], k=14, exact=True)
    (found,) = searcher.search(
        ["the owl c"], k=14, exact=True, rerank=10, reranker="dense", explain=True
    )
    assert (found.reranked.documents, found.reranked.not_stored) == (10, 0)
    by_id = {hit.doc_id: hit for hit in found.hits}
    again = [by_id[hit.doc_id] for hit in plain.hits[:10]]
    first, cosines = np.array([[part.value for part in hit.score_parts] for hit in again]).T
    assert first.tolist() == pytest.approx([hit.score for hit in plain.hits[:10]])
    vectors = encoder.encode_documents([content_of(hit.document) for hit in again])
    wanted = vectors @ encoder.encode_queries(["the owl c"])[0]
    np.testing.assert_allclose(cosines, wanted, atol=0.02)  # they are rounded
    units = [(of - of.mean()) / of.std() for of in (first, cosines)]
    scores = [hit.score for hit in again]
    np.testing.assert_allclose(scores, (units[0] + units[1]) / 2, atol=1e-4)
    for hit in again:
        assert sum(part.contribution for part in hit.score_parts) == pytest.approx(hit.score)
    assert [hit.score_parts for hit in found.hits[10:]] == [()] * 4
    with pytest.raises(InputError, match="a reranker among block, dense, found 'other'"):
        searcher.search(["owl"], rerank=5, reranker="other")


def test_new_and_changed_texts_are_encoded_at_once_and_told(collection, encoder):
    store(collection, encoder)
    with Editor.open(collection, encoder=None) as editor:
        editor.put([Passage("d3", "owl grains through a sieve"), Passage("new", "an owl again")])
    searcher = Searcher.open(collection)
    (found,) = searcher.search(["owl"], k=20, exact=True, rerank=20, reranker="dense", explain=True)
    assert (found.reranked.documents, found.reranked.not_stored) == (15, 2)
    vector = encoder.encode_queries(["owl"])[0]
    for hit in found.hits:
        cosine = encoder.encode_documents([content_of(hit.document)])[0] @ vector
        exact = hit.doc_id in ("d3", "new")
        assert hit.score_parts[1].value == pytest.approx(cosine, abs=0.02 if not exact else 0.005)


def test_a_store_of_no_text_has_all_texts_encoded(collection, encoder):
    store_vectors(encoder, [], collection / VECTORS.folder, budget_bytes=1 << 20)
    searcher = Searcher.open(collection)
    (found,) = searcher.search(["owl"], k=14, exact=True, rerank=14, reranker="dense")
    assert (found.reranked.documents, found.reranked.not_stored) == (14, 14)


def test_vectors_of_another_encoder_are_left_alone(collection, encoder, tmp_path):
    other = load(write_dense(tmp_path / "other", about={"prompts": {"document": "grains "}}))
    store(collection, other)
    searcher = Searcher.open(collection, reranker=DenseReranker(encoder))
    with pytest.warns(TamisWarning, match="texts are read instead"):
        (found,) = searcher.search(["owl"], k=14, exact=True, rerank=14)
    assert found.reranked.not_stored == 14
    assert len(TextStore.open(collection / VECTORS.folder, VECTORS, other.fingerprint)) == 14


def test_a_store_of_another_encoder_is_read_by_that_encoder(collection, encoder, tmp_path):
    searcher = Searcher.open(collection)
    other = load(write_dense(tmp_path / "other", about={"prompts": {"document": "grains "}}))
    for one in (encoder, other, encoder):
        store(collection, one)
        (found,) = searcher.search(["owl"], exact=True, rerank=14, reranker="dense", explain=True)
        best = found.hits[0]
        cosine = (
            one.encode_documents([content_of(best.document)])[0] @ one.encode_queries(["owl"])[0]
        )
        assert found.reranked.not_stored == 0
        assert best.score_parts[1].value == pytest.approx(cosine, abs=0.02)

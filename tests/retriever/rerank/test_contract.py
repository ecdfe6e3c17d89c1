"""Every way to rerank keeps the contract."""

import numpy as np
import pytest
import torch
from reranker_contract import DOCUMENTS, RerankerContract, ScoresContract
from tiny_rerankers import ARCHITECTURES, write_reranker

from tamis.retriever.rerank.block_reranker import BlockReranker
from tamis.retriever.rerank.cascade import Cascade
from tamis.retriever.rerank.lazy_reranker import LazyReranker
from tamis.retriever.rerank.stored_keys import DocumentStore
from tamis.retriever.rerank.text_store import KEYS

READOUTS = {
    name: {"heads": [1.0, -0.5, 2.0, 0.3], "length": 0.5, "prior": 0.7, "null": 0.2}
    for name in ("query", "none")
}


def load(folder, conditioning="query"):
    return BlockReranker.from_pretrained(
        str(folder), device="cpu", dtype=torch.float32, conditioning=conditioning
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with head weights, read from the last layer alone."""
    folder = tmp_path_factory.mktemp("trained")
    return write_reranker(folder, "bert", readouts=READOUTS, reads_from=2)


@pytest.fixture(scope="module")
def store(trained, tmp_path_factory):
    """Keys of every second document."""
    folder = tmp_path_factory.mktemp("keys") / "store"
    return DocumentStore.build(load(trained, "none"), DOCUMENTS[::2], folder, budget_bytes=1 << 22)


class TestPrefix(RerankerContract):
    """Documents read the query."""

    @pytest.fixture(scope="class", params=ARCHITECTURES)
    @classmethod
    def reranker(cls, request, tmp_path_factory):
        return load(write_reranker(tmp_path_factory.mktemp(request.param), request.param))


class TestQueryFree(RerankerContract):
    """Documents do not read the query."""

    @pytest.fixture(scope="class")
    @classmethod
    def reranker(cls, trained):
        return load(trained, "none")


class TestPieces(RerankerContract):
    """Lists longer than a forward are split and merged."""

    @pytest.fixture(scope="class")
    @classmethod
    def reranker(cls, trained):
        found = load(trained)
        found.batch_tokens = 60
        return found


class TestLazy(RerankerContract):
    """Loaded at the first question."""

    @pytest.fixture(scope="class")
    @classmethod
    def reranker(cls, trained):
        return LazyReranker(str(trained), "cpu")


class TestCascade(RerankerContract):
    """Stored keys choose, a full reading ranks."""

    @pytest.fixture(scope="class", params=[2, 50])
    @classmethod
    def reranker(cls, request, trained, store):
        return Cascade(load(trained), store, request.param)


class TestBound(RerankerContract):
    """Over the keys beside a collection."""

    @pytest.fixture(scope="class")
    @classmethod
    def reranker(cls, trained, tmp_path_factory):
        folder = tmp_path_factory.mktemp("collection")
        options = {"budget_bytes": 1 << 22, "keep_every": 2}
        DocumentStore.build(load(trained, "none"), DOCUMENTS, folder / KEYS.folder, **options)
        return LazyReranker(str(trained), "cpu").over(folder)


class Held:
    """Documents are held before the query comes."""

    def __init__(self, reranker, *, many):
        self._reranker, self._many = reranker, many

    def score(self, query, documents):
        held = self._reranker.document_keys(documents)
        return self._reranker.score_held(query, self._reranker.hold(held) if self._many else held)


class TestHeld(ScoresContract):
    """Held for one query, or for many."""

    @pytest.fixture(scope="class", params=[False, True])
    @classmethod
    def reranker(cls, request, trained):
        return Held(load(trained, "none"), many=request.param)


def test_held_documents_score_as_texts_do(trained):
    reranker = load(trained, "none")
    found = Held(reranker, many=False).score("a query", DOCUMENTS)
    np.testing.assert_allclose(found, reranker.score("a query", DOCUMENTS), atol=1e-5)

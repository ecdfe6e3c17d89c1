"""POST /v1/rerank and the rerank option of a search."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from starlette.testclient import TestClient
from tiny_dense import write_dense

from tamis.api import Limits, create_app
from tamis.retriever import Passage, Searcher, index_corpus
from tamis.retriever.models.dense_encoder import DenseEncoder
from tamis.retriever.rerank.dense import store_vectors
from tamis.retriever.rerank.text_store import VECTORS


class CountsOwls:
    def score(self, query, documents, *, first_stage=None):
        return np.array([text.lower().count("owl") for text in documents], np.float32)


@pytest.fixture(scope="module")
def service(searchers):
    app = create_app(searchers, Limits(rerank=5), reranker=CountsOwls())
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def test_documents_come_best_first_with_their_positions(service):
    documents = ["no bird", "owl", "owl owl", "owl"]
    body = {"query": "owls", "documents": documents, "top_n": 3, "return_documents": True}
    answer = service.post("/v1/rerank", json=body).json()
    assert [row["index"] for row in answer["results"]] == [2, 1, 3]
    assert [row["relevance_score"] for row in answer["results"]] == [2, 1, 1]
    assert [row["document"] for row in answer["results"]] == ["owl owl", "owl", "owl"]
    plain = service.post("/v1/rerank", json={"query": "owls", "documents": documents}).json()
    assert len(plain["results"]) == 4
    assert plain["results"][0]["document"] is None


def test_no_documents_give_no_results(service):
    assert service.post("/v1/rerank", json={"query": "a", "documents": []}).json()["results"] == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"query": " ", "documents": []}, "invalid_value"),
        ({"query": "a"}, "invalid_value"),
        ({"query": "a", "documents": [], "k": 3}, "unknown_field"),
        ({"query": "a", "documents": ["b"], "top_n": 0}, "invalid_value"),
        ({"query": "a", "documents": ["b"] * 6}, "limit_exceeded"),
    ],
)
def test_mistakes_are_problems(service, body, code):
    answer = service.post("/v1/rerank", json=body)
    assert answer.status_code == 422
    assert answer.json()["code"] == code


def test_a_search_may_be_reranked(service):
    path = "/v1/indexes/words/search"
    body = {"query": "night hunt", "k": 2, "exact": True}
    plain = service.post(path, json=body).json()
    found = service.post(path, json=body | {"rerank": {"depth": 3}}).json()
    assert found["hits"][0]["id"] == "owl"
    assert found["hits"][0]["score"] >= 2
    assert found["timings"]["rerank_ms"] > 0
    assert plain["timings"]["rerank_ms"] == 0
    deep = service.post(path, json=body | {"rerank": {"depth": 6}})
    assert deep.json()["code"] == "limit_exceeded"


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """An index with dense vectors of all texts but one."""
    folder = tmp_path_factory.mktemp("stored")
    passages = [Passage(f"d{at}", f"an owl {word}") for at, word in enumerate("abcde")]
    index_corpus(passages, folder / "owls", encoder=None)
    encoder = DenseEncoder.load(str(write_dense(folder / "model")), device="cpu")
    texts = [one.content for one in passages[1:]]
    store_vectors(encoder, texts, folder / "owls" / VECTORS.folder, budget_bytes=1 << 20)
    return folder / "owls"


def test_a_search_may_name_its_reranker(stored, searchers):
    app = create_app({"owls": Searcher.open(stored), **searchers}, reranker=CountsOwls())
    path, body = "/v1/indexes/owls/search", {"query": "an owl", "explain": True}
    with TestClient(app) as client:
        dense = body | {"rerank": {"depth": 4, "reranker": "dense"}}
        found = client.post(path, json=dense).json()
        assert found["reranked"]["documents"] == 4
        assert found["reranked"]["not_stored"] == sum(
            hit["id"] == "d0" for hit in found["hits"][:4]
        )
        for hit in found["hits"][:4]:
            parts = {part["name"]: part for part in hit["score_parts"]}
            assert parts.keys() == {"first stage", "dense"}
            total = sum(part["contribution"] for part in parts.values())
            assert total == pytest.approx(hit["score"], abs=1e-4)
        same = client.get(f"{path}?q=an+owl&rerank=4&reranker=dense&explain=true").json()
        assert same["hits"] == found["hits"]
        own = client.post(path, json=body | {"rerank": {"depth": 4, "reranker": "block"}}).json()
        assert [hit["score"] for hit in own["hits"][:4]] == [1] * 4
        assert own["hits"][0]["score_parts"] == []
        assert client.post(path, json=body).json()["reranked"] is None
        for bad, code in (
            ({"depth": 4, "reranker": "other"}, "invalid_value"),
            ({"depth": 4, "reranker": "dense", "weight": 1}, "unknown_field"),
        ):
            answer = client.post(path, json=body | {"rerank": bad})
            assert (answer.status_code, answer.json()["code"]) == (422, code)
        alone = client.get(f"{path}?q=an+owl&reranker=dense")
        assert alone.status_code == 422
        assert "a depth to rerank beside reranker" in alone.json()["detail"]
        missing = client.post("/v1/indexes/words/search", json=dense)
        assert missing.status_code == 422
        assert "found none; build it with `tamis optimize" in missing.json()["detail"]
        several = client.post("/v1/search", json=dense | {"indexes": ["owls", "words"], "k": 2})
        assert several.status_code == 422
        assert "expected the reranker block over several indexes" in several.json()["detail"]


def test_searches_do_not_wait_for_those_that_are_reranked(searchers):
    release = threading.Event()

    class Waits(CountsOwls):
        def score(self, query, documents, *, first_stage=None):
            assert release.wait(30)
            return super().score(query, documents)

    app = create_app(searchers, Limits(workers=1, reranking=1), reranker=Waits())
    path, body = "/v1/indexes/words/search", {"query": "night hunt", "rerank": {"depth": 3}}
    with TestClient(app) as client, ThreadPoolExecutor(2) as pool:
        slow = [pool.submit(client.post, path, json=body) for _ in range(2)]
        while 'queue="rerank"} 1.0' not in client.get("/metrics").text:
            time.sleep(0.01)
        assert client.post(path, json={"query": "owl"}).status_code == 200
        refused = client.post(path, json=body)
        assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
        assert client.get("/readyz").status_code == 200
        release.set()
        assert [one.result().status_code for one in slow] == [200, 200]


def test_the_queries_of_a_batch_share_the_limits(service):
    path = "/v1/indexes/words/search/batch"
    for body, status in (
        ({"queries": ["owl"] * 5, "rerank": {"depth": 1}}, 200),
        ({"queries": ["owl"] * 3, "rerank": {"depth": 2}}, 422),
        ({"queries": ["owl"] * 100, "k": 100}, 200),
        ({"queries": ["owl"] * 101, "k": 100}, 422),
    ):
        answer = service.post(path, json=body)
        assert answer.status_code == status
        if status == 422:
            assert answer.json()["code"] == "limit_exceeded"

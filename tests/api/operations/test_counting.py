"""Counts, facets, orders and listings through HTTP: what Python gives, and what is refused."""

import json

import pytest
from starlette.testclient import TestClient

from tamis.api import create_app
from tamis.retriever import Passage, Searcher, index_corpus

OWLS = [
    Passage("a", "red owl", fields={"brand": "acme", "price": 5, "tags": ["x", "y"]}),
    Passage("b", "owl", fields={"brand": "zeta", "price": 15, "tags": ["x"]}),
    Passage("c", "red bell", fields={"brand": "acme", "price": 20, "tags": []}),
    Passage("d", "bell", fields={"brand": "beta"}),
]
FIELDS = {"brand": "string", "price": "integer", "tags": "string[]"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    path = tmp_path_factory.mktemp("counting") / "shop"
    index_corpus(OWLS, path, encoder=None, fields=FIELDS)
    with TestClient(create_app({"shop": Searcher.open(path)})) as client:
        yield client


def search(client, **body):
    response = client.post("/v1/indexes/shop/search", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def ids(answer):
    return [hit["id"] for hit in answer["hits"]]


FACETS = ["brand", {"field": "price", "ranges": [[0, 10], [10, None]]}]


def test_an_answer_has_the_total_and_the_facets(shop):
    answer = search(shop, query="red", facets=FACETS)
    assert answer["total"] == {"value": 2, "relation": "exact", "count": "words"}
    assert answer["facets"] == {
        "brand": [{"value": "acme", "count": 2}],
        "price": [{"value": [0, 10], "count": 1}, {"value": [10, None], "count": 1}],
    }
    assert answer["facets_cut"] == {}
    everything = search(shop, query="red", facets=FACETS, count="filter")
    assert everything["total"] == {"value": 4, "relation": "exact", "count": "filter"}
    plain = search(shop, query="red")
    assert (plain["total"], plain["facets"]) == (None, None)


def test_a_url_asks_for_what_a_body_does(shop):
    asked = {"query": "red", "facets": FACETS, "sort": [{"field": "price", "order": "desc"}]}
    body = search(shop, **asked, count="filter")
    url = {"q": "red", "facets": json.dumps(FACETS), "sort": "price:desc", "count": "filter"}
    found = shop.get("/v1/indexes/shop/search", params=url).json()
    assert ids(found) == ids(body) == ["c", "b", "a", "d"]
    assert (found["total"], found["facets"]) == (body["total"], body["facets"])
    listed = shop.get("/v1/indexes/shop/search", params={"facets": "brand,tags"}).json()
    assert [one["value"] for one in listed["facets"]["tags"]] == ["x", "y"]


def test_documents_are_listed_page_by_page(shop):
    seen, cursor = [], None
    while len(seen) < 9:
        given = {"k": 3, "sort": "brand,price:desc", "fields": "price"}
        page = shop.get(
            "/v1/indexes/shop/documents", params=given | ({"cursor": cursor} if cursor else {})
        ).json()
        seen += [(hit["id"], hit["document"]) for hit in page["hits"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert seen == [("c", {"price": 20}), ("a", {"price": 5}), ("d", {}), ("b", {"price": 15})]
    chosen = json.dumps({"field": "tags", "eq": "x"})
    found = shop.get("/v1/indexes/shop/documents", params={"filter": chosen}).json()
    assert ids(found) == ["a", "b"]
    assert found["total"] == {"value": 2, "relation": "exact", "count": "filter"}
    assert ids(search(shop, filter={"field": "tags", "eq": "x"})) == ["a", "b"]


def test_a_batch_counts_for_each_query(shop):
    body = {"queries": ["red", "owl bell"], "count": "words", "facets": ["brand"], "min_score": 0.1}
    found = shop.post("/v1/indexes/shop/search/batch", json=body).json()["results"]
    assert [one["total"]["value"] for one in found] == [2, 4]
    assert [len(one["facets"]["brand"]) for one in found] == [1, 3]


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({}, "expected the field `query` in `$`, found none; add it, or a filter to list by"),
        ({"query": "red", "facets": ["text"]}, "expected a declared field (brand, price, tags)"),
        ({"query": "red", "facets": [{"field": "price", "sizes": 1}]}, "expected no field 'sizes'"),
        ({"query": "red", "sort": [{"field": "price", "order": "up"}]}, "$.sort[0].order"),
        ({"query": "red", "count": "all"}, "$.count"),
        ({"query": "red", "filter": {"field": "price", "is": 1}}, "one of eq, in, all_of, range"),
        ({"query": "red", "sort": ["price"], "rerank": {"depth": 2}}, "search by score for rerank"),
    ],
)
def test_what_cannot_be_counted_is_refused_with_what_can(shop, body, detail):
    response = shop.post("/v1/indexes/shop/search", json=body)
    assert response.status_code == 422
    assert detail in response.json()["detail"]

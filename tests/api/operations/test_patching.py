"""Fields of documents change through HTTP, one by one and in streams, and nothing is encoded."""

import json

import pytest

DOCUMENTS = "/v1/indexes/shop/documents"
FIELDS = {"price": "float", "tags": "string[]"}
WARES = [
    {"_id": "a", "text": "owl lamp", "price": 5, "maker": {"name": "x", "city": "y"}, "year": 1},
    {"_id": "b", "text": "owl clock", "price": 15, "tags": ["old"]},
    {"_id": "c", "text": "bell", "year": "2"},
]
CHEAP = {"field": "price", "range": {"lt": 10}}


@pytest.fixture
def shop(home):
    home.create("shop", {"encoder": None, "fields": FIELDS}, WARES)
    return home


def lines(*changes):
    return b"".join(json.dumps(change).encode() + b"\n" for change in changes)


def test_a_changed_value_is_filtered_by_and_scores_stay(shop):
    before = {hit["id"]: hit["score"] for hit in shop.search("owl", "shop")["hits"]}
    assert shop.found("owl", "shop", filter=CHEAP) == ["a"]
    change = {"price": 7, "tags": ["new", "old"], "maker": {"city": None}}
    answer = shop.ask("PATCH", f"{DOCUMENTS}/b?wait=searchable", json=change)
    assert (answer["id"], answer["replaced"]) == ("b", True)
    assert set(shop.found("owl", "shop", filter=CHEAP)) == {"a", "b"}
    assert shop.found("owl", "shop", filter={"field": "tags", "eq": "new"}) == ["b"]
    assert {hit["id"]: hit["score"] for hit in shop.search("owl", "shop")["hits"]} == before
    shop.ask("PATCH", f"{DOCUMENTS}/a?wait=searchable", json={"price": None, "maker.city": "z"})
    document = shop.ask("GET", f"{DOCUMENTS}/a")["document"]
    assert document["maker"] == {"name": "x", "city": "z"}
    assert "price" not in document
    assert shop.found("owl", "shop", filter=CHEAP) == ["b"]


def test_changes_of_one_document_follow_each_other_before_a_search_finds_them(shop):
    for price in (1, 2, 3):
        shop.ask("PATCH", f"{DOCUMENTS}/b?wait=none", json={f"p{price}": price, "price": price})
    shop.ask("PATCH", f"{DOCUMENTS}/b?wait=searchable", json={})
    document = shop.ask("GET", f"{DOCUMENTS}/b")["document"]
    assert [document[name] for name in ("p1", "p2", "p3")] == [1, 2, 3]
    assert (document["price"], document["text"]) == (3, "owl clock")


@pytest.mark.parametrize(
    ("doc_id", "change", "status", "detail"),
    [
        ("gone", {"price": 1}, 404, "expected an id of index shop, found 'gone'"),
        ("a", {"text": "new"}, 422, "found text for document 'a'; put the whole document"),
        ("a", {"vector": {"=x": 1}}, 422, "found vector for document 'a'"),
        ("a", {"price": "dear"}, 422, "expected a finite number for field 'price', found 'dear'"),
        ("a", {"_id": "b"}, 422, "expected no _id but 'a'"),
        ("a", [1], 422, "expected a JSON object, found list"),
    ],
)
def test_what_cannot_be_changed_is_refused(shop, doc_id, change, status, detail):
    answer = shop.ask("PATCH", f"{DOCUMENTS}/{doc_id}", status, json=change)
    assert detail in answer["detail"]
    assert shop.ask("GET", f"{DOCUMENTS}/a")["document"] == WARES[0] | {"title": ""}


def test_a_document_that_was_just_deleted_is_gone(shop):
    shop.ask("DELETE", f"{DOCUMENTS}/a?wait=none")
    shop.ask("PATCH", f"{DOCUMENTS}/a", 404, json={"price": 1})


def test_a_stream_changes_many_and_names_faulty_lines(shop):
    body = lines(
        {"_id": "a", "price": 100}, {"_id": "gone", "price": 1}, {"price": 1}, [],
        {"_id": "b", "price": "dear"}, {"_id": "c", "price": 1}, {"_id": "c", "price": 2},
    )  # fmt: skip
    answer = shop.ask("PATCH", DOCUMENTS + "?wait=searchable", content=body)
    assert (answer["written"], answer["failed"]) == (3, 4)
    assert [(one["line"], one["id"], one["code"]) for one in answer["problems"]] == [
        (2, "gone", "unknown_document"),
        (3, None, "invalid_value"),
        (4, None, "invalid_value"),
        (5, "b", "bad_input"),
    ]
    found = shop.ask("POST", "/v1/indexes/shop/search", json={"sort": ["price"]})
    assert [(hit["id"], hit["document"]["price"]) for hit in found["hits"]] == [
        ("c", 2), ("b", 15), ("a", 100),
    ]  # fmt: skip


def test_fields_are_declared_later(shop):
    late = {"field": "year", "range": {"gte": 2}}
    refused = shop.ask(
        "POST", "/v1/indexes/shop/search", 422, json={"query": "owl", "filter": late}
    )
    assert "expected a declared field (price, tags), found 'year'" in refused["detail"]
    answer = shop.ask("PATCH", "/v1/indexes/shop", json={"fields": {"year": "integer"}})
    assert answer["fields"] == FIELDS | {"year": "integer"}
    assert shop.ask("POST", "/v1/indexes/shop/search", json={"filter": late})["total"]["value"] == 1
    shop.add([{"_id": "d", "text": "owl", "year": 3}], "shop")
    assert set(shop.found("owl bell", "shop", filter=late)) == {"d", "c"}
    for fields, detail in (
        ({"year": "float"}, "as it is declared, integer, found float"),
        ({"maker": "string"}, "expected a string for field 'maker'"),
        ({"text": "string"}, "expected fields beside _id, title, text"),
    ):
        answer = shop.ask("PATCH", "/v1/indexes/shop", 422, json={"fields": fields})
        assert detail in answer["detail"]


def test_a_change_of_a_document_is_one_of_its_passages(home):
    text = "The owl hoots at night. " * 9
    settings = {"encoder": None, "fields": {"price": "float"}, "chunk": {"tokens": 20}}
    home.create("manual", settings, [{"_id": "owls", "text": text}, {"_id": "o", "text": "Owl."}])
    path = "/v1/indexes/manual/documents/owls?wait=searchable"
    home.ask("PATCH", path, json={"price": 3})
    found = home.search("owl", "manual", filter=CHEAP, group_by="parent")
    assert [hit["group"] for hit in found["hits"]] == ["owls"]
    assert found["hits"][0]["document"]["price"] == 3
    assert "chunk" in home.ask("PATCH", path, 422, json={"chunk": 2})["detail"]

"""Searched fields through HTTP: declared at PUT, asked for in queries, boosted, explained."""

import json

import pytest

FIELDS = [{"name": "title", "weight": 3}, {"name": "about"}, {"name": "brand", "b": 0}]
WARES = [
    {"_id": "a", "title": "Red lamp", "about": "For desks.", "brand": "Acme"},
    {"_id": "b", "title": "Acme shade", "about": ["For a lamp", "from acme"], "brand": ["Lux"]},
    {"_id": "c", "text": "acme", "title": "Bell"},
]


@pytest.fixture
def shop(home):
    home.create("shop", {"encoder": None, "lexical": {"fields": FIELDS}}, WARES)
    return home


def test_words_are_found_in_the_fields_that_were_declared(shop):
    assert set(shop.found("acme", "shop")) == {"a", "b"}  # `text` is not among them
    assert shop.found("brand:acme", "shop", syntax="operators") == ["a"]
    assert shop.found("acme -brand:acme", "shop", syntax="operators") == ["b"]
    answer = shop.search("about:lamp", "shop", syntax="operators")
    assert answer["understood"]["must"] == ["about:lamp"]
    assert [hit["id"] for hit in answer["hits"]] == ["b"]


@pytest.mark.parametrize("name", ["text_boosts", "fields"])
def test_boosts_are_explained_and_sum_to_the_score(shop, name):
    (first, *_) = shop.search("acme", "shop", explain=True, **{name: {"brand": 9}})["hits"]
    assert first["id"] == "a"
    terms = {one["term"]: one for one in first["matched_terms"]}
    assert terms.keys() == {"=acm", "=brand:acm"}
    assert terms["=acm"]["fields"] == {"brand": pytest.approx(terms["=acm"]["contribution"])}
    assert terms["=brand:acm"]["fields"] is None
    assert sum(one["contribution"] for one in terms.values()) == pytest.approx(first["score"])
    asked = {"query": "acme", "id": "a", "text_boosts": {"brand": 9}}
    told = shop.ask("POST", "/v1/indexes/shop/explain", json=asked)
    assert told["score"] == pytest.approx(first["score"])


@pytest.mark.parametrize(
    ("options", "detail"),
    [
        ({"text_boosts": {"colour": 2}}, "expected a text field of title, about, brand"),
        ({"text_boosts": {"title": -1}}, "expected `float` >= 0.0"),
        ({"text_boosts": {"title": 1}, "fields": {"title": 1}}, "expected boosts once"),
    ],
)
def test_boosts_that_cannot_be_are_refused(shop, options, detail):
    asked = {"query": "acme", **options}
    answer = shop.ask("POST", "/v1/indexes/shop/search", 422, json=asked)
    assert detail in answer["detail"]


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ([{"name": "title"}, {"name": "title"}], "'title' twice"),
        ([{"name": "vector"}], "'vector'"),
        ([{"name": "title", "weight": -1}], "above 0"),
        ([{"name": "title", "b": 2}], "b from 0 to 1"),
        ([{"weight": 2}], "name"),
        (["title:3"], "object"),
    ],
)
def test_fields_that_cannot_be_are_refused(home, fields, detail):
    body = {"encoder": None, "lexical": {"fields": fields}}
    answer = home.ask("PUT", "/v1/indexes/other", 422, json=body)
    assert detail in answer["detail"]


def test_lines_with_no_texts_in_a_field_are_told_one_by_one(shop):
    rows = [{"_id": "d", "title": "x"}, {"_id": "e", "brand": 7}, {"_id": "f", "price": 1}]
    body = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    answer = shop.ask("POST", "/v1/indexes/shop/documents?wait=searchable", content=body)
    assert (answer["written"], answer["failed"]) == (1, 2)
    assert [problem["line"] for problem in answer["problems"]] == [2, 3]
    assert "list of strings" in answer["problems"][0]["detail"]


def test_the_same_settings_again_change_nothing(shop):
    body = {"encoder": None, "lexical": {"fields": FIELDS}}
    shop.ask("PUT", "/v1/indexes/shop", 200, json=body)
    other = {"encoder": None, "lexical": {"fields": FIELDS[:2]}}
    shop.ask("PUT", "/v1/indexes/shop", 409, json=other)

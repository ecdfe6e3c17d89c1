"""Several indexes in one search, over HTTP."""

import pytest


@pytest.fixture(scope="module")
def ask(client):
    def ask(status=200, **body):
        answer = client.post("/v1/search", json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    return ask


def test_hits_say_which_index_they_are_of(ask):
    found = ask(indexes=["words", "both"], query="owls hunt", k=3, explain=True, highlight=True)
    assert found["merged"] == "rrf"
    assert found["why"] == "their encoders differ"
    assert [hit["index"] for hit in found["hits"][:2]] == ["words", "both"]
    assert [one["index"] for one in found["indexes"]] == ["words", "both"]
    for hit in found["hits"]:
        total = sum(term["contribution"] for term in hit["matched_terms"])
        assert total == pytest.approx(hit["score_in_index"], 1e-4)
        assert hit["highlights"]["text"]


def test_one_index_gives_what_it_gives_alone(ask, client):
    alone = client.post("/v1/indexes/words/search", json={"query": "owls hunt"}).json()["hits"]
    found = ask(indexes=["words"], query="owls hunt")
    assert found["merged"] == "score"
    assert [(hit["id"], hit["score"]) for hit in found["hits"]] == [
        (hit["id"], hit["score"]) for hit in alone
    ]


@pytest.mark.parametrize(
    ("body", "status", "code", "told"),
    [
        ({"indexes": []}, 422, "invalid_value", "length >= 1"),
        ({"indexes": ["words", "words"]}, 422, "invalid_value", "each index once, found 'words'"),
        ({"indexes": ["fish"]}, 404, "unknown_index", "words, both"),
        ({"indexes": ["words"], "cursor": "x"}, 422, "invalid_cursor", "this very search"),
        ({"indexes": ["words"], "timeout_ms": 5}, 422, "invalid_value", "timeout_ms"),
        ({"indexes": ["words", "both"], "sort": ["year"]}, 422, "bad_input", "'year'"),
        ({"indexes": ["words"], "k": 1001}, 422, "limit_exceeded", "1000"),
        ({"indexes": ["words", "both"], "min_score": 1}, 422, "bad_input", "encoders differ"),
        ({"indexes": ["words"], "query": " "}, 422, "invalid_value", "blank"),
        ({"indexes": ["words"], "query": None}, 422, "invalid_value", "`query`"),
    ],
)
def test_mistakes_are_told(ask, body, status, code, told):
    found = ask(status, **{"query": "owls", **body})
    assert found["code"] == code
    assert told in found["detail"]


def test_an_alias_and_its_index_are_one(home):
    home.create()
    home.ask("PUT", "/v1/aliases/live", json={"index": "birds"})
    body = {"indexes": ["live", "birds"], "query": "owls"}
    told = home.ask("POST", "/v1/search", 422, json=body)["detail"]
    assert "each index once, found 'birds' and 'live'" in told
    found = home.ask("POST", "/v1/search", json={**body, "indexes": ["live"], "facets": ["year"]})
    assert [hit["index"] for hit in found["hits"]] == ["live"]
    assert found["facets"] == {"year": [{"value": 2001, "count": 1}]}


def test_pages_go_on_by_cursor(home):
    home.create()
    home.create("more", documents=[{"_id": "owlet", "text": "An owl.", "year": 1999}])
    body = {"indexes": ["birds", "more"], "query": "owl heron kite", "k": 2}
    every = home.ask("POST", "/v1/search", json={**body, "k": 9})
    assert (len(every["hits"]), every["cursor"]) == (4, None)
    first = home.ask("POST", "/v1/search", json=body)
    second = home.ask("POST", "/v1/search", json={**body, "cursor": first["cursor"]})
    pages = [*first["hits"], *second["hits"]]
    assert [(hit["id"], hit["rank"]) for hit in pages] == [
        (hit["id"], hit["rank"]) for hit in every["hits"]
    ]
    for other in ({"query": "owl"}, {"indexes": ["more", "birds"]}, {"offset": 1}):
        asked = {**body, "cursor": first["cursor"], **other}
        assert home.ask("POST", "/v1/search", 422, json=asked)["code"] == "invalid_cursor"
    by_year = home.ask("POST", "/v1/search", json={**body, "sort": ["year"]})
    assert by_year["merged"] == "sort"
    assert [hit["id"] for hit in by_year["hits"]] == ["owlet", "owl"]

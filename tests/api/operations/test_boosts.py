"""What fields add to scores, over HTTP."""

import pytest

BOOST = {"field": "year", "saturation": 2000, "weight": 10}


def test_a_boost_is_a_term_of_the_score(home):
    home.create()
    plain = {hit["id"]: hit["score"] for hit in home.search("the owls heron night")["hits"]}
    found = home.search("the owls heron night", boosts=[BOOST], explain=True)["hits"]
    assert {hit["id"] for hit in found} == set(plain)
    for hit in found:
        year = hit["document"]["year"]
        added = 10 * year / (year + 2000)
        assert hit["score"] == pytest.approx(plain[hit["id"]] + added, 1e-5)
        (term,) = (one for one in hit["matched_terms"] if one["term"] == "boost:year")
        assert term["contribution"] == pytest.approx(added)
        assert sum(one["contribution"] for one in hit["matched_terms"]) == pytest.approx(
            hit["score"], 1e-4
        )
    body = {"query": "the owls heron night", "id": "owl", "boosts": [BOOST]}
    told = home.ask("POST", "/v1/indexes/birds/explain", json=body)
    assert told["score"] == pytest.approx(
        next(hit["score"] for hit in found if hit["id"] == "owl"), 1e-5
    )
    by_url = home.ask(
        "GET",
        "/v1/indexes/birds/search",
        params={"q": "the owls heron night", "boosts": '[{"field": "year", "log": 3000}]'},
    )
    assert len(by_url["hits"]) == len(plain)
    both = {"indexes": ["birds"], "query": "the owls heron night", "boosts": [BOOST]}
    merged = home.ask("POST", "/v1/search", json=both)["hits"]
    assert [hit["score"] for hit in merged] == [hit["score"] for hit in found]


@pytest.mark.parametrize(
    ("boost", "status", "code"),
    [
        ({"field": "year", "log": 0}, 422, "invalid_value"),
        ({"field": "year", "log": 5, "weight": -1}, 422, "invalid_value"),
        ({"field": "year", "log": 5, "wieght": 1}, 422, "unknown_field"),
        ({"field": "year"}, 422, "bad_input"),
        ({"field": "size", "log": 5}, 422, "bad_input"),
        ({"field": "language", "log": 5}, 422, "bad_input"),
    ],
)
def test_what_is_no_boost_is_told(home, boost, status, code):
    home.create(documents=[])
    body = {"query": "owls", "boosts": [boost]}
    told = home.ask("POST", "/v1/indexes/birds/search", status, json=body)
    assert told["code"] == code


def test_a_number_beyond_all_is_told(home):
    home.create(documents=[])
    content = b'{"query": "owls", "boosts": [{"field": "year", "log": 5, "weight": 1e999}]}'
    told = home.ask("POST", "/v1/indexes/birds/search", 422, content=content)
    assert told["code"] == "invalid_value"
    assert "number out of range at `$.boosts[0].weight`" in told["detail"]

"""Searching through HTTP equals searching in Python."""

import json
import threading

import numpy as np
import pytest
from starlette.testclient import TestClient

from tamis.api import Limits, create_app

SEARCH = "/v1/indexes/{}/search"


def search(client, name="both", **body):
    response = client.post(SEARCH.format(name), json=body)
    assert response.status_code == 200, response.text
    return response.json()


def untimed(answer):
    return {key: answer[key] for key in answer if key not in ("took_ms", "timings", "cursor")}


def test_hits_are_those_of_the_searcher(client, searchers):
    (expected,) = searchers["both"].search(["owls at night"], 3)
    answer = search(client, query="owls at night", k=3)
    assert [(hit["id"], hit["score"]) for hit in answer["hits"]] == [
        (hit.doc_id, hit.score) for hit in expected.hits
    ]
    assert [hit["rank"] for hit in answer["hits"]] == [1, 2, 3]
    assert answer["generation"] == expected.generation


def test_the_contributions_of_a_hit_sum_to_its_score(client):
    for hit in search(client, query="owls hunt at night", explain=True)["hits"]:
        total = sum(term["contribution"] for term in hit["matched_terms"])
        assert total == pytest.approx(hit["score"], abs=1e-4)
        for term in hit["matched_terms"]:
            assert term["contribution"] == pytest.approx(term["query_weight"] * term["doc_weight"])


def test_expansions_and_words_are_marked(client):
    hits = search(client, query="zoo owl", explain=True)["hits"]
    terms = {term["term"]: term["expansion"] for term in hits[0]["matched_terms"]}
    assert hits[0]["id"] == "owl"
    assert terms["z"] is True  # the letter encoder adds z to every document
    assert terms["o"] is False
    assert terms["=owl"] is False


def test_documents_come_with_all_their_fields(client):
    hit = search(client, name="words", query="tamis")["hits"][0]
    assert hit["id"] == "kitchen/sieve"
    assert hit["document"]["year"] == 2
    assert hit["matched_terms"] == []
    assert hit["highlights"] == {}


def test_a_url_finds_what_a_body_finds(client):
    parameters = {"q": "hunt", "k": "2", "explain": "true", "lexical_weight": "0.5"}
    by_url = client.get(SEARCH.format("both"), params=parameters)
    assert by_url.status_code == 200, by_url.text
    by_body = search(client, query="hunt", k=2, explain=True, lexical_weight=0.5)
    assert untimed(by_url.json()) == untimed(by_body)


def test_a_batch_answers_each_query_as_alone(client):
    queries = ["owls at night", {"vector": {"=siev": 2.0, "o": 0.5}}, "fish"]
    response = client.post(SEARCH.format("both") + "/batch", json={"queries": queries, "k": 2})
    alone = [search(client, query=query, k=2) for query in queries]
    assert list(map(untimed, response.json()["results"])) == list(map(untimed, alone))


def test_a_query_as_weights_scores_by_dot_product(client):
    hits = search(client, query={"vector": {"z": 3.0}})["hits"]
    assert [hit["id"] for hit in hits] == ["owl", "kitchen/sieve", "bat", "sea"]
    assert all(hit["score"] == pytest.approx(3.0 * 0.5) for hit in hits)  # z weighs 0.5 everywhere


def test_encoded_texts_search_like_the_texts(client):
    text = "owls at night"
    body = {"index": "both", "texts": [text, "sieve"]}
    vectors = client.post("/v1/encode", json=body).json()["vectors"]
    assert len(vectors) == 2
    by_vector = search(client, query={"vector": vectors[0]}, k=4)["hits"]
    by_text = search(client, query=text, k=4)["hits"]
    assert [hit["id"] for hit in by_vector] == [hit["id"] for hit in by_text]
    assert [hit["score"] for hit in by_vector] == pytest.approx([hit["score"] for hit in by_text])


def test_the_lexical_channel_can_be_turned_off(client):
    hits = search(client, query="owls", lexical_weight=0, explain=True)["hits"]
    assert not any(t["term"].startswith("=") for hit in hits for t in hit["matched_terms"])


def test_explain_tells_any_document_s_score_and_what_it_lacks(client):
    query = "owls and fish"
    hit = search(client, query=query, explain=True)["hits"][-1]
    body = {"query": query, "id": hit["id"]}
    answer = client.post("/v1/indexes/both/explain", json=body).json()
    assert answer["score"] == pytest.approx(hit["score"], abs=1e-4)
    assert answer["matched_terms"] == hit["matched_terms"]
    vector = client.post("/v1/encode", json={"index": "both", "texts": [query]}).json()["vectors"][
        0
    ]
    present = {term["term"] for term in answer["matched_terms"]}
    lacking = {term["term"]: term["query_weight"] for term in answer["missing_terms"]}
    assert lacking == {term: weight for term, weight in vector.items() if term not in present}
    assert lacking


def test_explain_gives_zero_where_nothing_matches(client):
    body = {"query": "fish", "id": "owl"}
    answer = client.post("/v1/indexes/words/explain", json=body).json()
    assert answer["score"] == 0
    assert answer["matched_terms"] == []


def test_unknown_terms_are_told_for_each_query_of_a_batch(client):
    known, other = {"vector": {"=owl": 1.0}}, {"vector": {"=owl": 1.0, "=xylophon": 9.0, "ö": 1.0}}
    body = {"queries": [known, other, "owl xylophones"]}
    found = client.post("/v1/indexes/words/search/batch", json=body).json()["results"]
    assert [one["unknown_terms"] for one in found] == [[], ["=xylophon", "ö"], ["=xylophon"]]
    assert [one["terms_cut"] for one in found] == [0, 0, 0]
    assert found[0]["hits"] == found[1]["hits"] != []
    body = {"query": other, "id": "owl"}
    explained = client.post("/v1/indexes/words/explain", json=body).json()
    assert explained["unknown_terms"] == ["=xylophon", "ö"]
    assert explained["score"] == found[0]["hits"][0]["score"]


@pytest.mark.parametrize("doc_id", ["owl", "kitchen/sieve", "kitchen%2Fsieve"])
def test_documents_are_found_by_id_with_and_without_slashes(client, doc_id):
    answer = client.get(f"/v1/indexes/words/documents/{doc_id}").json()
    assert answer["id"] == answer["document"]["_id"] == doc_id.replace("%2F", "/")


def test_highlights_join_to_the_text_and_mark_the_words_found(client):
    hit = search(client, name="words", query="hunts", highlight=True)["hits"][0]
    spans = hit["highlights"]["text"]
    assert "".join(span["text"] for span in spans) == hit["document"]["text"]
    assert {span["text"] for span in spans if span["match"]} <= {"hunt", "hunting"}
    assert any(span["match"] for span in spans)
    assert hit["matched_terms"] == []


def test_a_query_that_nothing_matches_gives_no_hits(client):
    assert search(client, name="words", query="xylophone")["hits"] == []


def test_indexes_tell_how_they_were_made(client):
    listed = client.get("/v1/indexes").json()["indexes"]
    assert [index["name"] for index in listed] == ["words", "both"]
    assert [index["documents"] for index in listed] == [4, 4]
    assert listed[0]["encoder"] is None
    assert listed[1]["encoder"]["name"] == "letters"
    assert listed[1]["lexical"]["language"] == "english"
    assert client.get("/v1/indexes/both").json() == listed[1]


def test_probes_answer(client):
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}
    assert client.get("/v1/info").json()["limits"]["k"] == 1000


def test_a_search_may_come_without_a_content_type(client):
    body = json.dumps({"query": "owl"})
    assert client.post(SEARCH.format("words"), content=body).json()["hits"]


def test_a_page_begins_where_the_one_before_ended(home):
    documents = [{"_id": str(n), "text": "owl " * (n % 7 + 1) + "x" * n} for n in range(40)]
    home.create(documents=documents)
    every = home.found("owl", k=100)
    assert len(every) == 40
    assert home.found("owl", k=7, offset=11) == every[11:18]
    pages, cursor = [], None
    for _ in range(7):
        answer = home.search("owl", k=7, cursor=cursor)
        assert [hit["rank"] for hit in answer["hits"]] == list(
            range(len(pages) + 1, len(pages) + 1 + len(answer["hits"]))
        )
        pages += [hit["id"] for hit in answer["hits"]]
        cursor = answer["cursor"]
        if cursor is None:
            break
    assert pages == every


def test_a_cursor_goes_on_after_its_hit_when_documents_come_and_go(home):
    home.create(documents=[{"_id": str(n), "text": "owl " + "x " * n} for n in range(10)])
    first = home.search("owl", k=4)
    home.add([{"_id": "best", "text": "owl"}])
    second = home.search("owl", k=4, cursor=first["cursor"])
    assert [hit["id"] for hit in first["hits"]] == ["0", "1", "2", "3"]
    assert [hit["id"] for hit in second["hits"]][:3] == ["4", "5", "6"]
    home.ask("DELETE", "/v1/indexes/birds/documents/3?wait=searchable")
    again = home.search("owl", k=4, cursor=first["cursor"])
    assert [hit["id"] for hit in again["hits"]][:3] == ["4", "5", "6"]


def test_a_cursor_is_of_one_search(client):
    answer = search(client, query="owls at night", k=1)
    for body in ({"query": "owls"}, {"query": "owls at night", "offset": 1, "k": 1}):
        response = client.post(SEARCH.format("both"), json={**body, "cursor": answer["cursor"]})
        assert response.status_code == 422
        assert response.json()["code"] == "invalid_cursor"


def test_a_cursor_is_of_one_index_under_all_its_names(home):
    documents = [{"_id": str(n), "text": "owl"} for n in range(5)]
    for name in ("birds", "more"):
        home.create(name, documents=documents)
    home.ask("PUT", "/v1/aliases/flock", json={"index": "birds"})
    cursor = home.search("owl", k=2)["cursor"]
    expected = {"0", "1", "2", "3"} - set(home.found("owl", k=2))
    assert set(home.found("owl", "flock", k=2, cursor=cursor)) == expected
    body = {"query": "owl", "k": 2, "cursor": cursor}
    other = home.ask("POST", "/v1/indexes/more/search", 422, json=body)
    assert other["code"] == "invalid_cursor"
    home.ask("DELETE", "/v1/aliases/flock")
    home.ask("DELETE", "/v1/indexes/birds")
    home.create(documents=documents)
    assert home.ask("POST", "/v1/indexes/birds/search", 422, json=body)["code"] == "invalid_cursor"


def test_a_cursor_follows_an_index_through_everything_that_rewrites_it(home):
    documents = [{"_id": str(n), "text": "owl " * (n % 3 + 1) + "x " * n} for n in range(20)]
    home.create(documents=documents)
    first = home.search("owl", k=6)
    home.done(home.ask("POST", "/v1/indexes/birds/optimize", 202))
    second = home.search("owl", k=6, cursor=first["cursor"])
    home.add([{"_id": "late", "text": "owl"}])
    rest = home.search("owl", k=20, cursor=second["cursor"])
    assert rest["cursor"] is None
    shown = [hit["id"] for page in (first, second, rest) for hit in page["hits"]]
    assert sorted(shown) == sorted([*(str(n) for n in range(20)), "late"])


def test_a_cursor_goes_on_from_a_page_by_offset(home):
    home.create(documents=[{"_id": str(n), "text": "owl " + "x " * n} for n in range(9)])
    page = home.search("owl", k=3, offset=2)
    rest = home.search("owl", k=9, cursor=page["cursor"])
    assert [hit["id"] for hit in page["hits"]] == ["2", "3", "4"]
    assert [(hit["id"], hit["rank"]) for hit in rest["hits"]] == [
        ("5", 6), ("6", 7), ("7", 8), ("8", 9),
    ]  # fmt: skip


def test_a_search_out_of_time_gives_its_cursor_back(searchers):
    slow = SlowReranker()
    app = create_app(searchers, Limits(workers=1), reranker=slow)
    with TestClient(app) as client:
        body = {"query": "owls at night", "k": 1, "rerank": {"depth": 1}}
        slow.release.set()
        cursor = search(client, **body)["cursor"]
        slow.release.clear()
        search(client, **body, timeout_ms=50)  # its thread stays busy
        late = search(client, **body, cursor=cursor, timeout_ms=50)
        slow.release.set()
        assert (late["partial"], late["hits"], late["cursor"]) == (True, [], cursor)


def test_only_the_fields_asked_for_are_given(client):
    hit = search(client, name="words", query="tamis", fields=["year", "title", "none"])["hits"][0]
    assert hit["document"] == {"title": "", "year": 2}
    parameters = {"q": "tamis", "fields": "year, title"}
    by_url = client.get(SEARCH.format("words"), params=parameters).json()
    assert by_url["hits"][0]["document"] == {"title": "", "year": 2}
    assert search(client, name="words", query="tamis", fields=[])["hits"][0]["document"] == {}


def test_a_filter_keeps_only_what_it_admits(home):
    home.create()
    young = {"field": "year", "range": {"gte": 2002}}
    english = {"field": "language", "in": ["en"]}
    query = "owls heron kite uhu"
    assert set(home.found(query, filter=young)) == {"heron", "kite/red", "uhu"}
    assert home.found(query, filter={"must": [young, english]}) == ["heron"]
    url = "/v1/indexes/birds/search"
    answer = home.ask("GET", url, params={"q": query, "filter": json.dumps(english)})
    assert {hit["id"] for hit in answer["hits"]} == {"owl", "heron"}


@pytest.mark.parametrize("shown", ["explain", "highlight"])
def test_hits_with_matched_terms_are_bounded_over_all_queries(client, shown):
    def ask(many, k, **more):
        body = {"queries": ["owls"] * many, "k": k, shown: True, **more}
        return client.post(SEARCH.format("both") + "/batch", json=body)

    assert ask(4, 1000).status_code == 200
    for refused in (ask(5, 1000), ask(1, 1000, group_by="parent", group_size=5)):
        assert refused.status_code == 422
        assert refused.json()["code"] == "limit_exceeded"
        assert "4000 hits with matched terms or highlights, of all queries" in refused.text
    assert ask(5, 800).status_code == 200


class SlowReranker:
    def __init__(self):
        self.release = threading.Event()

    def score(self, query, documents, *, first_stage=None):
        self.release.wait(20)
        return np.arange(len(documents), dtype=np.float32)


def test_a_search_that_is_late_gives_what_it_has(searchers):
    slow = SlowReranker()
    app = create_app(searchers, Limits(workers=1), reranker=slow)
    with TestClient(app) as client:
        body = {"query": "owls at night", "k": 3, "rerank": {"depth": 3}, "timeout_ms": 300}
        late = search(client, **body)
        plain = [hit.doc_id for hit in searchers["both"].search(["owls at night"], 3)[0].hits]
        assert late["partial"] is True
        assert [hit["id"] for hit in late["hits"]] == plain
        waiting = search(client, **{**body, "timeout_ms": 50})  # its thread is still busy
        assert (waiting["partial"], waiting["hits"]) == (True, [])
        assert search(client, query="owls", timeout_ms=20_000)["partial"] is False
        slow.release.set()
        done = search(client, **{**body, "timeout_ms": 20_000})
        assert done["partial"] is False
        assert [hit["id"] for hit in done["hits"]] == plain[::-1]


def test_hits_are_grouped_by_a_field_page_by_page(home):
    documents = [{"_id": str(n), "text": "owl " + "x " * n, "year": n // 3} for n in range(12)]
    home.create(documents=documents)
    answer = home.search("owl", k=2, group_by="year", group_size=2)
    assert [(hit["id"], hit["group"]) for hit in answer["hits"]] == [("0", 0), ("3", 1)]
    assert [one["id"] for one in answer["hits"][0]["passages"]] == ["0", "1"]
    second = home.search("owl", k=2, group_by="year", group_size=2, cursor=answer["cursor"])
    assert [hit["group"] for hit in second["hits"]] == [2, 3]
    assert home.found("owl", k=2, offset=1, group_by="year") == ["3", "6"]


def test_long_documents_are_divided_and_found_as_one(home):
    long = ". ".join(f"Sentence {n} of a long text on owls and herons" for n in range(30)) + "."
    home.create(
        settings={"encoder": None, "chunk": {"tokens": 40, "overlap": 10}},
        documents=[{"_id": "long", "text": long}, {"_id": "short", "text": "A heron."}],
    )
    assert home.ask("GET", "/v1/indexes/birds")["documents"] > 3
    hits = home.search("owls", group_by="parent", k=5)["hits"]
    assert [hit["group"] for hit in hits] == ["long"]
    home.ask("DELETE", "/v1/indexes/birds/documents/long?wait=searchable")
    assert home.ask("GET", "/v1/indexes/birds")["documents"] == 1


def test_operators_mean_something_where_they_are_asked_for(client):
    body = {"query": '"at night" -fish +hunts', "syntax": "operators"}
    answer = client.post("/v1/indexes/words/search", json=body).json()
    assert {hit["id"] for hit in answer["hits"]} == {"owl", "bat"}
    assert answer["understood"] == {
        "text": "at night hunts",
        "phrases": ["at night"],
        "must": ["hunts"],
        "must_not": ["fish"],
        "prefixes": [],
        "also": [],
        "left_out": [],
        "notes": [],
    }
    by_url = client.get(
        "/v1/indexes/words/search", params={"q": "night -owl", "syntax": "operators"}
    ).json()
    assert [hit["id"] for hit in by_url["hits"]] == ["bat"]
    plain = client.post("/v1/indexes/words/search", json={"query": "night -owl"}).json()
    assert {hit["id"] for hit in plain["hits"]} == {"owl", "bat"}
    assert "syntax is plain" in plain["understood"]["notes"][0]


def test_pages_of_a_search_with_operators_go_on_by_cursor(client):
    body = {"query": "hunt +night", "syntax": "operators", "k": 1}
    first = client.post("/v1/indexes/both/search", json=body).json()
    second = client.post("/v1/indexes/both/search", json={**body, "cursor": first["cursor"]}).json()
    third = client.post("/v1/indexes/both/search", json={**body, "cursor": second["cursor"]}).json()
    assert {first["hits"][0]["id"], second["hits"][0]["id"]} == {"owl", "bat"}
    assert third["hits"] == []


def test_typing_errors_are_corrected_and_told_where_that_is_asked_for(client):
    asked = {"query": "silentli hunting at nihgt", "typos": "auto"}
    answer = client.post("/v1/indexes/words/search", json=asked).json()
    assert answer["hits"][0]["id"] == "owl"
    assert answer["corrections"] == [{"from": "nihgt", "to": "night"}]
    plain = client.post("/v1/indexes/words/search", json={"query": "nihgt"}).json()
    assert (plain["hits"], plain["corrections"]) == ([], [])


def test_suggestions_complete_the_last_word_as_it_is_written(client):
    answer = client.get("/v1/indexes/words/suggest", params={"q": "night owls hu"}).json()
    assert answer["suggestions"] == [{"text": "night owls hunt", "documents": 2}]
    refused = client.get("/v1/indexes/words/suggest", params={"q": "a", "size": 0})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_value")

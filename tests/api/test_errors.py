"""Every mistake is answered by a problem document that names it."""

import errno
from types import SimpleNamespace

import pytest
from starlette.testclient import TestClient

from tamis.api import Limits, create_app
from tamis.api.serving.data_folder import DataFolder
from tamis.index.files.wal import Log

SEARCH = "/v1/indexes/both/search"
NESTED = {"must": []}
for _ in range(8):
    NESTED = {"must_not": [NESTED]}


def check_problem(response, status, code, *named):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert set(problem) == {"type", "title", "status", "detail", "code"}
    assert (problem["status"], problem["code"]) == (status, code)
    for name in named:
        assert name in problem["detail"]


@pytest.mark.parametrize(
    ("body", "code", "named"),
    [
        ({"query": "owl", "kk": 3}, "unknown_field", "kk"),
        ({"query": {"vector": {"o": 1}, "weights": {}}}, "unknown_field", "weights"),
        ({"query": "owl", "reranker": {"depth": 5}}, "unknown_field", "rerank"),
        ({}, "invalid_value", "query"),
        ({"query": 7}, "invalid_value", "$.query"),
        ({"query": [[[[[[]]]]]]}, "invalid_value", "$.query"),
        ({"query": " \t"}, "invalid_value", "blank"),
        ({"query": {"vector": {}}}, "invalid_value", "$.query.vector"),
        ({"query": {"vector": {"o": -1}}}, "invalid_value", "$.query.vector"),
        ({"query": {"vector": {"o": 0}}}, "invalid_value", "$.query.vector"),
        ({"query": {"vector": {"o": 1e308}}}, "invalid_value", "$.query.vector"),
        ({"query": "owl", "k": 0}, "invalid_value", "$.k"),
        ({"query": "owl", "k": "ten"}, "invalid_value", "$.k"),
        ({"query": "owl", "k": 1001}, "limit_exceeded", "1000"),
        ({"query": "owl", "recall": 0}, "invalid_value", "$.recall"),
        ({"query": "owl", "recall": 1.5}, "invalid_value", "$.recall"),
        ({"query": "owl", "lexical_weight": -0.1}, "invalid_value", "$.lexical_weight"),
        ({"query": "ö" * 4097}, "limit_exceeded", "8194"),
        ({"query": "owl", "offset": -1}, "invalid_value", "$.offset"),
        ({"query": "owl", "offset": 9001}, "limit_exceeded", "9000"),
        ({"query": "owl", "cursor": "nonsense"}, "invalid_cursor", "cursor"),
        ({"query": "owl", "timeout_ms": 0}, "invalid_value", "$.timeout_ms"),
        ({"query": "owl", "fields": "title"}, "invalid_value", "$.fields"),
        ({"query": "owl", "filter": {"field": "nest", "in": [1]}}, "bad_input", "nest"),
        ({"query": "owl", "filter": NESTED}, "limit_exceeded", "inside each other"),
        ({"query": "owl", "filter": {"must": [{}] * 64}}, "limit_exceeded", "64"),
        ({"query": "owl", "filter": {"field": "a", "in": [1] * 64}}, "limit_exceeded", "64"),
        ({"query": {"vector": {f"t{i}": 1 for i in range(4097)}}}, "limit_exceeded", "4096"),
    ],
)
def test_a_search_that_cannot_be_is_refused_by_name(client, body, code, named):
    check_problem(client.post(SEARCH, json=body), 422, code, named)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"query=owl",
        b'{"query": NaN}',
        b'{"query": "\xff"}',
        b'{"query": "\\ud800"}',
        b'{"query": "owl", "query": "bat"}',
        b'{"query": {"vector": {"=owl": 1, "=bat": 1, "=owl": 2}}}',
        b'{"query": "owl", "filter": {"field": "year", "in": [1], "in": [2]}}',
    ],
)
def test_a_body_that_is_no_json_is_refused(client, body):
    check_problem(client.post(SEARCH, content=body), 400, "invalid_json")


def test_a_body_of_nothing_but_depth_is_refused(client):
    for start in (b"", b'{"query": ', b'{"query": {"vector": {"o": '):
        response = client.post(SEARCH, content=start + b"[" * 1_000_000)
        assert response.status_code in (400, 422), response.text


@pytest.mark.parametrize(
    ("url", "code", "named"),
    [
        ("?k=3", "invalid_value", "q"),
        ("?q=owl&kk=3", "unknown_field", "kk"),
        ("?query=owl", "unknown_field", "query"),
        ("?q=owl&q=bat", "invalid_value", "q"),
        ("?q=owl&k=many", "invalid_value", "k"),
        ("?q=owl&exact=perhaps", "invalid_value", "exact"),
        ("?q=", "invalid_value", "$.q"),
        ("?q=+", "invalid_value", "blank"),
        ("?q=owl&filter=[]", "invalid_value", "filter"),
        ("?q=owl&filter={", "invalid_value", "filter"),
        ('?q=owl&filter={"in": [1], "in": [2]}', "invalid_value", "'in' twice"),
        ("?q=owl&rerank=0", "invalid_value", "$.rerank"),
    ],
)
def test_a_url_that_cannot_be_is_refused_by_name(client, url, code, named):
    check_problem(client.get(SEARCH + url), 422, code, named)


def test_unknown_indexes_and_documents_are_not_found(client):
    check_problem(
        client.post("/v1/indexes/boht/search", json={"query": "owl"}),
        404, "unknown_index", "boht", "words, both",
    )  # fmt: skip
    check_problem(
        client.get("/v1/indexes/both/documents/dodo"), 404, "unknown_document", "dodo", "both"
    )
    check_problem(
        client.post("/v1/indexes/both/explain", json={"query": "owl", "id": "dodo"}),
        404, "unknown_document", "dodo",
    )  # fmt: skip


def test_encoding_needs_an_index_where_there_are_two(client):
    check_problem(
        client.post("/v1/encode", json={"texts": ["owl"]}), 422, "invalid_value", "words, both"
    )


def test_paths_and_methods_that_do_not_exist_are_refused(client):
    check_problem(client.get("/v2/indexes"), 404, "not_found", "/v2/indexes")
    check_problem(client.get("/v1/indexes/"), 404, "not_found", "/v1/indexes/")
    response = client.patch("/v1/indexes")
    check_problem(response, 405, "method_not_allowed")
    assert "GET" in response.headers["allow"]


def test_a_path_that_takes_two_methods_allows_both(client):
    response = client.put(SEARCH, json={})
    check_problem(response, 405, "method_not_allowed")
    assert {"GET", "POST"} <= set(response.headers["allow"].split(", "))


def test_compressed_bodies_are_refused(client):
    response = client.post(SEARCH, content=b"x", headers={"content-encoding": "gzip"})
    check_problem(response, 415, "unsupported_encoding", "gzip")


def test_large_bodies_are_refused_announced_or_not(searchers):
    limits = Limits(search_body_bytes=1000)
    with TestClient(create_app(searchers, limits)) as client:
        body = b'{"query": "' + b"o" * 1000 + b'"}'
        check_problem(client.post(SEARCH, content=body), 413, "body_too_large", "1000")
        streamed = client.post(SEARCH, content=iter([body[:500], body[500:]]))
        check_problem(streamed, 413, "body_too_large", "1000")


def test_large_batches_are_refused(client):
    batch = {"queries": ["owl"] * 257}
    check_problem(client.post(SEARCH + "/batch", json=batch), 422, "limit_exceeded", "256", "257")
    texts = {"index": "both", "texts": ["owl"] * 257}
    check_problem(client.post("/v1/encode", json=texts), 422, "limit_exceeded", "256", "257")


def test_a_failure_inside_tells_nothing_of_the_inside(searchers):
    broken = {"both": SimpleNamespace(reranker=object())}  # any handler fails on it
    app = create_app(broken)
    client = TestClient(app, raise_server_exceptions=False)
    response = client.post(SEARCH, json={"query": "owl"})
    check_problem(response, 500, "internal_error")
    assert "SimpleNamespace" not in response.text


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({}, "expected the field `query` in `$`, found none; add it, or a filter to list by"),
        ({"query": "owl", "k": "ten"}, 'expected `int` at `$.k`, found "ten"; see /docs'),
        ({"query": "owl", "k": 0}, "expected `int` >= 1 at `$.k`, found 0; see /docs"),
        (
            {"query": {"vector": {"o": -1}}},
            'expected `float` > 0.0 at `$.query.vector[...]`, found {"o":-1}; see /docs',
        ),
    ],
)
def test_a_mistake_names_what_was_expected_found_and_to_do(client, body, detail):
    answer = client.post("/v1/indexes/words/search", json=body)
    assert answer.json()["detail"] == detail


def test_a_long_faulty_value_is_cut_short(client):
    answer = client.post("/v1/indexes/words/search", json={"query": ["owl" * 1000]})
    assert len(answer.json()["detail"]) < 200


@pytest.mark.parametrize(
    ("number", "status", "code"),
    [
        (errno.ENOSPC, 507, "out_of_room"),
        (errno.EDQUOT, 507, "out_of_room"),
        (errno.EMFILE, 503, "out_of_descriptors"),
        (errno.ENFILE, 503, "out_of_descriptors"),
        (errno.ENOMEM, 503, "out_of_memory"),
        (errno.EROFS, 503, "read_only_disk"),
        *((number, 503, "disk_failing") for number in (errno.EIO, errno.EACCES, errno.ESTALE)),
    ],
)
def test_what_the_machine_refuses_is_told_and_may_be_tried_again(
    home, monkeypatch, number, status, code
):
    home.create()

    def refuse(*arguments):
        raise OSError(number, "injected")

    monkeypatch.setattr(DataFolder, "create", refuse)
    answer = home.client.put("/v1/indexes/other", json={"encoder": None})
    check_problem(answer, status, code, "injected")
    assert int(answer.headers["retry-after"]) > 0
    monkeypatch.setattr(Log, "sync", refuse)
    answer = home.client.put("/v1/indexes/birds/documents/a", json={"text": "owl"})
    check_problem(answer, status, code, "injected")

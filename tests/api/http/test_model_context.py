"""The Model Context Protocol endpoint, asked by the protocol's official client over a socket."""

import asyncio
import json

import httpx
import httpx2
import jsonschema
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from starlette.testclient import TestClient

from tamis.api import Limits, create_app
from tamis.api.http.keys import ApiKeys
from tamis.retriever import Passage, Searcher, index_corpus

KEY = "a-key-of-this-test-0123456789"
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
ACCEPT = {"accept": "application/json, text/event-stream"}


@pytest.fixture(scope="module")
def address(start, searchers):
    return start(create_app(searchers, Limits(k=50), mcp=True))


def ask(address, work, key=None, mode="auto"):
    """What ``work`` makes of a connected client."""

    async def connect():
        headers = {"authorization": f"Bearer {key}"} if key else None
        async with httpx2.AsyncClient(headers=headers) as http:
            transport = streamable_http_client(f"{address}/mcp", http_client=http)
            async with Client(transport, mode=mode) as client:
                return await work(client)

    return asyncio.run(connect())


def call(address, tool, **arguments):
    result = ask(address, lambda client: client.call_tool(tool, arguments))
    (content,) = result.content
    if result.is_error:
        return content.text
    assert json.loads(content.text) == result.structured_content
    return result.structured_content


def rest(address, method, path, body=None):
    return httpx.request(method, f"{address}/v1{path}", json=body).json()


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_tools_are_four_that_only_read(address, mode):
    found = ask(address, lambda client: client.list_tools(), mode=mode)
    assert [tool.name for tool in found.tools] == [
        "list_indexes",
        "search",
        "explain",
        "get_document",
    ]
    for tool in found.tools:
        jsonschema.Draft202012Validator.check_schema(tool.input_schema)
        assert tool.input_schema["type"] == "object"
        assert tool.input_schema["additionalProperties"] is False
        assert tool.description
        assert tool.annotations.read_only_hint is True


def test_indexes_are_listed(address):
    assert call(address, "list_indexes") == rest(address, "GET", "/indexes")


def test_a_search_finds_what_the_rest_api_finds(address):
    found = call(address, "search", query="owls hunting at night", index="both", k=2)
    body = {"query": "owls hunting at night", "k": 2}
    expected = rest(address, "POST", "/indexes/both/search", body)["hits"]
    assert found["index"] == "both"
    assert [(hit["id"], hit["score"]) for hit in found["hits"]] == [
        (hit["id"], hit["score"]) for hit in expected
    ]
    assert found["hits"][0] == {
        "rank": 1,
        "id": "owl",
        "score": expected[0]["score"],
        "title": "Owls",
        "snippet": "Owls hunt at night; a hunting owl flies silently.",
    }
    assert "title" not in found["hits"][1]


def test_a_search_is_filtered_by_declared_fields(start, tmp_path):
    passages = [Passage(str(year), "an owl", fields={"year": year}) for year in range(1990, 2000)]
    path = index_corpus(passages, tmp_path / "index", encoder=None, fields={"year": "integer"}).path
    address = start(create_app({"years": Searcher.open(path)}, mcp=True))
    young = {"field": "year", "range": {"gte": 1997}}
    found = call(address, "search", query="owl", filter={"must_not": [young], "must": []})
    assert {hit["id"] for hit in found["hits"]} == {str(year) for year in range(1990, 1997)}
    assert "'month'" in call(address, "search", query="owl", filter={"field": "month", "in": [1]})
    assert call(address, "list_indexes")["indexes"][0]["fields"] == {"year": "integer"}


def test_several_indexes_are_searched_at_once(address):
    found = call(address, "search", query="owls hunting", indexes=["words", "both"], k=3)
    body = {"query": "owls hunting", "k": 3, "indexes": ["words", "both"]}
    expected = rest(address, "POST", "/search", body)
    assert (found["merged"], found["indexes"]) == ("rrf", ["words", "both"])
    assert [(hit["index"], hit["id"]) for hit in found["hits"]] == [
        (hit["index"], hit["id"]) for hit in expected["hits"]
    ]


def test_a_search_is_boosted_by_declared_fields(start, tmp_path):
    passages = [Passage(str(size), "an owl", fields={"size": size}) for size in (1, 9, 5)]
    path = index_corpus(passages, tmp_path / "index", encoder=None, fields={"size": "integer"}).path
    address = start(create_app({"owls": Searcher.open(path)}, mcp=True))
    found = call(address, "search", query="owl", boosts=[{"field": "size", "saturation": 3}])
    assert [hit["id"] for hit in found["hits"]] == ["9", "5", "1"]
    assert "'age'" in call(address, "search", query="owl", boosts=[{"field": "age", "log": 3}])


def test_a_score_is_explained_and_a_document_read(address):
    found = call(address, "explain", query="sieve flour", id="kitchen/sieve", index="words")
    assert {term["term"] for term in found["matched_terms"]} == {"=siev", "=flour"}
    assert sum(term["contribution"] for term in found["matched_terms"]) == pytest.approx(
        found["score"], abs=1e-4
    )
    document = call(address, "get_document", id="kitchen/sieve", index="words")
    assert document["document"]["year"] == 2


@pytest.mark.parametrize(
    ("tool", "arguments", "told"),
    [
        ("search", {"query": "owl"}, "see list_indexes"),
        ("search", {"query": "owl", "index": "none"}, "unknown_index"),
        ("search", {"query": "owl", "indexes": ["none"]}, "unknown_index"),
        ("search", {"query": "owl", "index": "words", "indexes": ["both"]}, "leave one out"),
        ("search", {"query": "owl", "index": "words", "boosts": [{}]}, "`field`"),
        ("search", {"query": "owl", "index": "../words"}, "unknown_index"),
        ("search", {"query": " ", "index": "words"}, "invalid_value"),
        ("search", {"query": "owl", "index": "words", "k": 0}, "invalid_value"),
        ("search", {"query": "owl", "index": "words", "k": 51}, "limit_exceeded"),
        ("search", {"query": "owl", "index": "words", "wait": 1}, "unknown field"),
        ("search", {"query": "o" * 9000, "index": "words"}, "limit_exceeded"),
        ("search", {"query": 3, "index": "words"}, "invalid_value"),
        ("get_document", {"id": "none", "index": "words"}, "unknown_document"),
        ("explain", {"query": "owl", "id": "none", "index": "words"}, "unknown_document"),
    ],
)
def test_a_mistake_is_told_to_the_model(address, tool, arguments, told):
    answer = call(address, tool, **arguments)
    assert isinstance(answer, str)
    assert told in answer


def test_an_unknown_tool_is_an_error_of_the_protocol(address):
    async def delete(client):
        with pytest.raises(MCPError, match="list_indexes"):
            await client.call_tool("delete_index", {"name": "words"})

    ask(address, delete)


def test_where_there_is_one_index_its_name_may_be_left_out(start, searchers):
    address = start(create_app({"words": searchers["words"]}, mcp=True))
    assert call(address, "search", query="fish")["index"] == "words"


def test_keys_are_asked_for(start, searchers):
    address = start(create_app(searchers, keys=ApiKeys([KEY]), mcp=True))
    for headers in ({}, {"authorization": "Bearer wrong"}):
        answer = httpx.post(f"{address}/mcp", json=INITIALIZE, headers=ACCEPT | headers)
        assert answer.status_code == 401
        assert answer.json()["code"] == "unauthorized"
    assert len(ask(address, lambda client: client.list_tools(), KEY).tools) == 4


@pytest.fixture(scope="module")
def client(searchers):
    app = create_app(searchers, mcp=True)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def test_a_session_is_never_kept(client):
    answer = client.post("/mcp", json=INITIALIZE, headers=ACCEPT)
    assert answer.status_code == 200
    assert "mcp-session-id" not in answer.headers
    assert answer.json()["result"]["serverInfo"]["name"] == "tamis"
    for method in ("GET", "DELETE"):
        assert client.request(method, "/mcp", headers=ACCEPT).status_code == 405


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"jsonrpc": "2.0"}',
        b"[" * 100_000,
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":[]}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":'
        b'{"query":"\\ud800","index":"words"}}}',
        b'{"jsonrpc":"2.0","id":1e400,"method":"tools/list"}',
        b"\xff\xfe",
        b" " * (5 << 20),
    ],
)
def test_messages_that_are_none_are_refused(client, body):
    headers = ACCEPT | {"content-type": "application/json"}
    answer = client.post("/mcp", content=body, headers=headers)
    assert answer.status_code < 500
    assert b'"isError":false' not in answer.content


def test_without_asking_there_is_no_endpoint(searchers):
    with TestClient(create_app(searchers)) as client:
        assert client.post("/mcp", json=INITIALIZE, headers=ACCEPT).status_code == 404

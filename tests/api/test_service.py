"""Keys, overload, the OpenAPI document, the page, and the address that is listened on."""

import asyncio
import re
import socket
import threading

import msgspec
import pytest
from starlette.testclient import TestClient

from tamis.api import Limits, create_app
from tamis.api.keys import ApiKeys
from tamis.api.operations import operations
from tamis.api.problems import RequestError
from tamis.api.server import address_of, listen
from tamis.api.service import Service
from tamis.api.workers import Workers
from tamis.index import InputError

KEY = "0123456789abcdef-first"
OPEN = {"/healthz", "/readyz"}
BODIES = {
    "search": {"query": "owl"},
    "search_batch": {
        "queries": ["owl", {"vector": {"o": 1.0}}],
        "explain": True,
        "highlight": True,
    },
    "explain": {"query": "owl", "id": "owl"},
    "encode": {"texts": ["owl"], "index": "both"},
    "rerank": {"query": "owl", "documents": ["an owl", "a sea"], "return_documents": True},
}


def call(client, operation, **options):
    path = operation.path.replace("{name}", "both").replace("{id}", "owl")
    if operation.by_url:
        path += "?q=owl"
    return client.request(operation.method, path, json=BODIES.get(operation.name), **options)


@pytest.fixture(scope="module")
def table(searchers):
    return operations(Service(searchers, Limits()))


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
def test_every_operation_but_the_probes_asks_for_a_key(searchers, table, header):
    with TestClient(create_app(searchers, keys=ApiKeys([KEY, "another-key-of-ours"]))) as client:
        for operation in table:
            allowed = 200 if operation.path in OPEN else 401
            prefix = "Bearer " if header == "authorization" else ""
            for given, status in ((None, allowed), ("wrong" + KEY, allowed), (KEY, 200)):
                headers = {} if given is None else {header: prefix + given}
                response = call(client, operation, headers=headers)
                assert response.status_code == status, operation.name
                assert KEY not in response.text
                if status == 401:
                    assert response.json()["code"] == "unauthorized"
                    assert response.headers["www-authenticate"] == "Bearer"


def test_key_files_are_read_line_by_line(tmp_path):
    path = tmp_path / "keys"
    path.write_text(f"# ours\n\n{KEY}\n")
    assert KEY not in str(vars(ApiKeys.read(path)))
    for text, named in (
        ("", "at least one key"),
        (f"{KEY}\nshort\n", "keys:2: "),
        ("k" * 15, ":1: "),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=re.escape(named)):
            ApiKeys.read(path)
    with pytest.raises(InputError, match="check the path"):
        ApiKeys.read(tmp_path / "missing")


def test_every_answer_is_what_openapi_says(client, table):
    for operation in table:
        response = call(client, operation)
        assert response.status_code == 200, operation.name
        assert response.headers["content-type"].partition(";")[0] == operation.media_type
        if operation.gives is str:
            continue
        decoded = msgspec.json.decode(response.content, type=operation.gives)
        assert msgspec.json.decode(msgspec.json.encode(decoded)) == response.json()


def test_openapi_describes_every_route_and_the_limits(client, table):
    document = client.get("/openapi.json").json()
    described = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item
    }
    assert described == {(operation.method, operation.path) for operation in table}
    assert len({operation.name for operation in table}) == len(table)
    schemas = document["components"]["schemas"]
    references = set(re.findall(r'"#/components/schemas/(\w+)"', client.get("/openapi.json").text))
    assert references <= set(schemas)
    search = schemas["SearchRequest"]
    assert search["properties"]["k"]["maximum"] == 1000
    assert search["additionalProperties"] is False
    assert search["required"] == ["query"]
    batch = schemas["BatchRequest"]["properties"]["queries"]
    assert batch["maxItems"] == 256


def test_openapi_gives_an_example_for_each_body_that_works(client, table):
    for operation in table:
        if operation.takes is None:
            continue
        msgspec.convert(operation.example, operation.takes)


def test_work_beyond_the_room_is_refused_and_room_comes_back():
    release = threading.Event()

    async def overload():
        workers = Workers(threads=1, waiting=1)
        running = [asyncio.ensure_future(workers.run(lambda: release.wait(10))) for _ in range(2)]
        await asyncio.sleep(0)
        assert not workers.has_room
        with pytest.raises(RequestError) as refused:
            await workers.run(lambda: 1)
        assert (refused.value.status, refused.value.code) == (503, "overloaded")
        assert refused.value.headers == {"Retry-After": "1"}
        release.set()
        assert await asyncio.gather(*running) == [True, True]
        await asyncio.sleep(0)
        assert await workers.run(lambda: 7) == 7
        workers.close()

    asyncio.run(overload())


def test_a_client_that_leaves_keeps_its_place_until_the_work_is_done():
    release = threading.Event()

    async def leave():
        workers = Workers(threads=1, waiting=0)
        task = asyncio.ensure_future(workers.run(lambda: release.wait(10)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not workers.has_room
        release.set()
        while not workers.has_room:
            await asyncio.sleep(0.001)
        workers.close()

    asyncio.run(asyncio.wait_for(leave(), 10))


def test_only_loopback_is_listened_on_without_keys():
    for host in ("0.0.0.0", "::"):
        with pytest.raises(InputError, match="--api-key-file"):
            listen(host, 0, guarded=False)
    listen("0.0.0.0", 0, guarded=True).close()


def test_port_zero_takes_a_free_one_and_a_taken_one_is_told():
    with listen("127.0.0.1", 0, guarded=False) as first:
        assert first.proto == socket.IPPROTO_TCP  # else answers wait for Nagle's delay
        address = address_of(first)
        port = int(address.rpartition(":")[2])
        assert address == f"http://127.0.0.1:{port}"
        first.listen()
        with pytest.raises(InputError, match=f"127.0.0.1:{port}"):
            listen("127.0.0.1", port, guarded=False)


def test_a_host_that_is_not_here_is_told():
    with pytest.raises(InputError, match=r"no\.such\.host\.invalid"):
        listen("no.such.host.invalid", 0, guarded=True)


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_an_ipv6_address_is_printed_as_a_url():
    try:
        listener = listen("::1", 0, guarded=False)
    except InputError:
        pytest.skip("no IPv6 loopback here")
    with listener:
        assert re.fullmatch(r"http://\[::1\]:\d+", address_of(listener))

"""Clients that hold memory: they get a bounded part of it, and all of it comes back."""

import json
import socket
import time
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

MB = 1 << 20
BOUND = 32 * MB
BESIDE = 32 * MB  # what buffers and the heap may take beyond what is counted: up to 29 were seen


def connect(server, stack, receive_bytes=None):
    where = urlsplit(server.address)
    one = stack.enter_context(socket.socket())
    if receive_bytes:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    one.settimeout(10)
    one.connect((where.hostname, where.port))
    return one


def head(path, length):
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


def metrics(server):
    families = text_string_to_metric_families(server.client.get("/metrics").text)
    return {
        one.name: one.value
        for family in families
        for one in family.samples
        if one.name.startswith("tamis_memory")
    }


def wait_until_nothing_is_held(server):
    end = time.monotonic() + 20
    while (held := metrics(server)["tamis_memory_held_bytes"]) > 0:
        assert time.monotonic() < end, held
        time.sleep(0.05)


def search(server):
    began = time.monotonic()
    answer = server.client.post("/v1/indexes/small/search", json={"query": "owl"})
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["hits"]) == 1
    return time.monotonic() - began


@pytest.mark.long
def test_bodies_that_do_not_end_share_one_bound(serve):
    server = serve(memory_bytes=BOUND)
    server.fill("small", ["owl"])
    search(server)
    before = server.memory_bytes("RssAnon")
    with ExitStack() as stack:
        many = [connect(server, stack) for _ in range(24)]
        for one in many:
            one.sendall(head("/v1/rerank", 9 * MB))
            for _ in range(8):
                one.sendall(b" " * MB)
        time.sleep(0.5)
        assert search(server) < 5
        found = metrics(server)
        assert BOUND / 2 < found["tamis_memory_held_bytes"] <= BOUND
        assert found["tamis_memory_bound_bytes"] == BOUND
        assert found["tamis_memory_refused_total"] >= 20
        assert server.memory_bytes("RssAnon") - before < BOUND + BESIDE
        first = [one for one in many if refused(one)]
        assert len(first) >= 20
    wait_until_nothing_is_held(server)
    assert search(server) < 5


def refused(connection):
    """Whether a connection has been told that memory is short."""
    connection.settimeout(0.2)
    try:
        answer = connection.recv(1 << 16)
    except TimeoutError:
        return False
    assert answer.startswith(b"HTTP/1.1 503"), answer
    assert b'"memory_full"' in answer
    assert b"retry-after: 1" in answer.lower()
    return True


@pytest.mark.long
def test_answers_that_nobody_reads_share_one_bound(serve):
    server = serve(memory_bytes=BOUND)
    server.fill("small", ["owl"])
    server.fill("long", ["bat " + f"word{n} " * 3000 for n in range(200)])  # 5 MB together
    body = json.dumps({"queries": ["bat"], "k": 200}).encode()
    search(server)  # what a first search loads stays
    before = server.memory_bytes("RssAnon")
    with ExitStack() as stack:
        for _ in range(20):
            one = connect(server, stack, receive_bytes=4096)
            one.sendall(head("/v1/indexes/long/search/batch", len(body)) + body)
        most, end = 0, time.monotonic() + 8
        while time.monotonic() < end:
            most = max(most, server.memory_bytes("RssAnon"))
            assert metrics(server)["tamis_memory_held_bytes"] <= BOUND
            time.sleep(0.1)
        assert search(server) < 5
        assert most - before < BOUND + BESIDE
    wait_until_nothing_is_held(server)


@pytest.mark.long
def test_clients_that_leave_at_any_moment_leave_nothing_held(serve):
    server = serve(memory_bytes=BOUND)
    server.fill("small", ["owl"])
    server.fill("long", ["bat " + f"word{n} " * 300 for n in range(100)])
    body = json.dumps({"queries": ["bat"] * 20, "k": 100, "highlight": True}).encode()
    line = json.dumps({"_id": "1", "text": "bat " * 1000}).encode() + b"\n"
    whole = [
        head("/v1/indexes/long/search/batch", len(body)) + body,
        head("/v1/indexes/small/documents", 100 * len(line)) + line * 100,
        head("/v1/rerank", 100) + b'{"query": "owl", "documents": ["x", "y"]}',
    ]
    for request in whole:
        for share in (0.1, 0.5, 0.9, 1.0):
            for pause_s in (0.0, 0.02, 0.15):
                with ExitStack() as stack:
                    one = connect(server, stack)
                    one.sendall(request[: int(len(request) * share)])
                    time.sleep(pause_s)
    wait_until_nothing_is_held(server)
    assert search(server) < 5

"""Hostile requests are refused by name; they cost little, leave nothing, keep nobody waiting."""

import socket
import time
from contextlib import suppress
from urllib.parse import urlsplit

import httpx
import pytest
from hostile import requests

MEMORY_BYTES = 256 << 20


def raw(server, data, *, wait=True):
    """Send bytes over a connection of its own."""
    parts = urlsplit(server.address)
    connection = socket.create_connection((parts.hostname, parts.port), timeout=20)
    connection.sendall(data)
    if not wait:
        return connection
    with connection:
        return connection.recv(1 << 16)


def send(server, method, path, headers, body):
    """A request as it is, without a client that would mend it."""
    lines = {"Host": "127.0.0.1", "Content-Length": str(len(body)), "Connection": "close"}
    lines |= headers
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    parts = urlsplit(server.address)
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as connection:
        answer = b""
        with suppress(BrokenPipeError, ConnectionResetError):  # refused before its end
            connection.sendall(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        with suppress(ConnectionResetError):
            while part := connection.recv(1 << 16):
                answer += part
    return answer


def status_of(answer):
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0


@pytest.mark.long
def test_five_hundred_hostile_requests_change_and_cost_nothing(serve, tmp_path, proof):
    server = serve()
    server.fill("birds", ["Owls hunt at night.", "A heron waits."])
    server.ask("POST", "/v1/indexes/birds/search", json={"query": "owls"})
    before = server.memory_bytes()
    statuses, sent = {}, 0
    for method, path, headers, body in requests():
        answer = send(server, method, path, headers, body)
        status = status_of(answer)
        statuses[status] = statuses.get(status, 0) + 1
        sent += 1
        assert status < 500, (method, path, headers, body[:100], answer[-300:])
        if status >= 400:
            assert b"problem+json" in answer or b"Invalid HTTP request" in answer, answer
    grown = server.memory_bytes("VmHWM") - before
    proof("hostile requests", sent=sent, memory_bytes=grown, failures=0)
    assert sent >= 500
    assert statuses.get(0, 0) <= 2  # a bomb may be hung up on while it is being sent
    assert grown <= MEMORY_BYTES
    assert [one["name"] for one in server.ask("GET", "/v1/indexes")["indexes"]] == ["birds"]
    assert [path.name for path in tmp_path.iterdir()] == [server.data.name]
    known = {"LOCK", "catalog.sqlite", "catalog.sqlite-shm", "catalog.sqlite-wal"}
    assert {path.name for path in server.data.iterdir()} <= {
        *known, "indexes", "snapshots", "removed"
    }  # fmt: skip
    assert server.ask("GET", "/healthz")["status"] == "ok"


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/encode HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST /v1/encode HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST /v1/encode HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_is_no_http_is_refused(shared, data):
    connection = raw(shared, data, wait=False)
    connection.settimeout(1)
    with suppress(TimeoutError, ConnectionResetError):  # it waits for more, or has hung up
        assert status_of(connection.recv(1 << 16) or b"") < 500
    connection.close()
    assert shared.ask("GET", "/livez")["status"] == "ok"


@pytest.mark.long
def test_a_gigabyte_is_refused_when_it_is_announced_and_when_it_is_not(serve):
    server = serve()
    server.fill("birds", ["Owls."])
    before = server.memory_bytes()
    head = b"POST /v1/indexes/birds/documents HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    announced = raw(server, head + b"Content-Length: 1000000000\r\n\r\n{")
    assert status_of(announced) == 413

    def line():
        for _ in range(1000):
            yield b"x" * (1 << 20)

    with suppress(httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):  # hung up on
        answer = httpx.post(f"{server.address}/v1/indexes/birds/documents", content=line())
        assert answer.status_code == 413
    assert server.memory_bytes("VmHWM") - before < 64 << 20


@pytest.mark.long
def test_slow_clients_keep_nobody_waiting_and_are_let_go(serve):
    server = serve(idle_s=1)
    server.fill("birds", ["Owls."])
    head = (
        b"POST /v1/indexes/birds/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 30\r\n\r\n{"
    )
    slow = [raw(server, head, wait=False) for _ in range(200)]
    slow += [raw(server, head[: 10 + n % 40], wait=False) for n in range(100)]
    began = time.monotonic()
    assert server.ask("POST", "/v1/indexes/birds/search", json={"query": "owls"})["hits"]
    assert time.monotonic() - began < 5
    assert {status_of(connection.recv(1 << 16)) for connection in slow[:200]} == {408}
    for connection in slow:
        connection.close()

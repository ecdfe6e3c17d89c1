"""Few open files: clients and indexes share them, and what runs out comes back."""

import resource
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from many_indexes import measure
from server_process import Server

ASK = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def few(serve):
    """A server that takes eight connections."""
    return serve(connections=8)


@pytest.fixture
def limited(tmp_path):
    """Start servers over one data folder that may open so many files."""
    running = []

    def start(limit, **limits):
        def lower():
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

        running.append(Server(tmp_path / "data", limits, before=lower))
        return running[-1]

    yield start
    for server in running:
        server.stop()


@pytest.fixture
def connect():
    """Opens connections, which end with the test."""
    with ExitStack() as stack:

        def connect(server):
            found = urlsplit(server.address)
            address = found.hostname, found.port
            return stack.enter_context(socket.create_connection(address, timeout=5))

        yield connect


def asked(connection):
    connection.sendall(ASK)
    return connection.recv(65536)


def test_idle_clients_keep_nobody_out(few, connect):
    many = [connect(few) for _ in range(60)]
    assert b"200 OK" in asked(connect(few))
    assert few.ask("GET", "/healthz") == {"status": "ok"}
    for one in many[:40]:
        assert one.recv(1) == b""  # closed
    numbers = few.client.get("/metrics").text
    assert 'tamis_connections{state="refused"} 0' in numbers
    assert 'tamis_connections{state="ended"} 5' in numbers


def test_busy_clients_are_not_cut_off_and_others_told(few, connect):
    few.client.close()
    body = b"POST /v1/rerank HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"
    busy = [connect(few) for _ in range(8)]
    for one in busy:
        one.sendall(body)
    time.sleep(0.5)
    refused = connect(few)
    said = b""
    while piece := refused.recv(65536):
        said += piece
    assert said.startswith(b"HTTP/1.1 503")
    assert b"Retry-After: 1" in said.title()
    assert b'"overloaded"' in said
    for one in busy:
        one.sendall(b" " * 100)
        assert b" 400 " in one.recv(65536)[:20]
    assert b"200 OK" in asked(connect(few))


def found_within(server, name, word, seconds):
    end = time.monotonic() + seconds
    while not server.ask("GET", f"/v1/indexes/{name}/search?q={word}")["hits"]:
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def test_a_soft_limit_is_raised_to_the_hard_one(tmp_path):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def lower():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))

    server = Server(tmp_path / "data", {}, before=lower)
    try:
        limits = Path(f"/proc/{server.process.pid}/limits").read_text().splitlines()
        (line,) = (line for line in limits if line.startswith("Max open files"))
        assert line.split()[3] == str(hard)
    finally:
        server.stop()


def test_more_indexes_than_files_are_served_and_written(tmp_path):
    found = measure(tmp_path / "data", files=64, indexes=40)
    assert found["started"]["open_files"] <= found["empty"]["open_files"]
    assert found["most"]["open_files"] <= 64
    assert found["most"]["threads"] <= 64


def test_more_connections_than_files_stop_no_writer(limited, connect):
    server = limited(256)
    for name in "ab":
        server.fill(name, ["owl"])
    many = [connect(server) for _ in range(300)]
    for one in many:
        one.sendall(ASK)
    for turn in range(10):
        for name in "ab":
            server.ask("PUT", f"/v1/indexes/{name}/documents/{turn}", json={"text": f"heron{turn}"})
        time.sleep(0.1)
    for one in many:
        one.close()
    for name in "ab":
        assert found_within(server, name, "heron9", 30)
    assert server.ask("GET", "/healthz") == {"status": "ok"}

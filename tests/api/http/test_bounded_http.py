"""What comes over a socket before any handler sees it: heads that are too large or never end."""

import socket
import threading
import time

import pytest
import uvicorn

from tamis.api import create_app
from tamis.api.http import bounded_http
from tamis.api.http.server import listen

LINE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def port(searchers):
    listener = listen("127.0.0.1", 0, guarded=False)
    config = uvicorn.Config(
        create_app(searchers), http=bounded_http.BoundedHttp, ws="none", log_config=None
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join()


def connect(port):
    connection = socket.create_connection(("127.0.0.1", port))
    connection.settimeout(30)
    return connection


def answers(connection, pieces, pause_s=0.0):
    """What comes back until the server closes, or says nothing more for a while."""
    for piece in pieces:
        try:
            connection.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            break
        time.sleep(pause_s)
    received = b""
    try:
        while part := connection.recv(1 << 16):
            received += part
    except ConnectionResetError:
        received += b"<reset>"
    return received


CLOSE = b"Connection: close\r\n\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        [LINE + CLOSE],
        [LINE, CLOSE],
        [bytes([byte]) for byte in LINE + CLOSE],
        [LINE + b"X: " + b"a" * (bounded_http.HEAD_BYTES - 200) + b"\r\n" + CLOSE],
        [LINE + b"\r\n" + LINE + CLOSE],  # two requests at once
        [LINE + b"\r\n" + LINE[:9], LINE[9:] + CLOSE],
    ],
)
def test_heads_of_any_pieces_are_answered(port, pieces):
    with connect(port) as connection:
        received = answers(connection, pieces)
    assert received.startswith(b"HTTP/1.1 200 OK")
    assert received.count(b'{"status":"ok"}') == b"".join(pieces).count(LINE[:9])


@pytest.mark.parametrize(
    "endless",
    [
        lambda: (b"X-%d: %s\r\n" % (at, b"a" * 9000) for at in range(100_000)),
        lambda: (b"a" * 9000 for _ in range(100_000)),
        lambda: (b"X: a\r\n" * 1500 for _ in range(100_000)),
        lambda: [b"X: " + b"a" * (1 << 20) + b"\r\n\r\n"],
        lambda: [b"X: a\r\n" * 40_000 + b"\r\n"],
    ],
)
@pytest.mark.parametrize("start", [LINE, LINE + b"X: "])
def test_a_head_without_end_is_refused_before_it_is_large(port, start, endless):
    sent = 0

    def counted():
        nonlocal sent
        yield start
        for piece in endless():
            sent += len(piece)
            yield piece

    with connect(port) as connection:
        received = answers(connection, counted())
    assert received.startswith(b"HTTP/1.1 400") or received == b"<reset>"
    assert sent < 16 << 20  # what sockets hold beside


@pytest.mark.parametrize("pieces", [[], [LINE], [LINE + b"\r\n", LINE[:7]]])
def test_a_head_that_does_not_come_is_waited_for_no_longer(port, monkeypatch, pieces):
    monkeypatch.setattr(bounded_http, "HEAD_WITHIN_S", 0.2)
    with connect(port) as connection:
        began = time.monotonic()
        received = answers(connection, pieces, pause_s=0.05)
        assert time.monotonic() - began < 10
    assert received.count(b"HTTP/1.1") == (LINE + b"\r\n" in pieces)


def test_a_slow_body_is_not_a_slow_head(port, monkeypatch):
    monkeypatch.setattr(bounded_http, "HEAD_WITHIN_S", 0.2)
    body = b'{"query": "owl"}'
    head = b"POST /v1/indexes/words/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n"
    pieces = [head % len(body) + CLOSE, body[:5], body[5:]]
    with connect(port) as connection:
        received = answers(connection, pieces, pause_s=0.3)
    assert received.startswith(b"HTTP/1.1 200 OK")


def test_there_are_no_websockets(port):
    upgrade = b"Upgrade: websocket\r\nConnection: Upgrade, close\r\nSec-WebSocket-Version: 13\r\n"
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    with connect(port) as connection:
        received = answers(connection, [LINE + upgrade + key])
    assert b" 101 " not in received


def test_a_body_that_goes_on_after_its_answer_ends_the_connection(port, monkeypatch):
    monkeypatch.setattr(bounded_http, "BODY_WITHIN_S", 0.2)
    head = LINE + b"Content-Length: 100000\r\n\r\n"
    with connect(port) as connection:
        received = answers(connection, [head, *[b"x"] * 20], pause_s=0.05)
    assert received.startswith(b"HTTP/1.1 200 OK")


def test_a_body_that_ends_soon_after_its_answer_keeps_the_connection(port, monkeypatch):
    monkeypatch.setattr(bounded_http, "BODY_WITHIN_S", 0.2)
    head = LINE + b"Content-Length: 10\r\n\r\n"
    with connect(port) as connection:
        for piece in (head, b"x" * 10):
            connection.sendall(piece)
            time.sleep(0.05)
        time.sleep(0.4)
        received = answers(connection, [LINE + CLOSE])
    assert received.count(b"HTTP/1.1 200 OK") == 2


PAGE = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n"
PAGES = 400  # far more than the sockets of both sides hold


def read_pages(port, first_s=0.0, pause_s=0.0):
    """Bytes of many answers, read after a while and with pauses, and whether all came."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        connection.settimeout(30)
        connection.connect(("127.0.0.1", port))
        connection.sendall((PAGE + b"\r\n") * (PAGES - 1) + PAGE + CLOSE)
        received = 0
        time.sleep(first_s)
        while True:
            time.sleep(pause_s)
            try:
                part = connection.recv(1 << 20)
            except ConnectionResetError:
                return received, False
            if not part:
                return received, True
            received += len(part)


def test_a_client_that_does_not_read_is_left(port, monkeypatch):
    whole, _ = read_pages(port)
    monkeypatch.setattr(bounded_http, "READ_WITHIN_S", 0.3)
    received, _ = read_pages(port, first_s=3.0)
    assert received < whole


def test_a_client_that_reads_slowly_but_steadily_gets_all(port, monkeypatch):
    whole, _ = read_pages(port)
    monkeypatch.setattr(bounded_http, "READ_WITHIN_S", 0.3)
    received, ended = read_pages(port, pause_s=0.001)
    assert (received, ended) == (whole, True)

"""A load for an HTTP server: many connections, raw sockets, one thread. Knows nothing of Tamis.

Clients are closed: each sends its next request when it has the answer to its last, unless a rate
is asked for; then each sends on a schedule, and latency counts from when a request was due, so
that a server that stalls cannot hide it.
"""

from __future__ import annotations

import selectors
import socket
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import cycle
from time import perf_counter
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

RECEIVE_BYTES = 1 << 18
LONGEST_WAIT_S = 0.1
_END = b"\r\n\r\n"
_LENGTH = b"content-length: "


@dataclass
class Load:
    """What a load found.

    Attributes:
        seconds: it lasted.
        statuses: answers by status; 0 for a connection that broke.
        latencies_ms: of answers with 200, in the order they came, from when they were due.
        waits_ms: of the same, from when they were asked for.
    """

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies_ms: list[float] = field(default_factory=list)
    waits_ms: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """Requests answered with 200, a second."""
        return self.statuses[200] / self.seconds

    def quantile_ms(self, share: float) -> float:
        """The latency that this share of all answers stays below."""
        return quantile(self.latencies_ms, share)


def quantile(values: Sequence[float], share: float) -> float:
    """What this share of some values stays below; 0 for none."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0


def request_bytes(address: str, path: str, body: bytes, headers: Mapping[str, str] = {}) -> bytes:
    """A POST request as it goes over the wire."""
    lines = {
        "Host": urlsplit(address).netloc,
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def apply_load(
    address: str,
    requests: Sequence[bytes],
    *,
    clients: int,
    seconds: float,
    per_second: float | None = None,
) -> Load:
    """Send requests, over and over.

    Args:
        address: of the server, ``http://host:port``.
        requests: of `request_bytes`; sent in turn.
        clients: connections.
        seconds: to go on for; requests under way are then waited for.
        per_second: requests to send a second over all connections; None for as many as can be.
    """
    found, selector = Load(), selectors.DefaultSelector()
    began, stream = perf_counter(), cycle(requests)
    end = began + seconds
    gap = 0.0 if per_second is None else clients / per_second
    idle = [_Client(address, stream, gap, began + gap * n / clients) for n in range(clients)]
    for client in idle:
        selector.register(client.socket, selectors.EVENT_READ, client)
    heapify(idle)
    while selector.get_map():
        now = perf_counter()
        while idle and (idle[0].due <= now or now >= end):
            client = heappop(idle)
            if now >= end:
                selector.unregister(client.socket)
                client.socket.close()
            else:
                client.send()
        wait_s = max(0.0, min(idle[0].due, end) - perf_counter()) if idle else LONGEST_WAIT_S
        for key, _ in selector.select(wait_s):
            client = key.data
            asked = client.asked
            if client.receive(found):
                heappush(idle, client)
            elif client.broken:
                selector.unregister(client.socket)
                client.socket.close()
                client.connect()
                selector.register(client.socket, selectors.EVENT_READ, client)
                if asked:  # else the server let go of one that is among the idle already
                    heappush(idle, client)
    found.seconds = perf_counter() - began
    selector.close()
    return found


class _Client:
    """One connection."""

    socket: socket.socket

    def __init__(self, address: str, stream: Iterator[bytes], gap: float, first: float) -> None:
        parts = urlsplit(address)
        self._address = parts.hostname, parts.port
        self._stream, self._gap, self.due = stream, gap, first
        self._data = bytearray()
        self.connect()

    def connect(self) -> None:
        """Begin again, with nothing asked."""
        self.socket = socket.create_connection(self._address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.broken = False
        self._asked = 0.0  # when latency began to count; 0 while nothing is asked
        self._data.clear()
        self._wanted = 0  # bytes of the answer; 0 while its head is not here

    @property
    def asked(self) -> bool:
        """Whether an answer is waited for."""
        return self._asked > 0

    def __lt__(self, other: _Client) -> bool:
        return self.due < other.due

    def send(self) -> None:
        """Ask for the next."""
        self._asked = perf_counter()
        with suppress(ConnectionError):  # `receive` will find it broken
            self.socket.sendall(next(self._stream))

    def receive(self, found: Load) -> bool:
        """Take what has come; whether that ends an answer."""
        data = b""
        with suppress(ConnectionError):
            data = self.socket.recv(RECEIVE_BYTES)
        if not data:
            found.statuses[0] += self.asked
            self.broken = True
            return False
        self._data += data
        if not self._wanted:
            self._read_head()
        if not self._wanted or len(self._data) < self._wanted:
            return False
        self._finish(found)
        return True

    def _read_head(self) -> None:
        end = self._data.find(_END)
        if end >= 0:
            head = bytes(self._data[:end]).lower()
            at = head.index(_LENGTH) + len(_LENGTH)
            self._wanted = end + len(_END) + int(head[at:].split(b"\r\n", 1)[0])

    def _finish(self, found: Load) -> None:
        now, status = perf_counter(), int(self._data[9:12])
        found.statuses[status] += 1
        if status == 200:
            began = self.due if self._gap else self._asked
            found.latencies_ms.append(1000 * (now - began))
            found.waits_ms.append(1000 * (now - self._asked))
        self._data.clear()
        self._wanted, self._asked = 0, 0.0
        self.due = self.due + self._gap if self._gap else now

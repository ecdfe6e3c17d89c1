"""Clients of a bad day, as a process of its own with the lowest priority.

    attackers.py ADDRESS KEY SEED SECONDS

Prints, as a line of JSON, how often each kind of request was answered with which status and code;
0 is a connection that the server has closed.
"""

import json
import os
import random
import socket
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

import httpx

HOLD_S = 1.0  # that connections and bodies are kept without a word


class Attackers:
    """Ways to be a burden; each is one call, and tells what came of it."""

    def __init__(self, address, key, seed):
        where = urlsplit(address)
        self._place = where.hostname, where.port
        self._key, self._rng = key, random.Random(seed)
        headers = {"Authorization": f"Bearer {key}"}
        self._http = httpx.Client(base_url=address, timeout=60, headers=headers)
        self.kinds = (
            *(self.connections, self.bodies, self.batches, self.large_filters, self.followers),
            *(self.strangers, self.nonsense, self.unread, self.streams),
        )

    def _ask(self, method, path, **options):
        try:
            answer = self._http.request(method, f"/v1/{path}", **options)
        except httpx.TransportError:
            return "0"
        return _told(answer.status_code, answer.content)

    def connections(self):
        """Sixty that say nothing."""
        with ExitStack() as stack:
            with suppress(OSError):
                for _ in range(60):
                    stack.enter_context(socket.create_connection(self._place, timeout=5))
            time.sleep(HOLD_S)
        return "0"

    def bodies(self):
        """Ten that never end."""
        head = self._head("POST", "indexes/other/documents", 8 << 20)
        with ExitStack() as stack:
            with suppress(OSError):
                for _ in range(10):
                    one = stack.enter_context(socket.create_connection(self._place, timeout=5))
                    one.sendall(head + b'{"_id": "x", "text": "' + b"owl " * 50_000)
            time.sleep(HOLD_S)
        return "0"

    def batches(self):
        queries = [" ".join(f"w{self._rng.randrange(500)}" for _ in range(20)) for _ in range(64)]
        body = {"queries": queries, "k": 60, "explain": True, "highlight": True, "timeout_ms": 2000}
        return self._ask("POST", "indexes/long/search/batch", json=body)

    def large_filters(self):
        """Thousands of values, more than are allowed."""
        values = [str(number) for number in range(self._rng.choice((50, 5000, 50_000)))]
        body = {"query": "owl", "filter": {"field": "kind", "in": values}}
        return self._ask("POST", "indexes/long/search", json=body)

    def followers(self):
        """Two hundred that follow a task; 16 may."""
        head = self._head("GET", "tasks/1/events", 0)
        with ExitStack() as stack:
            with suppress(OSError):
                for _ in range(200):
                    one = stack.enter_context(socket.create_connection(self._place, timeout=5))
                    one.sendall(head)
            time.sleep(HOLD_S)
        return "0"

    def strangers(self):
        headers = {"Authorization": "Bearer another-key-than-it-has"}
        return self._ask("GET", "indexes/long", headers=headers)

    def nonsense(self):
        body = bytes(self._rng.randrange(256) for _ in range(200))
        return self._ask("POST", "indexes/long/search", content=body)

    def unread(self):
        """An answer that is asked for and left."""
        body = json.dumps({"query": "owl", "k": 500}).encode()
        with suppress(OSError), socket.create_connection(self._place, timeout=5) as one:
            one.sendall(self._head("POST", "indexes/long/search", len(body)) + body)
            time.sleep(HOLD_S)
        return "0"

    def streams(self):
        """Documents that come and go under ids of their own."""
        lines = (
            json.dumps({"_id": f"n{self._rng.randrange(2000)}", "text": f"owl w{number}"})
            for number in range(500)
        )
        return self._ask("POST", "indexes/long/documents", content="\n".join(lines))

    def _head(self, method, path, length):
        return (
            f"{method} /v1/{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self._key}"
            f"\r\nContent-Length: {length}\r\n\r\n"
        ).encode()


def _told(status, body):
    """A status, and the code of a problem."""
    if status < 400:
        return str(status)
    try:
        return f"{status} {json.loads(body)['code']}"
    except (ValueError, KeyError):
        return f"{status} without a code"


def main(address, key, seed, seconds):
    os.nice(19)
    end, found, counting = time.monotonic() + float(seconds), Counter(), threading.Lock()

    def attack(number):
        attackers = Attackers(address, key, f"{seed} {number}")
        rng = random.Random(f"{seed} kind {number}")
        while time.monotonic() < end:
            kind = rng.choice(attackers.kinds)
            told = kind()
            with counting:
                found[f"{kind.__name__} {told}"] += 1

    threads = [threading.Thread(target=attack, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.stdout.write(json.dumps(dict(sorted(found.items()))) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

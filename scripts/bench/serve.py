"""`tamis bench serve`: what HTTP costs over the library, what a server bears, what too much does.

The server is a process of its own, the load another; both share the machine. A server is only
timed once its answers are those of the library, scores included.
"""

from __future__ import annotations

import signal
from contextlib import contextmanager
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import httpx
import orjson

from tamis.eval.provenance import provenance
from tamis.index.errors import InputError
from tamis.index.segment.plain_search import import_loops
from tamis.retriever.answers import search_answers
from tamis.retriever.search_options import SearchOptions
from tamis.retriever.searcher import Searcher
from tamis.scripts.bench.http_load import Load, apply_load, quantile, request_bytes
from tamis.scripts.children import start_child

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SEED = 0
NAME = "bench"
GATE_QUERIES = 100
LIBRARY_QUERIES = 1000
MOST_QUERIES = 5000
WARM_S = 1.0
OVERLOAD = 5.0
OVERLOAD_CLIENTS = 512
PAUSE_S = 1.0


def measure_serve(
    folder: Path,
    queries: Path,
    *,
    clients: Sequence[int],
    seconds: float,
    k: int = 10,
    peer: str | None = None,
    peer_body: str | None = None,
) -> dict[str, Any]:
    """Measure a server of one index under text queries.

    Args:
        folder: of `tamis index`.
        queries: JSON lines with ``text``, as BEIR's ``queries.jsonl``.
        clients: connections, one measurement each.
        seconds: of one measurement.
        k: hits of a query.
        peer: URL of another server's search, measured in the same way; ``{query}`` in it stands
            for the text.
        peer_body: JSON to post there, ``{query}`` standing for the text as a JSON string.

    Raises:
        InputError: there are no queries, or the server answers other than the library.
    """
    import_loops()
    texts = read_texts(queries)
    searcher = Searcher.open(folder)
    library = _library(searcher, texts[:LIBRARY_QUERIES], k)
    with served(f"{NAME}={folder}") as address:
        _gate(address, searcher, texts[:GATE_QUERIES], k)
        requests = [search_request(address, text, k) for text in texts]
        apply_load(address, requests, clients=4, seconds=WARM_S)
        rows = [
            _row("tamis", number, apply_load(address, requests, clients=number, seconds=seconds))
            for number in clients
        ]
        most = max(row["requests_per_s"] for row in rows)
        overload = _overload(address, requests, most, seconds)
    if peer is not None:
        requests = _peer_requests(peer, peer_body, texts)
        address = peer[: peer.index("/", len("https://"))]
        apply_load(address, requests, clients=4, seconds=WARM_S)
        rows += [
            _row(address, number, apply_load(address, requests, clients=number, seconds=seconds))
            for number in clients
        ]
    encoder = searcher.collection.settings.encoder
    return {
        "provenance": provenance(SEED),
        "documents": len(searcher.collection),
        "encoder": encoder.name if encoder is not None else None,
        "queries": len(texts),
        "k": k,
        "seconds": seconds,
        "library": library,
        "http_overhead_p50_ms": round(rows[0]["p50_ms"] - library["p50_ms"], 3),
        "load": rows,
        "overload": overload,
    }


def read_texts(path: Path) -> list[str]:
    """The texts of queries; raises InputError where there are none."""
    try:
        lines = path.read_bytes().splitlines()
        texts = [orjson.loads(line)["text"] for line in lines[:MOST_QUERIES] if line.strip()]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f'{path}: expected a query such as {{"text": "..."}} a line, found none ({error}); '
            "give BEIR's queries.jsonl"
        ) from error
    if not texts:
        raise InputError(f"{path}: expected queries, found an empty file; give another")
    return texts


def _library(searcher: Searcher, texts: Sequence[str], k: int) -> dict[str, Any]:
    """One query after the other in this process, the answer written as JSON."""
    took_ms = []
    for text in (*texts[:10], *texts):
        began = perf_counter()
        orjson.dumps(search_answers(searcher, [text], SearchOptions(k=k)))
        took_ms.append(1000 * (perf_counter() - began))
    found = Load(sum(took_ms[10:]) / 1000, latencies_ms=took_ms[10:])
    return {"p50_ms": round(found.quantile_ms(0.5), 3), "p99_ms": round(found.quantile_ms(0.99), 3)}


@contextmanager
def served(*arguments: str) -> Iterator[str]:
    """A server on a free port, as its users start it, of what is named; gives the address."""
    process = start_child("serve", *arguments, "--port", "0", "--json")
    assert process.stdout is not None
    try:
        yield orjson.loads(process.stdout.readline())["address"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()


def _gate(address: str, searcher: Searcher, texts: Sequence[str], k: int) -> None:
    for text in texts:
        answer = httpx.post(f"{address}{_path()}", json={"query": text, "k": k}).json()
        found = [(hit["id"], hit["score"]) for hit in answer["hits"]]
        (result,) = searcher.search([text], k)
        if found != [(hit.doc_id, hit.score) for hit in result.hits]:
            raise InputError(
                f"expected the server to find for {text!r} what the library finds, found "
                f"{found[:3]}; no speed is worth measuring"
            )


def _path() -> str:
    return f"/v1/indexes/{NAME}/search"


def search_request(address: str, text: str, k: int) -> bytes:
    """A search for a text as it goes over the wire."""
    return request_bytes(address, _path(), orjson.dumps({"query": text, "k": k}))


def _row(server: str, clients: int, load: Load) -> dict[str, Any]:
    return {
        "server": server,
        "clients": clients,
        "requests_per_s": round(load.per_second, 1),
        "p50_ms": round(load.quantile_ms(0.5), 3),
        "p99_ms": round(load.quantile_ms(0.99), 3),
        "statuses": {str(status): count for status, count in sorted(load.statuses.items())},
    }


def _overload(
    address: str, requests: Sequence[bytes], most: float, seconds: float
) -> dict[str, Any]:
    """Five times what the server bears, on a schedule; then half of it, to see it recover."""
    asked = OVERLOAD * most
    over = apply_load(
        address, requests, clients=OVERLOAD_CLIENTS, seconds=seconds, per_second=asked
    )
    sleep(PAUSE_S)
    after = apply_load(address, requests, clients=16, seconds=seconds, per_second=most / 2)
    return {
        "asked_per_s": round(asked, 1),
        "over": _row("tamis", OVERLOAD_CLIENTS, over),
        "accepted_p99_ms": round(quantile(over.waits_ms, 0.99), 3),
        "after_at_half": _row("tamis", 16, after),
    }


def _peer_requests(url: str, body: str | None, texts: Sequence[str]) -> list[bytes]:
    parts = urlsplit(url)
    path = url[url.index(parts.netloc) + len(parts.netloc) :]
    if body is None:
        tail = f" HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n"
        return [f"GET {path.replace('{query}', quote(text))}{tail}".encode() for text in texts]
    return [
        request_bytes(url, path, body.replace("{query}", orjson.dumps(text).decode()).encode())
        for text in texts
    ]

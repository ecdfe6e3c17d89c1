"""`tamis bench shards`: what a broker costs over its shards, and what it bears beside one server.

All servers, the broker and the load share the machine. The broker is timed once it finds what the
library finds in one index. Each turn measures every server, one after the other.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import httpx
import msgspec

from tamis.api.broker.shard_map import read_shard_map
from tamis.api.broker.splitting import MAP, as_toml, split_index
from tamis.eval.provenance import provenance
from tamis.index.errors import InputError
from tamis.index.segment.plain_search import import_loops
from tamis.retriever.searcher import Searcher
from tamis.scripts.bench.http_load import apply_load
from tamis.scripts.bench.serve import GATE_QUERIES, NAME, SEED, read_texts, search_request, served

if TYPE_CHECKING:
    from collections.abc import Sequence

WARM_S = 1.0
CLOSE = 1e-5  # scores may differ by so much of them


def measure_shards(
    folder: Path,
    queries: Path,
    *,
    shards: int,
    clients: int,
    seconds: float,
    turns: int,
    k: int = 10,
) -> dict[str, Any]:
    """Measure a broker and its shards beside one server of the same index.

    Args:
        folder: of `tamis index`.
        queries: JSON lines with ``text``.
        shards: how many.
        clients: connections under load.
        seconds: of one measurement.
        turns: measurements of each, whose median counts.
        k: hits of a query.

    Raises:
        InputError: there are no queries, or the broker finds other than one index.
    """
    import_loops()
    texts = read_texts(queries)
    searcher = Searcher.open(folder)
    with ExitStack() as running:
        place = Path(running.enter_context(TemporaryDirectory()))
        split_index(folder, place / "shards", shards, NAME)
        shard_map = read_shard_map(place / "shards" / MAP)
        servers = {
            one.name: running.enter_context(served("--data", str(place / "shards" / one.name)))
            for one in shard_map.shards
        }
        places = [
            msgspec.structs.replace(one, addresses=[servers[one.name]]) for one in shard_map.shards
        ]
        shard_map = msgspec.structs.replace(shard_map, shards=places)
        (place / MAP).write_text(as_toml(shard_map), encoding="utf-8")
        servers["broker"] = running.enter_context(served("--broker", str(place / MAP)))
        servers["one server"] = running.enter_context(served(f"{NAME}={folder}"))
        _gate(servers["broker"], searcher, texts[:GATE_QUERIES], k)
        alone = _measured(servers, texts, k, 1, seconds, turns)
        both = {name: servers[name] for name in ("broker", "one server")}
        load = _measured(both, texts, k, clients, seconds, turns)
    slowest = max(row["p50_ms"] for row in alone if row["server"] not in both)
    by_name = {row["server"]: row["requests_per_s"] for row in load}
    return {
        "provenance": provenance(SEED),
        "documents": len(searcher.collection),
        "shards": shards,
        "clients": clients,
        "seconds": seconds,
        "turns": turns,
        "k": k,
        "alone": alone,
        "goal_p50_ms": round(1.2 * slowest + 0.5, 3),
        "load": load,
        "share": round(by_name["broker"] / by_name["one server"], 3),
    }


def _measured(
    servers: dict[str, str],
    texts: Sequence[str],
    k: int,
    clients: int,
    seconds: float,
    turns: int,
) -> list[dict[str, Any]]:
    """The medians over some turns, in each of which all servers are asked one after the other."""
    requests = {
        name: [search_request(address, text, k) for text in texts]
        for name, address in servers.items()
    }
    found: dict[str, list[Any]] = {name: [] for name in servers}
    for turn in range(turns + 1):
        for name, address in servers.items():
            lasting = seconds if turn else WARM_S
            load = apply_load(address, requests[name], clients=clients, seconds=lasting)
            if set(load.statuses) != {200}:
                raise InputError(f"{name}: expected answers with 200, found {dict(load.statuses)}")
            if turn:
                found[name].append(load)
    return [
        {
            "server": name,
            "p50_ms": round(median(one.quantile_ms(0.5) for one in loads), 3),
            "p99_ms": round(median(one.quantile_ms(0.99) for one in loads), 3),
            "requests_per_s": round(median(one.per_second for one in loads), 1),
        }
        for name, loads in found.items()
    ]


def _gate(address: str, searcher: Searcher, texts: Sequence[str], k: int) -> None:
    """Refuse to time a broker whose exact hits have other scores than those of one index."""
    for text in texts:
        body = {"query": text, "k": k, "exact": True}
        answer = httpx.post(f"{address}/v1/indexes/{NAME}/search", json=body).json()
        found = [hit["score"] for hit in answer["hits"]]
        (result,) = searcher.search([text], k, exact=True)
        wanted = [hit.score for hit in result.hits]
        pairs = zip(found, wanted, strict=False)
        if len(found) != len(wanted) or any(abs(a - b) > CLOSE * b for a, b in pairs):
            raise InputError(
                f"expected the broker to find for {text!r} what one index has, found scores "
                f"{found[:3]} for {wanted[:3]}; no speed is worth measuring"
            )

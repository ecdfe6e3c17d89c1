"""How long searches of 1 to 64 shards take, simulated from measured times of one.

    python scripts/dev/simulate_shards.py DIR --queries FILE --out RESULT.json

DIR is an index as large as one shard. Each query is answered some times in this process, and the
processor time of each is kept. A shard that answers it in the simulation takes one of these times,
drawn for itself: a slow query is slow on all shards, and each run of it varies as was measured.

Queries come at random (Poisson), so many that each server is busy for a share of its time. A
server answers as many at once as it has threads, the others wait in their order. Each shard has
two replicas, the less busy of which is asked. A search has its answer when all shards have. Where
hedged, the other replica is asked too once 19 of 20 answers of a shard would be there, for no more
than one query in ten, as the broker does; what is asked twice is done twice, and nothing is taken
back. `unbounded` leaves that bound out.

Two cases: `measured`, and `pauses`, where one call in a hundred takes 20 ms longer on the server
that it is on. That is no measurement: it stands for merges, collections of garbage, and other
programs. The network and the broker are left out.
"""

from __future__ import annotations

import argparse
import heapq
import json
from pathlib import Path
from time import thread_time
from typing import TYPE_CHECKING, Any

import numpy as np

from tamis.api.broker.replicas import HEDGE_AFTER, HEDGE_SHARE, MOST_SAVED
from tamis.eval.provenance import provenance
from tamis.index.segment.plain_search import import_loops
from tamis.retriever.answers import search_answers
from tamis.retriever.search_options import SearchOptions
from tamis.retriever.searcher import Searcher

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Milliseconds = NDArray[np.float64]

SEED = 0
SHARDS = (1, 2, 4, 8, 16, 32, 64)
BUSY = (0.2, 0.5)  # shares of a server's time
THREADS = 2  # of a server
REPLICAS = 2
QUERIES, REPEATS = 300, 20  # measured
ARRIVALS, LEFT_OUT = 20_000, 1_000  # simulated; the first ones meet idle servers
PAUSE_SHARE, PAUSE_MS = 0.01, 20.0


def measured(folder: Path, texts: Sequence[str]) -> Milliseconds:
    """The processor time ``[queries, repeats]`` that answers take, written as JSON or not."""
    import_loops()
    searcher = Searcher.open(folder)
    found = np.empty((len(texts), REPEATS))
    for repeat in range(-1, REPEATS):  # the first is not kept
        for query, text in enumerate(texts):
            began = thread_time()
            search_answers(searcher, [text], SearchOptions())
            if repeat >= 0:
                found[query, repeat] = 1000 * (thread_time() - began)
    return found


def arrivals(rng: np.random.Generator, mean_ms: float, busy: float) -> Milliseconds:
    """When queries come, so that each server is busy for a share of its time without hedging."""
    gap_ms = mean_ms / (busy * THREADS * REPLICAS)
    return np.cumsum(rng.exponential(gap_ms, ARRIVALS))


def one_shard(
    at_ms: Milliseconds,
    takes_ms: Milliseconds,
    hedge_ms: float | None,
    hedge_share: float = HEDGE_SHARE,
) -> tuple[Milliseconds, int]:
    """When a shard has answered each query, and how many were asked twice.

    Args:
        at_ms: ``[queries]``, when they come, rising.
        takes_ms: ``[queries, REPLICAS]``, how long each replica would work on each.
        hedge_ms: after which the other replica is asked; None never.
        hedge_share: of all queries, that may be asked twice.
    """
    free: list[list[float]] = [[0.0] * THREADS for _ in range(REPLICAS)]
    answered, first = np.full(at_ms.size, np.inf), np.zeros(at_ms.size, np.int64)
    asked_twice, later, saved = 0, list[tuple[float, int]](), MOST_SAVED

    def work(now: float, query: int, replica: int) -> None:
        begin = max(now, heapq.heappop(free[replica]))
        end = begin + float(takes_ms[query, replica])
        heapq.heappush(free[replica], end)
        answered[query] = min(answered[query], end)

    def ask_again(now: float) -> int:
        nonlocal saved
        twice = 0
        while later and later[0][0] <= now:
            then, late = heapq.heappop(later)
            if answered[late] > then and saved >= 1:
                twice, saved = twice + 1, saved - 1
                work(then, late, 1 - int(first[late]))
        return twice

    for query, now in enumerate(at_ms.tolist()):
        asked_twice += ask_again(now)
        saved = min(saved + hedge_share, MOST_SAVED)
        first[query] = min(range(REPLICAS), key=lambda one: free[one][0])
        work(now, query, int(first[query]))
        if hedge_ms is not None:
            heapq.heappush(later, (now + hedge_ms, query))
    return answered, asked_twice + ask_again(np.inf)


def simulate(times_ms: Milliseconds, shards: int, busy: float, *, pauses: bool) -> dict[str, Any]:
    """The latencies of searches over so many shards, with and without hedging."""
    rng = np.random.default_rng(SEED)
    mean_ms = float(times_ms.mean()) + (PAUSE_SHARE * PAUSE_MS if pauses else 0.0)
    at_ms = arrivals(rng, mean_ms, busy)
    queries = rng.integers(0, times_ms.shape[0], ARRIVALS)
    ends = {name: at_ms.copy() for name in ("plain", "hedged", "unbounded")}
    twice = 0
    for _ in range(shards):
        repeats = rng.integers(0, times_ms.shape[1], (ARRIVALS, REPLICAS))
        takes_ms = times_ms[queries[:, None], repeats]
        if pauses:
            takes_ms = takes_ms + PAUSE_MS * (rng.random(takes_ms.shape) < PAUSE_SHARE)
        plain, _ = one_shard(at_ms, takes_ms, None)
        hedge_ms = float(np.quantile(plain - at_ms, HEDGE_AFTER))
        hedged, doubled = one_shard(at_ms, takes_ms, hedge_ms)
        unbounded, _ = one_shard(at_ms, takes_ms, hedge_ms, 1.0)
        twice += doubled
        for name, of_shard in (("plain", plain), ("hedged", hedged), ("unbounded", unbounded)):
            ends[name] = np.maximum(ends[name], of_shard)
    case = "pauses" if pauses else "measured"
    row: dict[str, Any] = {"shards": shards, "busy": busy, "times": case}
    for name, end in ends.items():
        latencies = (end - at_ms)[LEFT_OUT:]
        for share in (0.5, 0.99):
            row[f"{name}_p{share * 100:.0f}_ms"] = round(float(np.quantile(latencies, share)), 3)
    return {**row, "asked_twice": round(twice / (shards * ARRIVALS), 4)}


def main() -> None:
    """Measure, simulate, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, metavar="DIR", help="as large as one shard")
    parser.add_argument("--queries", type=Path, required=True, help="JSON lines with a text each")
    parser.add_argument("--out", type=Path, required=True, help="JSON to write")
    given = parser.parse_args()
    lines = given.queries.read_text("utf-8").splitlines()[:QUERIES]
    times_ms = measured(given.folder, [json.loads(line)["text"] for line in lines])
    rows = [
        simulate(times_ms, shards, busy, pauses=pauses)
        for pauses in (False, True)
        for busy in BUSY
        for shards in SHARDS
    ]
    report = {
        "provenance": provenance(SEED),
        "documents": len(Searcher.open(given.folder).collection),
        "processor_ms": {
            f"p{share}": round(float(np.quantile(times_ms, share / 100)), 3) for share in (50, 99)
        },
        "threads": THREADS,
        "replicas": REPLICAS,
        "pauses": {"share": PAUSE_SHARE, "ms": PAUSE_MS, "origin": "assumed"},
        "rows": rows,
    }
    given.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()

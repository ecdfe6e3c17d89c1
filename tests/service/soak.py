"""Keeps a server busy for an hour and watches its memory: nothing may fail, nothing may grow.

    soak.py CORPUS QUERIES [--seconds 3600] [--warm 600] [--rate 150] [--out FILE]

The server is a process of its own with an index of the corpus. Requests come on a schedule,
whether or not the last one is answered: searches, batches, documents by id, and writes that keep
the number of documents level. What memory is the process's own is told apart from pages of its
mapped files, which the system takes back when it wants them.
"""

import argparse
import gzip
import json
import random
import sys
import tempfile
from collections import Counter
from itertools import islice
from pathlib import Path
from statistics import median
from time import monotonic

from server_process import Server

from tamis.eval.provenance import provenance
from tamis.scripts.bench.http_load import apply_load, quantile, request_bytes

SEED = 0
CLIENTS = 8
SLICE_S = 10.0
SENT_AT_ONCE = 5000
NEW_IDS = 1000  # that documents come and go under
WRITTEN_AT_ONCE = 10
SEARCH = "/v1/indexes/soak/search"
DOCUMENTS = "/v1/indexes/soak/documents"
MEMORY = {"own_bytes": "RssAnon", "file_bytes": "RssFile", "all_bytes": "VmRSS"}


def read_lines(path):
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rb") as file:
        return [line.rstrip(b"\n") for line in file]


def fill(server, lines):
    """Make an index of words of a corpus's lines."""
    server.ask("PUT", "/v1/indexes/soak", json={"encoder": None})
    for first in range(0, len(lines), SENT_AT_ONCE):
        body = b"\n".join(lines[first : first + SENT_AT_ONCE])
        assert server.ask("POST", DOCUMENTS, content=body)["failed"] == 0
    server.ask("POST", f"{DOCUMENTS}?wait=searchable", content=lines[-1])


class Mix:
    """Requests without end: of a hundred, 88 search and the rest do all else."""

    def __init__(self, address, lines, texts):
        self._address, self._lines, self._texts = address, lines, texts
        self._rng = random.Random(SEED)
        self._turn = 0

    def __iter__(self):
        while True:
            yield from self._hundred()

    def _hundred(self):
        rng = self._rng
        found = [self._post(SEARCH, self._asked()) for _ in range(80)]
        found += [self._post(SEARCH, self._asked(explain=True)) for _ in range(4)]
        found += [self._post(SEARCH, self._asked(highlight=True)) for _ in range(4)]
        queries = rng.choices(self._texts, k=8)
        found.append(self._post(f"{SEARCH}/batch", {"queries": queries, "k": 10}))
        found += [self._get(json.loads(rng.choice(self._lines))["_id"]) for _ in range(8)]
        found += self._writes()
        rng.shuffle(found)
        return found

    def _asked(self, **options):
        return {"query": self._rng.choice(self._texts), "k": 10, **options}

    def _writes(self):
        """Some documents come, as many go, and one of the corpus is rewritten."""
        self._turn += WRITTEN_AT_ONCE
        written = (json.loads(line) for line in self._rng.choices(self._lines, k=WRITTEN_AT_ONCE))
        new = [{**one, "_id": self._new(at)} for at, one in enumerate(written)]
        body = "\n".join(map(json.dumps, new)).encode()
        gone = [self._new(at - NEW_IDS // 2) for at in range(WRITTEN_AT_ONCE)]
        yield request_bytes(self._address, DOCUMENTS, body)
        yield self._post(f"{DOCUMENTS}/delete", {"ids": gone})
        yield request_bytes(self._address, DOCUMENTS, self._rng.choice(self._lines))

    def _new(self, at):
        return f"new-{(self._turn + at) % NEW_IDS}"

    def _post(self, path, body):
        return request_bytes(self._address, path, json.dumps(body).encode())

    def _get(self, doc_id):
        host = self._address.partition("//")[2]
        return f"GET {DOCUMENTS}/{doc_id} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def soak(server, mix, *, seconds, warm, rate, tell=lambda found: None):
    """Send requests for so long; what came of them, and how memory went.

    Args:
        server: with an index `fill`ed.
        mix: requests without end.
        seconds: to watch memory for.
        warm: seconds before that.
        rate: requests a second.
        tell: called with what is found so far, now and then.
    """
    statuses, samples, latencies, began = Counter(), [], [], monotonic()
    stream = iter(mix)
    while not samples or samples[-1]["at_s"] < warm + seconds:
        slice_s = min(SLICE_S, seconds)
        requests = list(islice(stream, int(slice_s * rate) + 1))
        load = apply_load(
            server.address, requests, clients=CLIENTS, seconds=slice_s, per_second=rate
        )
        statuses += load.statuses
        latencies.append((quantile(load.latencies_ms, 0.5), quantile(load.latencies_ms, 0.99)))
        memory = {name: server.memory_bytes(what) for name, what in MEMORY.items()}
        samples.append({"at_s": round(monotonic() - began, 1), **memory})
        tell(summary(statuses, samples, latencies, warm))
    return summary(statuses, samples, latencies, warm)


def summary(statuses, samples, latencies, warm):
    """Figures of a soak; a drift is from the first sixth of the time after warming to the last."""
    watched = [one for one in samples if one["at_s"] > warm] or samples[-1:]
    part = max(1, len(watched) // 6)

    def drift(name):
        first = median(one[name] for one in watched[:part])
        last = median(one[name] for one in watched[-part:])
        return {"first": int(first), "last": int(last), "drift": round(last / first - 1, 5)}

    p50, p99 = zip(*latencies, strict=True)
    return {
        "seconds": round(watched[-1]["at_s"] - watched[0]["at_s"], 1),
        "warm_s": watched[0]["at_s"],
        "requests": sum(statuses.values()),
        "statuses": {str(status): count for status, count in sorted(statuses.items())},
        "failed": sum(count for status, count in statuses.items() if not 0 < status < 500),
        "p50_ms": round(median(p50), 3),
        "p99_ms": round(median(p99), 3),
        **{name: drift(name) for name in MEMORY},
        "samples": samples[:: max(1, len(samples) // 60)],
    }


def main():
    parser = argparse.ArgumentParser(description="An hour of requests.")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("queries", type=Path)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--warm", type=float, default=600)
    parser.add_argument("--rate", type=float, default=150)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    lines = read_lines(asked.corpus)
    texts = [json.loads(line)["text"] for line in read_lines(asked.queries)]
    origin = {**provenance(SEED), "documents": len(lines), "rate_per_s": asked.rate}

    def tell(found):
        if asked.out is not None:
            asked.out.write_text(json.dumps({"soak": {**origin, **found}}) + "\n")

    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "data", {})
        try:
            fill(server, lines)
            mix = Mix(server.address, lines, texts)
            found = soak(
                server, mix, seconds=asked.seconds, warm=asked.warm, rate=asked.rate, tell=tell
            )
        finally:
            server.stop()
    tell(found)
    sys.stdout.write(json.dumps({"soak": {**origin, **found}}) + "\n")


if __name__ == "__main__":
    main()

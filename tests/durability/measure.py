"""Measures living collections on this machine's disk, and writes eval/results/durability.json.

    measure.py OUT.json [--documents 64000] [--large 1000000] [--proofs PROOFS.jsonl]

Vectors are synthetic: terms by a power law, exponential weights. PROOFS.jsonl holds what the long
proofs counted; it is put beside the figures.
"""

import argparse
import json
import os
import signal
import statistics
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from tamis.eval.provenance import provenance
from tamis.index import Collection, CollectionWriter, SparseVectors
from tamis.index.generations.settings import CollectionSettings
from tamis.index.writing.creation import create_collection

VOCAB = 30_000
TEXT = "A passage of ordinary length says what it says in fifty words or so. " * 5
SEED = 7


def vectors(rng, rows, terms):
    """Rows of about so many distinct terms."""
    drawn = np.minimum(rng.pareto(0.6, (rows, terms)) * 20, VOCAB - 1).astype(np.int32)
    drawn.sort(axis=1)
    kept = np.ones_like(drawn, bool)
    kept[:, 1:] = drawn[:, 1:] != drawn[:, :-1]
    offsets = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
    weights = rng.exponential(1.0, int(offsets[-1])).astype(np.float32) + 0.01
    return SparseVectors(offsets.astype(np.int64), drawn[kept], weights, VOCAB)


def records(first, rows, text=TEXT):
    return [{"_id": f"d{number}", "text": text} for number in range(first, first + rows)]


def filled(path, documents, segments, terms=60, text=TEXT):
    """A collection of so many equal segments."""
    rng, rows = np.random.default_rng(SEED), documents // segments
    create_collection(path, vocab_size=VOCAB, settings=CollectionSettings())
    with CollectionWriter.open(path, merge=False) as writer:
        for first in range(0, documents, rows):
            for at in range(first, first + rows, 5000):
                count = min(5000, first + rows - at)
                writer.put(records(at, count, text), vectors(rng, count, terms), wait="none")
            writer.commit()
    return path


def quantiles(seconds):
    ms = sorted(1000 * value for value in seconds)
    at = {name: ms[min(int(share * len(ms)), len(ms) - 1)] for name, share in _SHARES.items()}
    return {name: round(value, 3) for name, value in at.items()}


_SHARES = {"p50_ms": 0.5, "p99_ms": 0.99}


def fsync(folder, count=100):
    """What the disk itself takes for 4 KiB."""
    handle, took = os.open(folder / "probe", os.O_WRONLY | os.O_CREAT), []
    for _ in range(count):
        os.write(handle, bytes(4096))
        began = time.perf_counter()
        os.fsync(handle)
        took.append(time.perf_counter() - began)
    os.close(handle)
    return quantiles(took)


def durable_writes(folder, writers, seconds=4.0):
    """Acknowledged one-document writes a second."""
    path = folder / f"writes-{writers}"
    create_collection(path, vocab_size=VOCAB, settings=CollectionSettings())
    batch, done = vectors(np.random.default_rng(SEED), 1000, 60), [0] * writers
    took, until = [], time.perf_counter() + seconds
    with CollectionWriter.open(path, merge=False) as writer:

        def work(thread):
            while (began := time.perf_counter()) < until:
                row = done[thread] % 1000
                name = f"{thread}-{done[thread]}"
                writer.put([{"_id": name, "text": TEXT}], batch.rows(row, row + 1))
                done[thread] += 1
                took.append(time.perf_counter() - began)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return {"writers": writers, "writes_per_s": round(sum(done) / seconds, 1), **quantiles(took)}


def visibility(path, count=30):
    """From the call of a searchable write to a reader that finds it."""
    reader, took = Collection.open(path), []
    batch = vectors(np.random.default_rng(SEED + 1), count, 60)
    with CollectionWriter.open(path, merge=False) as writer:
        for row in range(count):
            began = time.perf_counter()
            writer.put(records(10**9 + row, 1), batch.rows(row, row + 1), wait="searchable")
            newer = reader.refresh()
            assert newer.doc(f"d{10**9 + row}") is not None
            took.append(time.perf_counter() - began)
            reader.close()
            reader = newer
        writer.delete([f"d{10**9 + row}" for row in range(count)], wait="searchable")
    reader.close()
    return quantiles(took)


def search_us(path, queries, rounds=5):
    """Processor microseconds a query: the least of some rounds, exact and at recall 0.99."""
    with Collection.open(path) as collection:
        found = {}
        for name, exact in (("exact", True), ("recall_0.99", False)):
            took = []
            for _ in range(rounds):
                began = time.thread_time()
                collection.index.search(queries, 10, exact=exact)
                took.append(time.thread_time() - began)
            found[name] = round(1e6 * min(took) / len(queries), 1)
        return {
            **found,
            "size_bytes": collection.size_bytes,
            "segments": len(collection.index.parts),
        }


def slowdown(folder, documents):
    """Search over 1, 4 and 16 segments, and with a fifth deleted."""
    queries = vectors(np.random.default_rng(SEED + 2), 200, 25)
    rows = []
    for segments in (1, 4, 16):
        path = filled(folder / f"segments-{segments}", documents, segments)
        rows.append({"deleted": 0.0, **search_us(path, queries)})
        with CollectionWriter.open(path, merge=False) as writer:
            writer.delete([f"d{number}" for number in range(0, documents, 5)], wait="searchable")
        rows.append({"deleted": 0.2, **search_us(path, queries)})
    for row in rows:
        row["slowdown_exact"] = round(row["exact"] / rows[0]["exact"], 2)
        row["space"] = round(row["size_bytes"] / rows[0]["size_bytes"], 3)
    return rows


def merge(path):
    """Merge 16 segments with a fifth deleted, calibration of the result included."""
    with CollectionWriter.open(path, merge=False) as writer:
        began = time.perf_counter()
        writer.optimize()
        took_s = time.perf_counter() - began
        manifest = writer.index.manifest
    return {
        "documents": manifest.documents,
        "took_s": round(took_s, 2),
        "documents_per_s": round(manifest.documents / took_s),
        "written_bytes": manifest.size_bytes,
    }


def recovery(path, kills):
    """Opening for writing after kill -9 in the middle of writes that are in the log alone."""
    took, waiting, rng = [], [], np.random.default_rng(SEED + 3)
    batch = vectors(rng, 1000, 20)
    for number in range(kills):
        child = os.fork()
        if child == 0:
            writer = CollectionWriter.open(path, merge=False)
            for row in range(10**6):
                name = f"w{number}-{row}"
                writer.put([{"_id": name, "text": TEXT}], batch.rows(row % 1000, row % 1000 + 1))
        time.sleep(1.5 + 2 * rng.random())
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        began = time.perf_counter()
        writer = CollectionWriter.open(path, merge=False)
        took.append(time.perf_counter() - began)
        waiting.append(len(writer._pending.ids()))
        writer.close()
    return {"kills": kills, "waiting_writes": round(statistics.mean(waiting)), **quantiles(took)}


def added(before, figures):
    """Counts of several runs of one proof, put together; the largest of quantiles."""
    found = dict(before)
    for name, value in figures.items():
        both = (found.get(name, 0), value)
        found[name] = max(both) if name.endswith(("_ms", "ratio")) else sum(both)
    return found


def measure(folder, documents, large):
    found = {"fsync_of_4_KiB": fsync(folder)}
    found["durable_writes"] = [durable_writes(folder, writers) for writers in (1, 8, 32)]
    found["search"] = slowdown(folder, documents)
    found["visibility"] = visibility(folder / "segments-1")
    found["merge"] = merge(folder / "segments-16")
    filled(folder / "large", large, 4, terms=20, text="short")
    found["recovery"] = {"documents": large, **recovery(folder / "large", 20)}
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--documents", type=int, default=64_000)
    parser.add_argument("--large", type=int, default=1_000_000)
    parser.add_argument("--proofs", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), options.documents, options.large)
    proofs = {}
    for line in options.proofs.read_text().splitlines() if options.proofs else ():
        for name, figures in json.loads(line).items():
            proofs[name] = added(proofs.get(name, {}), figures)
    sizes = {"documents": options.documents, "vocab_size": VOCAB}
    report = {"provenance": provenance(SEED), **sizes, "measured": found, "proofs": proofs}
    options.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()

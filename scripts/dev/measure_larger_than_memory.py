"""Searches of a collection that is larger than the memory it may use.

    python scripts/dev/measure_larger_than_memory.py --out FILE.json

Makes a synthetic collection (`tamis bench search` draws the same), then asks it in processes of
their own, each in a control group that has a third of the collection's bytes for everything: the
program, its heap and the pages of files. Pages come one by one, as this build reads such a
collection, or with their neighbours, as a system does by itself. Beside it stands what this disk
takes for one read of 16 KiB that nobody had in memory. Needs Linux and root.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from tamis.eval.provenance import provenance
from tamis.index import Index, SparseVectors
from tamis.index.files import maps
from tamis.scripts.bench import search as shape
from tamis.scripts.bench.made_vectors import open_vectors, write_vectors
from tamis.scripts.bench.vectors import Topics

GROUPS = Path("/sys/fs/cgroup")
SHORT_TERMS, DRAWN_AT_ONCE = 8, 200_000
READ_BYTES, DISK_READS = 1 << 14, 500
RECALL = 0.95


def main(
    out: Annotated[Path, typer.Option(help="JSON file of the figures.")],
    folder: Annotated[Path | None, typer.Option(help="Keep the collection here.")] = None,
    documents: Annotated[int, typer.Option(min=1000)] = 2_000_000,
    share: Annotated[float, typer.Option(help="Of the collection's bytes that are memory.")] = 1
    / 3,
    seconds: Annotated[float, typer.Option(help="Each of warming up and of measuring.")] = 60,
) -> None:
    """Measure searches of a collection larger than memory."""
    with tempfile.TemporaryDirectory() as scratch:
        place = folder or Path(scratch)
        if not (place / "index" / "CURRENT").exists():
            make(place, documents)
        size_bytes = Index.open(place / "index", verify="lazy").manifest.size_bytes
        limit = int(size_bytes * share)
        result: dict[str, Any] = {"collection_bytes": size_bytes, "memory_bytes": limit}
        result["disk"] = disk(next((place / "index").rglob("records.entries")))
        result["rows"] = [
            asked_in_a_group(place, limit, seconds, kind, pages)
            for kind in ("short", "long")
            for pages in ("one by one", "with neighbours")
        ]
        result["provenance"] = provenance(shape.SEED)
        out.write_text(json.dumps(result, indent=1) + "\n")


def make(place: Path, documents: int) -> None:
    """Draw the collection and its queries."""
    topics, starts = Topics(shape.SEED), range(0, documents, DRAWN_AT_ONCE)
    drawn = (
        topics.vectors(
            min(DRAWN_AT_ONCE, documents - first),
            *(shape.DOCUMENT_TERMS, shape.DOCUMENT_SPREAD, shape.SEED + 1 + first),
        )
        for first in starts
    )
    long = topics.vectors(4000, shape.QUERY_TERMS, shape.QUERY_SPREAD, shape.SEED)
    rows = [dict(zip(*long.row(at), strict=True)) for at in range(len(long))]
    strongest = [dict(sorted(row.items(), key=lambda pair: -pair[1])[:SHORT_TERMS]) for row in rows]
    short = SparseVectors.from_dicts(strongest, long.vocab_size)
    calibration = SparseVectors.concatenate([long.rows(0, 200), short.rows(0, 200)])
    Index.build(place / "index", SparseVectors.concatenate(list(drawn)), calibration=calibration)
    for name, queries in (("long", long), ("short", short)):
        write_vectors(place / name, [queries])


def disk(file: Path) -> dict[str, float]:
    """What reads of a file take that go past the system's memory, in microseconds."""
    handle, took = os.open(file, os.O_RDONLY | os.O_DIRECT), list[float]()
    blocks, room = os.fstat(handle).st_size // READ_BYTES, mmap.mmap(-1, READ_BYTES)
    for _ in range(DISK_READS):
        at = random.randrange(blocks) * READ_BYTES
        began = time.perf_counter()
        os.preadv(handle, [room], at)
        took.append(1e6 * (time.perf_counter() - began))
    device = os.fstat(handle).st_dev
    os.close(handle)
    queue = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/queue/read_ahead_kb")
    ahead = {"neighbours_kib": int(queue.read_text())} if queue.exists() else {}
    return ahead | {
        "read_bytes": READ_BYTES,
        "mean_us": round(float(np.mean(took)), 1),
        **spread(took),
    }


def asked_in_a_group(
    place: Path, limit: int, seconds: float, kind: str, pages: str
) -> dict[str, Any]:
    """One row: a process of its own that may use ``limit`` bytes."""
    old = (GROUPS / "memory").exists()  # control groups of the first version
    group = (GROUPS / "memory" if old else GROUPS) / "tamis-larger-than-memory"
    group.mkdir(exist_ok=True)
    (group / ("memory.limit_in_bytes" if old else "memory.max")).write_text(str(limit))
    for file in (place / "index").rglob("*"):
        if file.is_file():
            handle = os.open(file, os.O_RDONLY)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)
    command = [sys.executable, __file__, "ask", str(place), str(group), kind, pages, str(seconds)]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    group.rmdir()
    row: dict[str, Any] = json.loads(found.stdout)
    return {"queries": kind, "pages": pages} | row


def ask(place: Path, group: Path, kind: str, pages: str, seconds: float) -> None:
    """Join the group, warm up, ask, and print the figures."""
    (group / "cgroup.procs").write_text(str(os.getpid()))
    setattr(maps, "room_for_maps", lambda: 0 if pages == "one by one" else float("inf"))  # noqa: B010
    index = Index.open(place / "index", verify="lazy")
    queries = open_vectors(place / kind)
    rows = [queries.rows(at, at + 1) for at in range(400, len(queries))]
    turn, warm_until = 0, time.monotonic() + seconds
    while turn < len(rows) // 2 and time.monotonic() < warm_until:
        index.search(rows[turn], 10, recall=RECALL)
        turn += 1
    warmed, took, work = turn, list[float](), 0
    before, until = resource.getrusage(resource.RUSAGE_SELF), time.monotonic() + seconds
    while turn < len(rows) and time.monotonic() < until:
        began = time.perf_counter()
        work += int(index.search(rows[turn], 10, recall=RECALL).work[0])
        took.append(1e6 * (time.perf_counter() - began))
        turn += 1
    after = resource.getrusage(resource.RUSAGE_SELF)
    found = {
        "warmed_up_with": warmed,
        "asked": len(took),
        "mean_us": round(float(np.mean(took)), 1),
        **spread(took),
        "documents_scored": round(work / len(took), 1),
        "reads": round((after.ru_majflt - before.ru_majflt) / len(took), 1),
        "read_kib": round((after.ru_inblock - before.ru_inblock) / 2 / len(took), 1),
    }
    print(json.dumps(found))


def spread(took: list[float]) -> dict[str, float]:
    """Median and 95th percentile."""
    names, places = ("p50_us", "p95_us"), (50, 95)
    return dict(zip(names, np.percentile(took, places).round(1).tolist(), strict=True))


if __name__ == "__main__":
    if sys.argv[1:2] == ["ask"]:
        ask(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4], sys.argv[5], float(sys.argv[6]))
    else:
        typer.run(main)

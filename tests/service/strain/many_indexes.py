"""Many indexes in few open files: how long a server takes to start, and what each index costs.

    many_indexes.py OUT.json [--indexes 1000] [--files 1024] [--folder PLACE]

Soft and hard limit of open files are the same, so that the server cannot raise it. All indexes are
made by one server, and served, searched and written by the next.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

from server_process import Server

from tamis.eval.provenance import provenance

SEED = 0
READY_S = 60.0  # until all that was written is found


def limited(folder, files, indexes):
    """A server that may open so many files, and the seconds until it answered."""

    def lower():
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

    began = time.perf_counter()
    server = Server(folder, {"indexes": indexes}, before=lower)
    return server, time.perf_counter() - began


def counts(server):
    """Memory of its own, threads, open files, and seconds of processor time of a server."""
    process = Path(f"/proc/{server.process.pid}")
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return {
        "own_bytes": server.memory_bytes("RssAnon"),
        "threads": len(os.listdir(process / "task")),
        "open_files": len(os.listdir(process / "fd")),
        "processor_s": sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK"),
    }


def make(folder, files, names):
    """Make the indexes, a document each; what the server without any had cost."""
    server, _ = limited(folder, files, len(names))
    try:
        empty = counts(server)
        for name in names:
            server.fill(name, [f"an owl of {name}"])
        return empty
    finally:
        server.stop()


def check_all(server, names, ids):
    """Every index finds just these documents, within a while."""
    left, end = set(names), time.monotonic() + READY_S
    while left:
        for name in sorted(left):
            hits = server.ask("GET", f"/v1/indexes/{name}/search?q=owl")["hits"]
            if {hit["id"] for hit in hits} == ids:
                left.remove(name)
        assert time.monotonic() < end, f"{len(left)} indexes do not find what was written"


def measure(folder, files, indexes):
    """Make, serve, search and write so many indexes; the figures."""
    names = [f"i{number:04}" for number in range(indexes)]
    empty = make(folder, files, names)
    server, start_s = limited(folder, files, indexes)
    try:
        started = counts(server)
        check_all(server, names, {"0"})
        most = dict(started)
        for name in names:
            server.ask("PUT", f"/v1/indexes/{name}/documents/1", json={"text": "another owl"})
            most = {what: max(most[what], found) for what, found in counts(server).items()}
        check_all(server, names, {"0", "1"})
        most = {what: max(most[what], found) for what, found in counts(server).items()}
        assert server.ask("GET", "/healthz") == {"status": "ok"}
    finally:
        server.stop()
    return {
        "indexes": indexes,
        "file_limit": files,
        "start_s": round(start_s, 2),
        "start_processor_s": started["processor_s"],
        "own_bytes_each": round((started["own_bytes"] - empty["own_bytes"]) / indexes),
        "empty": empty,
        "started": started,
        "most": most,
    }


def main():
    parser = argparse.ArgumentParser(description="Many indexes in few open files.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--indexes", type=int, default=1000)
    parser.add_argument("--files", type=int, default=1024)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    origin = provenance(SEED)
    with tempfile.TemporaryDirectory(dir=asked.folder) as place:
        found = measure(Path(place) / "data", asked.files, asked.indexes)
    found = {**origin, **found}
    asked.out.write_text(json.dumps(found, indent=1) + "\n")
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()

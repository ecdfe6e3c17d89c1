"""Ten million synthetic documents, indexed in pieces, each process within 2 GB.

    python scripts/dev/ten_million.py FOLDER --at-once 16    # needs 20 GB of disk
    python scripts/dev/ten_million.py FOLDER --documents 200000 --pieces 2   # to try it

Makes the corpus, 40 words a document of a million by Zipf's law, then runs `tamis index --piece`
for each piece and `tamis assemble`, each as a process whose data may not grow past the limit
(RLIMIT_DATA, which its own processes get too; mapped files do not count). What was stopped goes on
when it is started again. Writes what each step took, as a JSON object a line.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from tamis.eval.provenance import provenance

SEED = 0
WORDS, LENGTH = 1_000_000, 40
BLOCK = 50_000
START = """import resource
resource.setrlimit(resource.RLIMIT_DATA, ({0}, {0}))
from tamis.scripts.main import main
main()"""


def block_of(first: int, count: int) -> str:
    """The lines of some documents of words whose ranks follow Zipf's law; the same for a number."""
    rng = np.random.default_rng((SEED, first))
    ends = np.cumsum(1 / np.arange(1, WORDS + 1))
    ranks = np.searchsorted(ends, rng.random((count, LENGTH)) * ends[-1])
    lines = (
        f'{{"_id": "d{number}", "text": "{" ".join(f"w{rank}" for rank in row)}"}}\n'
        for number, row in enumerate(ranks.tolist(), start=first)
    )
    return "".join(lines)


def write_corpus(path: Path, documents: int, at_once: int) -> None:
    """Write the documents, blocks of them made at once."""
    firsts = range(0, documents, BLOCK)
    counts = [min(BLOCK, documents - first) for first in firsts]
    unfinished = path.with_suffix(".part")
    with unfinished.open("w", encoding="utf-8") as file, ProcessPoolExecutor(at_once) as pool:
        for block in pool.map(block_of, firsts, counts):
            file.write(block)
    unfinished.rename(path)


def run(limit_bytes: int, *arguments: str) -> dict[str, Any]:
    """Run a command within a limit of its own memory; what it took.

    Raises:
        CalledProcessError: it failed.
    """
    began = monotonic()
    process = subprocess.Popen([sys.executable, "-c", START.format(limit_bytes), *arguments])
    _, status, took = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, arguments)
    return {
        "command": " ".join(arguments),
        "seconds": round(monotonic() - began, 1),
        "processor_seconds": round(took.ru_utime + took.ru_stime, 1),
        "largest_resident_mb": took.ru_maxrss // 1024,
    }


def steps(given: argparse.Namespace, corpus: Path) -> None:
    """Index the pieces, some at once, and assemble them; say what each took."""
    folder, limit = given.folder, given.limit_mb << 20

    def index(number: int) -> None:
        out, share = folder / "pieces" / str(number), f"{number}/{given.pieces}"
        done = folder / f"piece-{number}.json"
        if not done.exists():
            made = ("index", str(corpus), "--encoder", "bm25", "--piece", share, "--out", str(out))
            done.write_text(json.dumps(run(limit, *made, "--resume")))

    with ThreadPoolExecutor(given.at_once) as threads:
        list(threads.map(index, range(1, given.pieces + 1)))
    for number in range(1, given.pieces + 1):
        print((folder / f"piece-{number}.json").read_text(), flush=True)
    joined = ("assemble", str(folder / "pieces"), "--out", str(folder / "index"))
    print(json.dumps(run(limit, *joined, "--workers", str(given.at_once), "--resume")), flush=True)


def main() -> None:
    """Make the corpus where there is none, index its pieces, assemble them, say what it took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--documents", type=int, default=10_000_000)
    parser.add_argument("--pieces", type=int, default=16)
    parser.add_argument("--at-once", type=int, default=1, help="pieces, and workers that join them")
    parser.add_argument("--limit-mb", type=int, default=2048)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    corpus = given.folder / f"{given.documents}.jsonl"
    print(json.dumps({"provenance": provenance(SEED), "limit_mb": given.limit_mb}), flush=True)
    began = monotonic()
    if not corpus.exists():
        write_corpus(corpus, given.documents, given.at_once)
    print(json.dumps({"corpus_seconds": round(monotonic() - began, 1)}), flush=True)
    steps(given, corpus)
    command = [sys.executable, "-c", "from tamis.scripts.main import main; main()"]
    info = [*command, "info", str(given.folder / "index"), "--json"]
    told = json.loads(subprocess.run(info, check=True, capture_output=True).stdout)
    kept = {name: told[name] for name in ("documents", "segments", "size_bytes", "vocab_size")}
    print(json.dumps({**kept, "seconds_in_all": round(monotonic() - began, 1)}), flush=True)


if __name__ == "__main__":
    main()

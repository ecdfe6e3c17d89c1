"""Ten million synthetic documents, indexed in pieces, each process within 2 GB.

    python scripts/dev/ten_million.py FOLDER            # hours on two cores; needs 20 GB of disk
    python scripts/dev/ten_million.py FOLDER --documents 200000 --pieces 2   # to try it

Makes the corpus, 40 words a document of a million by Zipf's law, then runs `tamis index --piece`
for each piece and `tamis assemble`, each as a process whose data may not grow past the limit
(RLIMIT_DATA; mapped files do not count). Prints what each took, as a JSON object a line.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path
from time import monotonic

import numpy as np

SEED = 0
WORDS, LENGTH = 1_000_000, 40
AT_ONCE = 50_000
START = "from tamis.scripts.main import main; main()"


def write_corpus(path: Path, documents: int) -> None:
    """Write documents of words whose ranks follow Zipf's law; the same ones for a number."""
    rng = np.random.default_rng(SEED)
    ends = np.cumsum(1 / np.arange(1, WORDS + 1))
    with path.open("w", encoding="utf-8") as file:
        for first in range(0, documents, AT_ONCE):
            count = min(AT_ONCE, documents - first)
            ranks = np.searchsorted(ends, rng.random((count, LENGTH)) * ends[-1])
            for number, row in enumerate(ranks.tolist(), start=first):
                text = " ".join(f"w{rank}" for rank in row)
                file.write(f'{{"_id": "d{number}", "text": "{text}"}}\n')


def run(limit_bytes: int, *arguments: str) -> dict[str, object]:
    """Run a command within a limit of its own memory; what it took."""

    def bound() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))

    began = monotonic()
    subprocess.run([sys.executable, "-c", START, *arguments], check=True, preexec_fn=bound)
    took = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "command": " ".join(arguments),
        "seconds": round(monotonic() - began, 1),
        "largest_resident_mb_so_far": took.ru_maxrss // 1024,
    }


def main() -> None:
    """Make the corpus where there is none, index its pieces, assemble them, say what it took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--documents", type=int, default=10_000_000)
    parser.add_argument("--pieces", type=int, default=10)
    parser.add_argument("--limit-mb", type=int, default=2048)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    corpus, limit = given.folder / f"{given.documents}.jsonl", given.limit_mb << 20
    if not corpus.exists():
        unfinished = corpus.with_suffix(".part")
        write_corpus(unfinished, given.documents)
        unfinished.rename(corpus)
    pieces = given.folder / "pieces"
    for number in range(1, given.pieces + 1):
        share, out = f"{number}/{given.pieces}", str(pieces / str(number))
        made = ("index", str(corpus), "--encoder", "bm25", "--piece", share, "--out", out)
        print(json.dumps(run(limit, *made, "--resume")), flush=True)
    whole = str(given.folder / "index")
    print(json.dumps(run(limit, "assemble", str(pieces), "--out", whole, "--resume")), flush=True)
    print(json.dumps(run(limit, "info", whole, "--json")), flush=True)


if __name__ == "__main__":
    main()

"""Figures of one build, for `scripts/dev/compare`; public names alone, so that any build runs it.

    python scripts/dev/figures.py search INDEX QUERIES.jsonl   # text queries of one thread
    python scripts/dev/figures.py index CORPUS                 # passages, words alone
    python scripts/dev/figures.py encode CORPUS                # passages by the default encoder

The last line of standard output is one JSON document: rates a second, and microseconds.
"""

from __future__ import annotations

import json
import sys
import tempfile
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ENCODED = 96  # passages
INDEXED = 20_000
SEARCHED = 1_000  # queries, each answered five times in turn


def search(folder: str, queries: str) -> dict[str, float]:
    """Text queries one at a time: the median of each query's least time, in microseconds."""
    from tamis.retriever import Searcher

    lines = Path(queries).read_text("utf-8").splitlines()[:SEARCHED]
    texts = [json.loads(line)["text"] for line in lines]
    searcher = Searcher.open(folder)
    for text in texts[:100]:
        searcher.search([text])
    least = [float("inf")] * len(texts)
    for _ in range(5):
        for place, text in enumerate(texts):
            began = perf_counter()
            searcher.search([text], k=10)
            least[place] = min(least[place], perf_counter() - began)
    return {"us": median(least) * 1e6, "queries": len(texts)}


def index(corpus: str) -> dict[str, float]:
    """Passages a second into an index of words."""
    from tamis.retriever import index_corpus, read_passages

    passages = list(islice(read_passages(corpus), INDEXED))
    with tempfile.TemporaryDirectory() as folder:
        index_corpus(passages[:200], Path(folder) / "warm", encoder=None)
        began = perf_counter()
        index_corpus(passages, Path(folder) / "index", encoder=None)
        return {"rate": len(passages) / (perf_counter() - began)}


def encode(corpus: str) -> dict[str, float]:
    """Passages a second through the default encoder, in their own order."""
    from tamis.retriever import load_encoder, read_passages

    texts = [passage.text for passage in islice(read_passages(corpus), ENCODED)]
    encoder = load_encoder()
    encoder.encode_documents(texts[:16])
    began = perf_counter()
    encoder.encode_documents(texts)
    return {"rate": len(texts) / (perf_counter() - began)}


if __name__ == "__main__":
    figures: dict[str, Callable[..., dict[str, float]]]
    figures = {"search": search, "index": index, "encode": encode}
    print(json.dumps(figures[sys.argv[1]](*sys.argv[2:])))

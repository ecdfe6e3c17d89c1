#!/usr/bin/env python
"""Measure what the lexical channel adds to the default encoder: bytes and milliseconds.

    python scripts/dev/measure_lexical_channel.py OUT.json scifact wikiqa ...

Datasets are those of `tamis eval`. Both indexes of each are made, or taken from the caches of
`tamis eval`; then the same questions are encoded and searched in each, in turn, on one thread.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tamis.eval.datasets import load_dataset
from tamis.eval.provenance import provenance
from tamis.eval.systems import TamisSystem, caches
from tamis.retriever import load_encoder
from tamis.retriever.words.lexical import LexicalConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tamis.retriever import Searcher

QUESTIONS, TURNS, SEED = 300, 5, 0


def main() -> None:
    """Write the figures of the datasets after the first argument."""
    if len(sys.argv) < 3:
        sys.exit(f"usage: {sys.argv[0]} OUT.json DATASET...")
    found = [measure(name) for name in sys.argv[2:]]
    report = {"turns": TURNS, "datasets": found, "provenance": provenance(SEED)}
    Path(sys.argv[1]).write_text(json.dumps(report, indent=1) + "\n")


def measure(name: str) -> dict[str, Any]:
    """Bytes a document and median milliseconds a question, without words and with them."""
    dataset = load_dataset(name).sample(QUESTIONS, SEED)
    questions = list(dataset.queries.values())
    encoder = load_encoder()
    searchers = {
        "learned": TamisSystem(encoder, None).prepare(dataset, caches()).searcher,
        "both": TamisSystem(encoder, LexicalConfig()).prepare(dataset, caches()).searcher,
    }
    rows = {kind: timed(searcher, questions) for kind, searcher in searchers.items()}
    for _ in range(TURNS - 1):
        for kind, searcher in searchers.items():
            again = timed(searcher, questions)
            rows[kind] = {stage: min(rows[kind][stage], again[stage]) for stage in again}
    for kind, searcher in searchers.items():
        collection = searcher.collection
        rows[kind]["bytes_per_document"] = round(collection.size_bytes / len(collection))
    documents = len(searchers["both"].collection)
    return {"dataset": name, "documents": documents, "questions": len(questions), **rows}


def timed(searcher: Searcher, questions: Sequence[str]) -> dict[str, float]:
    """Medians over questions, one after the other, in milliseconds."""
    index = searcher.collection.index
    took = np.zeros((3, len(questions)))
    for number, question in enumerate(questions):
        began = time.perf_counter()
        vectors = searcher.encode([question])
        encoded = time.perf_counter()
        index.search(vectors, 10, exact=True)
        exact = time.perf_counter()
        index.search(vectors, 10, recall=0.99)
        took[:, number] = encoded - began, exact - encoded, time.perf_counter() - exact
    stages = ("encode_ms", "exact_ms", "recall_0.99_ms")
    return dict(zip(stages, (np.median(took, axis=1) * 1000).round(4).tolist(), strict=True))


if __name__ == "__main__":
    main()

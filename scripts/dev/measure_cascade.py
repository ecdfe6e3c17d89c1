#!/usr/bin/env python
"""Measure searches that rerank: by reading, by stored keys and reading, and by keys alone.

    python scripts/dev/measure_cascade.py COLLECTION OUT.json [QUESTIONS]

COLLECTION holds the package's sample, made by `tamis index eval/sample/squadshifts-new-wiki --out
COLLECTION --rerank-cache`. Questions of the sample's test split are searched one after the other,
in each way in turn; times are of whole searches and worth something on an idle machine alone.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tamis.eval.datasets import load_dataset
from tamis.eval.measures import parse_measures, per_query
from tamis.eval.provenance import provenance
from tamis.eval.run import Run
from tamis.eval.significance import compare
from tamis.retriever import Searcher
from tamis.retriever.rerank.block_reranker import BlockReranker
from tamis.retriever.rerank.cascade import Cascade
from tamis.retriever.rerank.stored_keys import DocumentStore
from tamis.retriever.rerank.text_store import KEYS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tamis.eval.datasets import Dataset
    from tamis.retriever.rerank.reranker import Reranker

SAMPLE = Path("eval/sample/squadshifts-new-wiki")
QUESTIONS, DEPTH, BEST, SEED = 120, 50, (10, 1), 0
FIRST_STAGE, READ = "first_stage", "read"


def main() -> None:
    """Write the figures of the first argument's collection to the second."""
    if len(sys.argv) not in (3, 4):
        sys.exit(f"usage: {sys.argv[0]} COLLECTION OUT.json [QUESTIONS]")
    folder, out = map(Path, sys.argv[1:3])
    questions = int(sys.argv[3]) if len(sys.argv) == 4 else QUESTIONS
    out.write_text(json.dumps(measure(folder, questions), indent=1) + "\n")


def measure(folder: Path, questions: int) -> dict[str, Any]:
    """NDCG@10 and milliseconds of each way, and how the ways differ."""
    dataset = load_dataset(str(SAMPLE)).sample(questions, SEED)
    searcher = Searcher.open(folder)
    found = {
        name: searched(dataset, replace(searcher, reranker=reranker))
        for name, reranker in ways(folder).items()
    }
    values = {name: one.pop("values") for name, one in found.items()}
    names = list(values)
    differences = {
        f"{name} - {other}": asdict(compare(values[name], values[other]))
        for at, name in enumerate(names)
        for other in names[:at]
    }
    return {
        "data": f"the sample's test split, {questions} questions drawn with seed {SEED}",
        "depth": DEPTH,
        "threads": torch.get_num_threads(),
        "ways": found,
        "differences": differences,
        "provenance": provenance(SEED),
    }


def ways(folder: Path) -> dict[str, Reranker | None]:
    """What orders the first stage's documents, by name."""
    reranker = BlockReranker.from_pretrained(device="cpu")
    store = DocumentStore.open(folder / KEYS.folder, reranker.parts.fingerprint)
    cascades = {f"cascade_{best}": Cascade(reranker, store, best) for best in BEST}
    return {FIRST_STAGE: None, READ: reranker, **cascades}


def searched(dataset: Dataset, searcher: Searcher) -> dict[str, Any]:
    """The measure, its value for each question, and the times of one way."""
    depth = DEPTH if searcher.reranker is not None else None
    rankings, took = {}, []
    searcher.search(list(dataset.queries.values())[:1], rerank=depth)  # compiles, and warms pages
    for query, text in dataset.queries.items():
        began = time.perf_counter()
        (result,) = searcher.search([text], rerank=depth)
        took.append(time.perf_counter() - began)
        rankings[query] = {hit.doc_id: hit.score for hit in result.hits}
    values = ndcg(dataset, rankings)
    middle, late = (np.percentile(took, (50, 95)) * 1000).round(1).tolist()
    return {
        "ndcg": round(float(np.mean(values)), 4),
        "p50_ms": middle,
        "p95_ms": late,
        "values": values,
    }


def ndcg(dataset: Dataset, rankings: dict[str, dict[str, float]]) -> list[float]:
    """NDCG@10 of each question, in the dataset's order."""
    found = per_query(Run(rankings, "reranked"), dataset.qrels, parse_measures(["nDCG@10"]))
    by_query: Iterable[str] = dataset.queries
    return [found["nDCG@10"][query] for query in by_query]


if __name__ == "__main__":
    main()

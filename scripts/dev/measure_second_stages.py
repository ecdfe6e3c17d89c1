#!/usr/bin/env python
"""Measure second stages side by side: quality, bytes beside a collection, processor time.

    python scripts/dev/measure_second_stages.py DATA WORK OUT.json DENSE_ENCODER COLLECTION...

DATA holds BEIR folders. Indexes and stores are made in WORK and stay there. DENSE_ENCODER is a
folder of sentence-transformers; its first-stage depth is 500, that of the others 100. Times are
processor milliseconds of one thread, second stage alone, medians over the test queries: the first
stage and the reading of the documents' texts are the same for all, and told apart.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tamis.eval.datasets import load_dataset
from tamis.eval.measures import parse_measures, per_query
from tamis.eval.provenance import provenance
from tamis.eval.run import Run
from tamis.retriever import Searcher, index_corpus, load_encoder
from tamis.retriever.rerank.block_reranker import BlockReranker
from tamis.retriever.rerank.cascade import Cascade
from tamis.retriever.rerank.dense import DenseReranker
from tamis.retriever.rerank.named import KINDS
from tamis.retriever.rerank.reranker import with_others_below
from tamis.retriever.rerank.stored_keys import DocumentStore
from tamis.retriever.rerank.text_store import KEYS, read_about
from tamis.retriever.types import content_of
from tamis.scripts.stores import Stores

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tamis.eval.datasets import Dataset
    from tamis.retriever.rerank.reranker import Reranker

    Stages = Mapping[str, tuple[int, Reranker]]  # by name: depth, and what reranks so many

MOST, DEPTH = 500, 100


def main() -> None:
    """Write the figures of the collections, and their means."""
    if len(sys.argv) < 6:
        sys.exit(f"usage: {sys.argv[0]} DATA WORK OUT.json DENSE_ENCODER COLLECTION...")
    data, work, out = map(Path, sys.argv[1:4])
    torch.set_num_threads(1)
    found = {}
    for name in sys.argv[5:]:
        dataset = load_dataset(str(data / name))
        found[name] = measure(dataset, work / name, sys.argv[4])
        result = {"collections": found, "means": means(found), "provenance": provenance(0)}
        out.write_text(json.dumps(result, indent=1) + "\n")  # what is done is kept


def measure(dataset: Dataset, folder: Path, dense: str) -> dict[str, Any]:
    """Quality, bytes and times of every stage on one collection."""
    if not (folder / "index").exists():
        index_corpus(dataset.passages(), folder / "index", encoder=load_encoder())
    Stores(keys=True, dense=dense).write(folder / "index", "cpu")
    searcher = Searcher.open(folder / "index")
    lists = first_stage(searcher, dataset)
    stages = second_stages(folder / "index", dense)
    rows: dict[str, Any] = {
        "first stage": {"nDCG@10": ndcg(dataset, {q: s for q, (_, s) in lists.items()})}
    }
    for name, (depth, reranker) in stages.items():
        rows[name] = reranked(dataset, lists, depth, reranker)
    for name, kind in (KINDS | {"stored keys": KEYS}).items():
        about = read_about(folder / "index" / kind.folder, kind)
        size = sum(path.stat().st_size for path in (folder / "index" / kind.folder).glob("*.bin"))
        rows[name]["bytes_a_document"] = round(size / about.texts)
    rows["queries"] = len(dataset.queries)
    rows["documents"] = len(searcher.collection.index.live_docs())
    return rows


def second_stages(index: Path, dense: str) -> Stages:
    """What orders the first stage's documents."""
    block = BlockReranker.from_pretrained(device="cpu")
    keys = DocumentStore.open(index / KEYS.folder, block.parts.fingerprint)
    return {
        "dense": (MOST, DenseReranker.from_pretrained(dense, device="cpu").over(index)),
        "stored keys": (DEPTH, Cascade(block, keys, best=1)),
        "stored keys, 10 read": (DEPTH, Cascade(block, keys)),
        "all read": (DEPTH, block),
    }


def first_stage(
    searcher: Searcher, dataset: Dataset
) -> dict[str, tuple[list[str], dict[str, float]]]:
    """By query, the texts of its best documents and their scores by id, best first."""
    found = {}
    for query, text in dataset.queries.items():
        hits = searcher.search([text], MOST, exact=True)[0].hits
        texts = [content_of(hit.document) for hit in hits]
        found[query] = texts, {hit.doc_id: hit.score for hit in hits}
    return found


def reranked(
    dataset: Dataset,
    lists: Mapping[str, tuple[list[str], dict[str, float]]],
    depth: int,
    reranker: Reranker,
) -> dict[str, Any]:
    """Quality over all queries, and the time of some."""
    rankings, took = {}, []
    for query, (texts, scores) in lists.items():
        ids, first = list(scores), list(scores.values())
        began = time.process_time()
        found = reranker.score(dataset.queries[query], texts[:depth], first_stage=first[:depth])
        took.append((time.process_time() - began) * 1000)
        again = with_others_below(found, len(ids)).tolist()
        rankings[query] = dict(zip(ids, again, strict=True))
    return {
        "nDCG@10": ndcg(dataset, rankings),
        "processor_ms": round(float(np.median(took)), 2),
        "depth": depth,
    }


def ndcg(dataset: Dataset, rankings: Mapping[str, Mapping[str, float]]) -> float:
    """The mean over queries."""
    run = Run({query: dict(scores) for query, scores in rankings.items()}, "again")
    values = per_query(run, dataset.qrels, parse_measures(["nDCG@10"]))["nDCG@10"]
    return round(float(np.mean([values[query] for query in dataset.queries])), 4)


def means(found: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Over collections, of every stage's figures."""
    first = next(iter(found.values()))
    stages = {name: row for name, row in first.items() if isinstance(row, dict)}
    return {
        name: {
            key: round(float(np.mean([of[name][key] for of in found.values()])), 4) for key in row
        }
        for name, row in stages.items()
    }


if __name__ == "__main__":
    main()

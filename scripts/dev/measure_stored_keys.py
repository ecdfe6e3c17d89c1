#!/usr/bin/env python
"""Measure what storing a reranker's keys in 8 and in 4 bits does to its scores.

    TAMIS_DATA=DATA python scripts/dev/measure_stored_keys.py OUT.json

On development queries of wikiqa: the best 30 of the words among 4,000 passages, ranked by stored
keys alone; the first stage's score is mixed in as the bundled reranker was tuned to.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tamis.eval.datasets import load_dataset
from tamis.eval.measures import means, parse_measures, per_query
from tamis.eval.provenance import provenance
from tamis.eval.run import Run
from tamis.retriever import Searcher, index_corpus
from tamis.retriever.rerank.block_reranker import BlockReranker
from tamis.retriever.rerank.stored_keys import DocumentStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from tamis.eval.datasets import Dataset
    from tamis.retriever import Passage

DATASET, QUERIES, PASSAGES, DEPTH, SEED = "wikiqa:dev", 100, 4000, 30, 0
BUDGET_BYTES = 1 << 30
NULL_SHARES = (0.0, 0.1, 0.25, 0.5, 1.0)

Ranking = dict[str, float]  # document id -> score


def main() -> None:
    """Write the figures to the only argument."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} OUT.json")
    Path(sys.argv[1]).write_text(json.dumps(measure(), indent=1) + "\n")


def measure() -> dict[str, Any]:
    """NDCG@10 of the first stage, and of keys that are not stored, of 8 bits and of 4."""
    dataset = _some_queries(load_dataset(DATASET))
    texts = {one.doc_id: one.content for one in _some_passages(dataset)}
    reranker = BlockReranker.from_pretrained(device="cpu", dtype=torch.float32, conditioning="none")
    with tempfile.TemporaryDirectory() as folder:
        found = _first_stage(dataset, Path(folder) / "index")
        exact = _scores(found, dataset, texts, reranker.score)
        report: dict[str, Any] = {
            "first_stage": _ndcg(found, dataset),
            "not_stored": _ndcg(_mixed(found, exact, reranker), dataset),
            "null_share": _null_shares(found, dataset, texts, reranker),
        }
        for bits in (8, 4):
            store = DocumentStore.build(
                reranker,
                texts.values(),
                Path(folder) / "keys",
                budget_bytes=BUDGET_BYTES,
                bits=bits,
            )
            stored = _scores(found, dataset, texts, _by_keys(store, reranker))
            report[str(bits)] = {
                "ndcg": _ndcg(_mixed(found, stored, reranker), dataset),
                "bytes_a_token": store.layout.row_bytes,
                "bytes_a_document": round(store.store.size_bytes / len(store)),
                "largest_change_over_deviation": _changes(exact, stored),
            }
    return report | {"provenance": provenance(SEED)}


def _some_queries(dataset: Dataset) -> Dataset:
    kept = sorted(dataset.queries)[:QUERIES]
    return replace(
        dataset,
        queries={query: dataset.queries[query] for query in kept},
        qrels={query: dataset.qrels[query] for query in kept},
    )


def _some_passages(dataset: Dataset) -> list[Passage]:
    """All that are judged for the queries, and others drawn at random."""
    judged = {doc for grades in dataset.qrels.values() for doc in grades}
    passages = list(dataset.passages())
    others = [at for at, one in enumerate(passages) if one.doc_id not in judged]
    drawn = np.random.default_rng(SEED).permutation(others)[: PASSAGES - len(judged)]
    chosen = set(drawn.tolist())
    return [one for at, one in enumerate(passages) if one.doc_id in judged or at in chosen]


def _first_stage(dataset: Dataset, folder: Path) -> dict[str, Ranking]:
    collection = index_corpus(_some_passages(dataset), folder, encoder=None)
    results = Searcher.open(collection.path).search(list(dataset.queries.values()), DEPTH)
    return {
        query: {hit.doc_id: hit.score for hit in result.hits}
        for query, result in zip(dataset.queries, results, strict=True)
    }


def _scores(
    found: Mapping[str, Ranking],
    dataset: Dataset,
    texts: Mapping[str, str],
    score: Callable[[str, list[str]], NDArray[np.float32]],
) -> dict[str, NDArray[np.float32]]:
    """The scores of each query's documents, without the first stage's."""
    return {
        query: score(dataset.queries[query], [texts[doc] for doc in ranking])
        for query, ranking in found.items()
        if ranking
    }


def _by_keys(
    store: DocumentStore, reranker: BlockReranker
) -> Callable[[str, list[str]], NDArray[np.float32]]:
    def score(query: str, documents: list[str]) -> NDArray[np.float32]:
        keys = store.keys(store.find(documents), torch.device("cpu"), torch.float32)
        return reranker.score_held(query, keys)

    return score


def _null_shares(
    found: Mapping[str, Ranking],
    dataset: Dataset,
    texts: Mapping[str, str],
    reranker: BlockReranker,
) -> dict[str, float]:
    """NDCG@10 where so much of what documents score under no query is taken off."""
    exact = _scores(found, dataset, texts, reranker.score)
    nothing = reranker.parts.settings.null_query
    null = _scores(found, dataset, texts, lambda _, documents: reranker.score(nothing, documents))
    report = {}
    for share in NULL_SHARES:
        less = {query: exact[query] - share * null[query] for query in exact}
        report[str(share)] = _ndcg(_mixed(found, less, reranker), dataset)
    return report


def _mixed(
    found: Mapping[str, Ranking],
    scores: Mapping[str, NDArray[np.float32]],
    reranker: BlockReranker,
) -> dict[str, Ranking]:
    """Rankings by scores and the first stage's."""
    rankings = {}
    for query, values in scores.items():
        first_stage = torch.tensor(list(found[query].values()))
        mixed = reranker.readout.with_prior(torch.from_numpy(values), first_stage).tolist()
        rankings[query] = dict(zip(found[query], mixed, strict=True))
    return rankings


def _ndcg(rankings: Mapping[str, Ranking], dataset: Dataset) -> float:
    measures = parse_measures(["nDCG@10"])
    run = Run({query: dict(ranking) for query, ranking in rankings.items()}, "reranked")
    return round(means(per_query(run, dataset.qrels, measures))["nDCG@10"], 4)


def _changes(
    exact: Mapping[str, NDArray[np.float32]], stored: Mapping[str, NDArray[np.float32]]
) -> dict[str, float]:
    """By list, the largest change of a score over the deviation of the list's scores."""
    lists = [query for query, scores in exact.items() if len(scores) > 1]
    changes = [np.abs(exact[q] - stored[q]).max() / exact[q].std() for q in lists]
    return {"median": round(float(np.median(changes)), 3), "worst": round(float(max(changes)), 3)}


if __name__ == "__main__":
    main()

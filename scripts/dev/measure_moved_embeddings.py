#!/usr/bin/env python
"""Measure how the bundled reranker bears an embedding matrix that has moved since its training.

    TAMIS_DATA=DATA python scripts/dev/measure_moved_embeddings.py OTHER.safetensors OUT.json

OTHER holds the weights of another bundled encoder, such as an earlier one's
(`git show 036f574:retriever/bundled/encoder/model.safetensors`). The matrix is moved along the line
to OTHER's, and by noise, as far as `embedding_distance` says. On development queries of wikiqa: the
best 30 of the words, read with the query in the prefix, the first stage's score mixed in.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.numpy import load_file

from tamis.eval.datasets import load_dataset
from tamis.eval.measures import means, parse_measures, per_query
from tamis.eval.provenance import provenance
from tamis.eval.run import Run
from tamis.retriever import Searcher, index_corpus
from tamis.retriever.models.arithmetic import faster_float
from tamis.retriever.models.location import BUNDLED
from tamis.retriever.models.quantised_weights import SCALE, dequantise_rows, load_quantised
from tamis.retriever.rerank.backbone import Backbone
from tamis.retriever.rerank.block_reranker import BlockReranker
from tamis.retriever.rerank.loading import (
    BUNDLED_RERANKER,
    EMBEDDINGS,
    SAMPLE,
    embedding_distance,
)
from tamis.retriever.types import content_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from tamis.eval.datasets import Dataset
    from tamis.retriever import SearchResult

DATASET, DEPTH, SEED = "wikiqa:dev", 30, 0
DISTANCES = (0.11, 0.15)


def main() -> None:
    """Write the figures of the first argument's matrix to the second."""
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} OTHER.safetensors OUT.json")
    other, out = map(Path, sys.argv[1:])
    out.write_text(json.dumps(measure(other), indent=1) + "\n")


def measure(other: Path) -> dict[str, Any]:
    """NDCG@10 by matrix, and how the scores of lists correlate with those of the unmoved one."""
    dataset = load_dataset(DATASET)
    found = first_stage(dataset)
    reranker = BlockReranker.from_pretrained(device="cpu", dtype=faster_float())
    unmoved = scores(reranker, found, dataset.queries)
    report: dict[str, Any] = {
        "data": f"{DATASET}, {len(found)} queries with candidates, best {DEPTH} of words reranked",
        "other_distance": round(embedding_distance(load_file(str(other)), BUNDLED_RERANKER), 4),
        "unmoved": {"ndcg": ndcg(dataset, found, unmoved, reranker)},
    }
    for name, matrix in moved(other):
        backbone = reranker.parts.backbone
        assert isinstance(backbone, Backbone)
        weight = backbone.model.get_input_embeddings().weight
        with torch.no_grad():
            weight.copy_(torch.from_numpy(matrix))
        now = scores(reranker, found, dataset.queries)
        report[name] = {
            "ndcg": ndcg(dataset, found, now, reranker),
            **correlation(unmoved, now),
        }
    return report | {"provenance": provenance(SEED)}


def moved(other: Path) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Matrices at given distances, by name."""
    here = bundled_rows(BUNDLED / "model.safetensors")
    noise = np.random.default_rng(SEED).standard_normal(here.shape, np.float32)
    ways = {"towards_other": bundled_rows(other) - here, "noise": noise}
    for name, step in ways.items():
        for distance in DISTANCES:
            matrix = here + np.float32(distance / sampled_distance(step)) * step
            yield f"{name}_{distance}", matrix


def bundled_rows(path: Path) -> NDArray[np.float32]:
    """The embedding matrix ``[terms, width]`` of a bundled encoder."""
    tensors = load_file(str(path))
    return dequantise_rows(tensors[EMBEDDINGS], tensors[EMBEDDINGS + SCALE])


def sampled_distance(step: NDArray[np.float32]) -> float:
    """What `embedding_distance` says of a matrix that is one step from the reranker's."""
    sample = load_quantised(BUNDLED_RERANKER / SAMPLE)
    rows = sample["rows"].astype(np.int64)
    return float(np.linalg.norm(step[rows]) / np.linalg.norm(sample["vectors"]))


def first_stage(dataset: Dataset) -> dict[str, SearchResult]:
    """The words' best documents by query; queries that find nothing are left out."""
    with tempfile.TemporaryDirectory() as folder:
        collection = index_corpus(dataset.passages(), Path(folder) / "words", encoder=None)
        results = Searcher.open(collection.path).search(list(dataset.queries.values()), DEPTH)
    pairs = zip(dataset.queries, results, strict=True)
    return {query: result for query, result in pairs if len(result.hits) > 1}


def scores(
    reranker: BlockReranker, found: Mapping[str, SearchResult], texts: Mapping[str, str]
) -> dict[str, NDArray[np.float32]]:
    """The reranker's scores of each query's documents, without the first stage's."""
    return {
        query: reranker.score(texts[query], [content_of(hit.document) for hit in result.hits])
        for query, result in found.items()
    }


def ndcg(
    dataset: Dataset,
    found: Mapping[str, SearchResult],
    by_query: Mapping[str, NDArray[np.float32]],
    reranker: BlockReranker,
) -> float:
    """NDCG@10 with the first stage's scores mixed in."""
    rankings = {}
    for query, values in by_query.items():
        hits = found[query].hits
        prior = torch.tensor([hit.score for hit in hits])
        mixed = reranker.readout.with_prior(torch.from_numpy(values), prior).tolist()
        rankings[query] = {hit.doc_id: score for hit, score in zip(hits, mixed, strict=True)}
    qrels = {query: dataset.qrels[query] for query in found}
    each = per_query(Run(rankings, "reranked"), qrels, parse_measures(["nDCG@10"]))
    return round(means(each)["nDCG@10"], 4)


def correlation(
    one: Mapping[str, NDArray[np.float32]], other: Mapping[str, NDArray[np.float32]]
) -> dict[str, float]:
    """Pearson's of each list's scores: the mean over lists, and the worst."""
    each = [float(np.corrcoef(one[query], other[query])[0, 1]) for query in one]
    return {
        "correlation_mean": round(float(np.mean(each)), 4),
        "correlation_worst": round(min(each), 4),
    }


if __name__ == "__main__":
    main()

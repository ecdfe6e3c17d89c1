"""`tamis bench agreement`: how far the vectors of two devices differ, and whether rankings care.

The truth is float32 on the processor. Documents alone are compared; queries are always encoded
by the truth, so that a difference in ranking is the documents' own.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tamis.eval.datasets import load_dataset
from tamis.eval.measures import means, parse_measures, per_query
from tamis.eval.provenance import provenance
from tamis.eval.run import Run
from tamis.index.reference import search
from tamis.retriever.models.arithmetic import ARITHMETICS, Arithmetic, speeds
from tamis.retriever.models.description import read_checkpoint
from tamis.retriever.models.encoder import SparseEncoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tamis.eval.datasets import Dataset
    from tamis.index.vectors import SparseVectors

MEASURE, DEPTH, SEED = "nDCG@10", 10, 0  # nothing is drawn


@dataclass(frozen=True)
class Bound:
    """What vectors of one arithmetic may differ by from float32 on the processor.

    Attributes:
        weight: largest absolute difference of the weight of a term that both emit.
        terms: share of all emitted terms that one of the two leaves out.
        measure: largest absolute difference of nDCG@10.
    """

    weight: float
    terms: float
    measure: float


BOUNDS: dict[Arithmetic, Bound] = {
    "float32": Bound(weight=0.0001, terms=0.0002, measure=0.0005),
    "bfloat16": Bound(weight=0.1, terms=0.04, measure=0.003),
    "int8": Bound(weight=0.25, terms=0.04, measure=0.003),
}


def measure_agreement(
    dataset: str = "sample",
    *,
    encoder: str = "default",
    device: str = "cpu",
    documents: int | None = None,
) -> dict[str, Any]:
    """Encode a collection on the processor and on a device, in each arithmetic, and compare.

    Args:
        dataset: as `tamis eval` takes it.
        encoder: a model that `load_encoder` finds.
        device: to compare with the processor, such as ``cuda``; ``cpu`` compares arithmetics.
        documents: compare these first ones alone, without a ranking; None takes all.

    Returns:
        Plain values: ``rows`` with a device and an arithmetic each; ``agrees`` says whether all
        are within their bounds.
    """
    collection = load_dataset(dataset)
    passages = list(collection.passages())[:documents]
    texts = [passage.content for passage in passages]
    files = read_checkpoint(encoder)
    truth = SparseEncoder(files, device="cpu", arithmetic="float32")
    queries = truth.encode_queries(list(collection.queries.values()))
    vectors = truth.encode_documents(texts)
    judged = None if documents else (collection, queries, [p.doc_id for p in passages])
    best = _ndcg(vectors, *judged) if judged else None
    rows = []
    for kind, arithmetic in _variants(device):
        began = time.perf_counter()
        found = SparseEncoder(files, device=kind, arithmetic=arithmetic).encode_documents(texts)
        took_s = time.perf_counter() - began
        row: dict[str, Any] = {"device": kind, "arithmetic": arithmetic}
        row |= {"took_s": took_s, **difference(vectors, found)}
        if judged and best is not None:
            row["measure"] = _ndcg(found, *judged)
            row["measure_difference"] = row["measure"] - best
        bound = BOUNDS[arithmetic]
        rows.append({**row, "bound": asdict(bound), "agrees": within(row, bound)})
    return {
        "dataset": dataset,
        "documents": len(texts),
        "encoder": files.description.name,
        "measure": MEASURE,
        "truth": {"device": "cpu", "arithmetic": "float32", "measure": best},
        "rows": rows,
        "agrees": all(row["agrees"] for row in rows),
        "provenance": provenance(SEED),
    }


def difference(truth: SparseVectors, found: SparseVectors) -> dict[str, float]:
    """How far vectors differ from the truth, row by row.

    Returns:
        ``largest_weight_difference`` and ``mean_weight_difference`` over terms that both emit,
        ``differing_terms``: the share of all emitted terms that one of the two lacks,
        ``largest_lone_weight``: the heaviest of those, ``relative_error``: of all weights as one
        vector, ``terms``: how many both emit.
    """
    one, other = _keyed(truth), _keyed(found)
    shared, here, there = np.intersect1d(one, other, assume_unique=True, return_indices=True)
    weights, others = truth.weights.astype(np.float64), found.weights.astype(np.float64)
    apart = np.abs(weights[here] - others[there])
    alone = np.concatenate((np.delete(weights, here), np.delete(others, there)))
    error = np.sqrt(np.square(apart).sum() + np.square(alone).sum())
    return {
        "terms": len(shared),
        "largest_weight_difference": float(apart.max(initial=0.0)),
        "mean_weight_difference": float(apart.mean()) if len(apart) else 0.0,
        "differing_terms": len(alone) / max(1, len(alone) + len(shared)),
        "largest_lone_weight": float(alone.max(initial=0.0)),
        "relative_error": float(error / max(np.linalg.norm(weights), np.finfo(float).tiny)),
    }


def within(row: dict[str, Any], bound: Bound) -> bool:
    """Whether a row of figures keeps to a bound; a measure that was not taken keeps to any."""
    return bool(
        row["largest_weight_difference"] <= bound.weight
        and row["differing_terms"] <= bound.terms
        and abs(row.get("measure_difference", 0.0)) <= bound.measure
    )


def table(result: dict[str, Any]) -> list[list[str]]:
    """The figures as rows of cells for a terminal."""
    heading = ["device", "arithmetic", "largest", "mean", "terms apart", MEASURE, "agrees"]
    best = result["truth"]["measure"]
    rows = [["cpu", "float32", "", "", "", "" if best is None else f"{best:.4f}", "truth"]]
    for row in result["rows"]:
        measure = f"{row['measure']:.4f}" if "measure" in row else ""
        rows.append(
            [
                row["device"],
                row["arithmetic"],
                f"{row['largest_weight_difference']:.2e}",
                f"{row['mean_weight_difference']:.2e}",
                f"{row['differing_terms']:.2%}",
                measure,
                "yes" if row["agrees"] else "no",
            ]
        )
    return [heading, *rows]


def _variants(device: str) -> list[tuple[str, Arithmetic]]:
    """What is compared with the truth: what the processor is faster in, and all of a device."""
    rates = speeds()
    found: list[tuple[str, Arithmetic]] = [
        ("cpu", one) for one in ARITHMETICS[1:] if rates[one] > rates["float32"]
    ]
    if torch.device(device).type != "cpu":
        found += [(device, "float32"), (device, "bfloat16")]
    return found


def _keyed(vectors: SparseVectors) -> np.ndarray[Any, np.dtype[np.int64]]:
    """One number for each row and term."""
    rows = np.repeat(np.arange(len(vectors), dtype=np.int64), np.diff(vectors.offsets))
    return rows * vectors.vocab_size + vectors.terms


def _ndcg(
    documents: SparseVectors, dataset: Dataset, queries: SparseVectors, ids: Sequence[str]
) -> float:
    top = search(documents, queries, DEPTH)
    scores = {
        query: {ids[d]: float(s) for d, s in zip(*rows, strict=True) if d >= 0}
        for query, *rows in zip(dataset.queries, top.docs, top.scores, strict=True)
    }
    return means(per_query(Run(scores), dataset.qrels, parse_measures([MEASURE])))[MEASURE]

"""`tamis bench precision`: how well a system ranks with weights stored as u8, u16, f16 and f32.

The documents are encoded once and their stored vectors indexed at each precision; every search is
exact, so that a difference is the precision's own.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from tamis.eval.datasets import load_dataset
from tamis.eval.measures import means, parse_measures, per_query
from tamis.eval.provenance import provenance
from tamis.eval.run import Run
from tamis.eval.systems import SearcherRanker, TamisSystem, caches
from tamis.index import Index, IndexConfig, SparseVectors
from tamis.index.exchange.interchange import stored_vectors
from tamis.index.segment.quantize import Precision
from tamis.retriever import load_encoder
from tamis.retriever.words.lexical import LexicalConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tamis.eval.datasets import Dataset

SEED = 0  # nothing is drawn
MEASURE, DEPTH = "nDCG@10", 100
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def measure_precision(names: Sequence[str], encoder: str) -> dict[str, Any]:
    """Measure with and without the lexical channel on each dataset; a JSON-ready report.

    Args:
        names: of datasets, as `tamis eval` takes them.
        encoder: name or folder of a model.
    """
    model = load_encoder(encoder)
    systems = (
        TamisSystem(model, LexicalConfig(), "both channels"),
        TamisSystem(model, None, "learned terms"),
    )
    rows = []
    for name in names:
        dataset = load_dataset(name)
        for system in systems:
            rows.append({"dataset": name, "system": system.name, **_measured(dataset, system)})
    return {"measure": MEASURE, "rows": rows, "provenance": provenance(SEED)}


def _measured(dataset: Dataset, system: TamisSystem) -> dict[str, Any]:
    """The measure, and bytes of vectors and lists, by precision."""
    ranker = system.prepare(dataset, caches())
    asked = sorted(dataset.queries)
    queries = ranker.encode([dataset.queries[query] for query in asked])
    found: dict[str, Any] = {"queries": len(asked), "documents": len(ranker.searcher.collection)}
    for precision in PRECISIONS:
        folder = Path(tempfile.mkdtemp(prefix="tamis-bench-"))
        try:
            index = _index_at(folder / "index", ranker, precision)
            run = dict(zip(asked, _rankings(index, queries), strict=True))
            found[precision] = round(_mean(dataset, run), 4)
            found[f"{precision}_bytes"] = index.manifest.size_bytes
        finally:
            shutil.rmtree(folder)
    return found


def _index_at(folder: Path, ranker: SearcherRanker, precision: Precision) -> Index:
    batches = list(stored_vectors(ranker.searcher.collection.index))
    ids = [doc_id for names, _ in batches for doc_id in names]
    vectors = SparseVectors.concatenate([vectors for _, vectors in batches])
    return Index.build(folder, vectors, ids, IndexConfig(precision))


def _rankings(index: Index, queries: SparseVectors) -> list[dict[str, float]]:
    best = index.search(queries, min(DEPTH, len(index)), exact=True)
    rows = (best.row(query) for query in range(len(best)))
    return [
        {
            index.doc_id(doc): score
            for doc, score in zip(docs.tolist(), scores.tolist(), strict=True)
        }
        for docs, scores in rows
    ]


def _mean(dataset: Dataset, run: dict[str, dict[str, float]]) -> float:
    values = per_query(Run(run), dataset.qrels, parse_measures([MEASURE]))
    return means(values)[MEASURE]

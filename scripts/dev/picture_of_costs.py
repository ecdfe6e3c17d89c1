#!/usr/bin/env python
"""Draw quality against milliseconds and bytes for all systems, from one run.

    python scripts/dev/picture_of_costs.py DATA WORK DENSE_ENCODER COLLECTION...

DATA holds BEIR folders; DENSE_ENCODER is a folder of sentence-transformers, used alone, in the
hybrid, and as stored vectors. Results and indexes stay in WORK, from where a second run reads them.
Writes eval/results/costs.json and the pictures costs-ms.svg and costs-bytes.svg of the site.
Milliseconds are medians of one query after the other, the query's encoding included; bytes are of
the index and what is stored beside it.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from tamis.eval import pictures
from tamis.eval.datasets import load_dataset
from tamis.eval.evaluate import Options
from tamis.eval.provenance import provenance
from tamis.eval.report import cost_pictures
from tamis.eval.reranking import RerankedRanker, RerankedSystem, reranked
from tamis.eval.specs import Bm25Spec, DenseSpec, HybridSpec, TamisSpec, build_systems
from tamis.eval.suite import evaluate_all
from tamis.eval.tables import Results
from tamis.retriever.rerank.block_reranker import BlockReranker
from tamis.retriever.rerank.cascade import Cascade
from tamis.retriever.rerank.dense import DenseReranker
from tamis.retriever.rerank.stored_keys import DocumentStore
from tamis.retriever.rerank.text_store import KEYS, VECTORS, StoreKind
from tamis.scripts.stores import Stores

if TYPE_CHECKING:
    from tamis.eval.datasets import Dataset
    from tamis.eval.evaluate import Evaluation
    from tamis.eval.ranker import System
    from tamis.eval.systems import SearcherRanker

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "scripts/docs/pages/assets"
MEASURE = "nDCG@10"
DEEP, DEPTH = 500, 50  # documents of second stages by stored vectors, and by a reading model
OPTIONS = Options((MEASURE, "Recall@100"), 1000, 30)


@dataclass(frozen=True)
class StoredRanker(RerankedRanker):
    """A second stage whose store counts among the bytes."""

    store_bytes: int = 0

    def facts(self) -> dict[str, Any]:
        """Those of the first stage, with the store's bytes."""
        found = self.base.facts()
        each = self.store_bytes / len(self.texts)
        before = found["index_bytes_per_document"]
        return {**found, "index_bytes_per_document": round(before + each, 1)}


@dataclass(frozen=True)
class StoredSystem(RerankedSystem):
    """A second stage over what is stored beside the first stage's index, made where it lacks."""

    dense: str = ""

    def prepare(self, dataset: Dataset, work: Path) -> StoredRanker:
        """Prepare the first stage, store vectors or keys, and open them."""
        ranker = super().prepare(dataset, work)
        folder = cast("SearcherRanker", ranker.base).searcher.collection.path
        kind: StoreKind = VECTORS if self.dense else KEYS
        if not (folder / kind.folder).exists():
            Stores(keys=not self.dense, dense=self.dense or None).write(folder, "cpu")
        size = sum(path.stat().st_size for path in (folder / kind.folder).iterdir())
        if isinstance(self.reranker, DenseReranker):
            second: Any = self.reranker.over(folder)
        else:
            block = cast("BlockReranker", self.reranker)
            keys = DocumentStore.open(folder / KEYS.folder, block.parts.fingerprint)
            second = Cascade(block, keys, best=1)
        return StoredRanker(ranker.base, second, ranker.texts, self.depth, size)


def systems(dense: str) -> list[System]:
    """All of the picture, as reports name them."""
    found = build_systems(
        [
            Bm25Spec(),
            DenseSpec(folder=dense),
            HybridSpec(("bm25", "dense"), weights=(0.5, 0.5)),
            TamisSpec(exact=False),
        ]
    )
    first = found[-1]
    block = BlockReranker.from_pretrained(device="cpu")
    vectors = DenseReranker.from_pretrained(dense, device="cpu")
    about = {"stored": "dense", "encoder": vectors.encoder.fingerprint}
    keys = {"stored": "keys", "fingerprint": block.parts.fingerprint}
    return [
        *found,
        StoredSystem(first, vectors, about, DEEP, "tamis + stored vectors", dense),
        StoredSystem(first, block, keys, DEPTH, "tamis + stored keys"),
        reranked(first, DEPTH, "tamis reranked"),
    ]


def main() -> None:
    """Measure what WORK lacks, and draw."""
    if len(sys.argv) < 5:
        sys.exit(f"usage: {sys.argv[0]} DATA WORK DENSE_ENCODER COLLECTION...")
    data, work = Path(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    collections = {name: [load_dataset(str(data / name))] for name in sys.argv[4:]}
    found = evaluate_all(
        systems(sys.argv[3]), collections, work, OPTIONS, work / "results", print
    )  # fmt: skip
    about = {"figures": figures(found), "provenance": provenance(0)}
    (ROOT / "eval/results/costs.json").write_text(json.dumps(about, indent=1) + "\n")
    for name, figure in zip(("ms", "bytes"), cost_pictures(Results(found), MEASURE), strict=False):
        pictures.write(figure, work / f"costs-{name}")
        pictures.save(figure, PICTURES / f"costs-{name}.svg")


def figures(found: list[Evaluation]) -> dict[str, dict[str, dict[str, float]]]:
    """By collection and system: quality, milliseconds and bytes."""
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for one in found:
        rows.setdefault(one.dataset, {})[one.system] = {
            MEASURE: round(one.measures[MEASURE], 4),
            "p50_ms": one.report["timings"]["latency_ms"]["total_ms"]["p50"],
            "bytes_a_document": one.report["efficiency"]["index_bytes_per_document"],
        }
    return rows


if __name__ == "__main__":
    main()

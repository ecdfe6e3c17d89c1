"""`tamis bench search --device cuda`: exact search on a GPU, against the processor's own.

The gate comes first: documents and scores of 1,000 queries equal those of the index's exact search.
Times are elapsed ones, from queries in main memory to results there.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tamis.eval.provenance import provenance
from tamis.index import Index, IndexConfig
from tamis.index.errors import InputError
from tamis.index.files.system import usable_cores
from tamis.retriever.gpu_index import GpuIndex, search_vectors
from tamis.scripts.bench.search import (
    DOCUMENT_SPREAD,
    DOCUMENT_TERMS,
    QUERY_SPREAD,
    QUERY_TERMS,
    SEED,
)
from tamis.scripts.bench.vectors import Topics, drawn_side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable

    from tamis.index import SparseVectors

SHORT_QUERY_TERMS = 10  # drawn; about 9 are left
GATE_QUERIES, BATCH, DEEP, FIRST_PAGE = 1000, 500, 1000, 10
REPEATS = 20
MINED_PASSAGES, MINING_QUERIES, MINED = 102_588, 20_000, 200  # of the default training
POSTING_BYTES = 4
COPIED_BYTES = 4 << 30


def measure_gpu_search(
    documents: int, folder: Path | None = None, cards: int = 1
) -> dict[str, Any]:
    """Measure synthetic vectors on the first GPU; a JSON-ready report.

    Args:
        documents: how many to draw.
        folder: an index made by an earlier run, or where to keep one; None for a temporary one.
        cards: GPUs to divide the documents between.

    Raises:
        InputError: there are fewer GPUs.
        AssertionError: the GPU's answers differ from the index's.
    """
    if not torch.cuda.is_available():
        raise InputError("expected a CUDA GPU, found none; leave --device out to measure here")
    topics = Topics(SEED)
    kept = folder or Path(tempfile.mkdtemp(prefix="tamis-bench-"))
    try:
        index, built_s = _built(kept / f"synthetic-{documents}", topics, documents)
        began = time.perf_counter()
        on_gpu = GpuIndex.from_index(index, [f"cuda:{card}" for card in range(cards)])
        torch.cuda.synchronize()
        loaded_s = time.perf_counter() - began
        long = topics.vectors(GATE_QUERIES, QUERY_TERMS, QUERY_SPREAD, SEED + 2)
        short = topics.vectors(GATE_QUERIES, SHORT_QUERY_TERMS, QUERY_SPREAD, SEED + 3)
        threads = usable_cores()
        cpu_s = _gate(index, on_gpu, long, threads)
        rows = [_row(index, on_gpu, queries) for queries in (long, short)]
    finally:
        if folder is None:
            shutil.rmtree(kept)
    bandwidth = _copy_bandwidth()
    for row in rows:
        row["share_of_copy_bandwidth"] = round(row["postings_bytes_per_s"] / bandwidth, 3)
    return {
        "vectors": f"synthetic, seed {SEED}",
        "documents": documents,
        "nnz_per_document": round(index.frequencies()[1].sum() / documents, 1),
        "built_s": built_s,
        "cards": cards,
        "resident": on_gpu.resident,
        "loaded_s": round(loaded_s, 2),
        "gate": {"queries": GATE_QUERIES, "k": DEEP, "equal": GATE_QUERIES},
        "cpu": {"threads": threads, "k": DEEP, "queries_per_s": round(GATE_QUERIES / cpu_s)},
        "gpu": rows,
        "over_cpu": round(rows[0]["queries_per_s"] * cpu_s / GATE_QUERIES, 1),
        "mining": _mining(topics),
        "copy_bandwidth_bytes_per_s": round(bandwidth),
        "provenance": provenance(SEED),
    }


def _built(folder: Path, topics: Topics, documents: int) -> tuple[Index, float | None]:
    """The index of ``documents`` vectors, and the seconds of the build; None if it was there."""
    if folder.exists():
        return Index.open(folder, "lazy"), None
    corpus = drawn_side_by_side(topics, documents, DOCUMENT_TERMS, DOCUMENT_SPREAD, SEED + 1)
    sample = topics.vectors(60, QUERY_TERMS, QUERY_SPREAD, SEED + 4)
    began = time.perf_counter()
    index = Index.build(folder, corpus, config=IndexConfig(), calibration=sample)
    return index, round(time.perf_counter() - began, 1)


def _gate(index: Index, on_gpu: GpuIndex, queries: SparseVectors, threads: int) -> float:
    """Seconds that the processor takes for the queries that both must answer alike."""
    index.search(queries.rows(0, threads), DEEP, exact=True, threads=threads)
    began = time.perf_counter()
    truth = index.search(queries, DEEP, exact=True, threads=threads)
    took = time.perf_counter() - began
    found = on_gpu.search(queries, DEEP)
    assert np.array_equal(found.docs, truth.docs), "documents differ from the exact search's"
    assert np.array_equal(found.scores, truth.scores), "scores differ from the exact search's"
    return took


def _row(index: Index, on_gpu: GpuIndex, queries: SparseVectors) -> dict[str, Any]:
    batch = queries.rows(0, BATCH)
    took = _median_s(lambda: on_gpu.search(batch, DEEP))
    singles = [queries.rows(row, row + 1) for row in range(20)]
    one = [_median_s(partial(on_gpu.search, single, FIRST_PAGE)) for single in singles]
    postings = int(index.document_frequency(batch.terms).sum()) / BATCH
    return {
        "terms": round(batch.nnz / BATCH, 1),
        "k": DEEP,
        "batch": BATCH,
        "queries_per_s": round(BATCH / took),
        "batch_of_one_k_10_ms": round(median(one) * 1000, 3),
        "postings_per_query": round(postings),
        "postings_bytes_per_query": round(postings * POSTING_BYTES),
        "postings_bytes_per_s": round(postings * POSTING_BYTES * BATCH / took),
        "documents_scored_per_query": round(float(on_gpu.search(batch, DEEP).work.mean()), 1),
    }


def _median_s(work: Callable[[], object]) -> float:
    work()
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return median(times)


def _mining(topics: Topics) -> dict[str, Any]:
    """A training's mining step: vectors in main memory, passages found there."""
    passages = topics.vectors(MINED_PASSAGES, DOCUMENT_TERMS, DOCUMENT_SPREAD, SEED + 5)
    queries = topics.vectors(MINING_QUERIES, QUERY_TERMS, QUERY_SPREAD, SEED + 6)
    device = torch.device("cuda")
    times = []
    for _ in range(3):
        began = time.perf_counter()
        search_vectors(queries, passages, MINED, device)
        times.append(time.perf_counter() - began)
    return {
        "passages": MINED_PASSAGES,
        "queries": MINING_QUERIES,
        "k": MINED,
        "seconds": round(median(times), 3),
    }


def _copy_bandwidth() -> float:
    """Bytes read and written a second by a large copy on the card."""
    source = torch.empty(COPIED_BYTES, dtype=torch.uint8, device="cuda").random_()
    target = torch.empty_like(source)

    def copy() -> None:
        target.copy_(source)
        torch.cuda.synchronize()

    return 2 * COPIED_BYTES / _median_s(copy)

"""`tamis bench search`: the index against its peers, on the same vectors, in one process.

A correctness gate comes first: exact search equals the reference on a sample. Then every engine
answers all queries in turn, A B A B, on one thread; a figure is the least processor time of the
repeats, in microseconds a query, beside the recall that was reached. Machines share their caches,
so ratios within a run say more than times.

Peers take part where they are installed: ``pyseismic-lsr`` (the cheapest setting of a small grid
for each recall) and SciPy (exhaustive product with the inverted matrix).
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tamis.eval.provenance import provenance
from tamis.index import Index, IndexConfig, SparseVectors, reference
from tamis.index.calibration import RECALLS
from tamis.scripts.bench_vectors import Topics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from tamis.index.quantize import Precision

SEED = 7
DOCUMENT_TERMS, QUERY_TERMS = 145, 49  # drawn; about 119 and 45 are left after merging
DOCUMENT_SPREAD, QUERY_SPREAD = 0.8, 0.25
CALIBRATION_QUERIES, GATE_QUERIES = 400, 8
SEISMIC_GRID = ((2, 1.0), (3, 1.0), (3, 0.9), (4, 1.0), (4, 0.9), (5, 0.9), (6, 0.9), (8, 0.8))

Answers = list[set[int]]


class Engine(Protocol):
    """One engine at one setting."""

    @property
    def name(self) -> str:
        """Of the engine."""

    @property
    def setting(self) -> str:
        """How it searches."""

    def answer(self, queries: SparseVectors, k: int) -> Answers:
        """The best documents of each query."""


@dataclass(frozen=True, slots=True)
class Built:
    """What building took.

    Attributes:
        name: of the engine.
        build_cpu_s: processor seconds of all threads.
        size_bytes: of the index on disk.
    """

    name: str
    build_cpu_s: float
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Ours:
    """This index at a recall, or exact."""

    index: Index
    recall: float | None
    name: str = "tamis"

    @property
    def setting(self) -> str:
        """How the search is asked for."""
        return "exact" if self.recall is None else f"recall={self.recall}"

    def answer(self, queries: SparseVectors, k: int) -> Answers:
        """The best documents of each query."""
        best = self.index.search(queries, k, recall=self.recall, exact=self.recall is None)
        return [set(row) for row in best.docs.tolist()]


class Seismic:
    """pyseismic-lsr at one query cut and heap factor."""

    def __init__(self, index: Any, cut: int, heap_factor: float) -> None:  # noqa: ANN401
        self.index = index
        self.cut, self.heap_factor = cut, heap_factor
        self.name = "pyseismic-lsr"
        self.setting = f"query_cut={cut}, heap_factor={heap_factor}"
        self._prepared: tuple[SparseVectors, list[Any]] | None = None

    def answer(self, queries: SparseVectors, k: int) -> Answers:
        """The best documents of each query; their strings are made before the clock starts."""
        if self._prepared is None or self._prepared[0] is not queries:
            self._prepared = (queries, _seismic_queries(queries))
        ids, terms, weights = self._prepared[1]
        found = self.index.batch_search(
            queries_ids=ids,
            query_components=terms,
            query_values=weights,
            k=k,
            query_cut=self.cut,
            heap_factor=self.heap_factor,
            sorted=True,
            num_threads=1,
        )
        by_query = {int(row[0][0]): {int(hit[2]) for hit in row} for row in found if row}
        return [by_query.get(query, set()) for query in range(len(queries))]


class Exhaustive:
    """SciPy: the inverted matrix times each query, then a selection."""

    def __init__(self, documents: SparseVectors) -> None:
        self.name, self.setting = "scipy CSR", "exact"
        self.inverted = documents.to_scipy().T.tocsr()

    def answer(self, queries: SparseVectors, k: int) -> Answers:
        """The best documents of each query."""
        rows = queries.to_scipy()
        found = []
        for query in range(len(queries)):
            scores = (rows[[query]] @ self.inverted).tocsr()
            best = np.argsort(-scores.data, kind="stable")[:k]
            found.append(set(scores.indices[best].tolist()))
        return found


def measure_search(
    documents: int, queries: int = 500, k: int = 10, repeats: int = 5, precision: Precision = "f32"
) -> dict[str, Any]:
    """Measure on synthetic vectors; a JSON-ready report.

    Raises:
        AssertionError: exact search differs from the reference.
    """
    os.environ["RAYON_NUM_THREADS"] = "1"  # pyseismic-lsr heeds this alone, at its first use
    topics = Topics(SEED)
    corpus = topics.vectors(documents, DOCUMENT_TERMS, DOCUMENT_SPREAD, SEED + 1)
    asked = topics.vectors(queries + CALIBRATION_QUERIES, QUERY_TERMS, QUERY_SPREAD, SEED + 2)
    fresh = asked.rows(0, queries)
    folder = Path(tempfile.mkdtemp(prefix="tamis-bench-"))
    try:
        index, took = _build_ours(folder, corpus, asked.rows(queries, len(asked)), precision)
        _gate(index, fresh.rows(0, GATE_QUERIES), k)
        peers, built = _build_peers(folder, corpus)
        engines = [*(Ours(index, recall) for recall in (None, *RECALLS)), *peers]
        measured = _interleave(engines, fresh, k, repeats)
    finally:
        shutil.rmtree(folder)
    return {
        "documents": documents,
        "queries": queries,
        "k": k,
        "precision": precision,
        "nnz_per_document": round(corpus.nnz / documents, 1),
        "nnz_per_query": round(fresh.nnz / queries, 1),
        "built": [asdict(each) for each in (took, *built)],
        "engines": measured,
        "ratios": _ratios(measured),
        "provenance": provenance(SEED),
    }


def _build_ours(
    folder: Path, corpus: SparseVectors, calibration: SparseVectors, precision: Precision
) -> tuple[Index, Built]:
    began = time.process_time()
    index = Index.build(
        folder / "tamis", corpus, config=IndexConfig(precision), calibration=calibration
    )
    return index, Built("tamis", time.process_time() - began, index.manifest.size_bytes)


def _build_peers(folder: Path, corpus: SparseVectors) -> tuple[list[Engine], list[Built]]:
    peers: list[Engine] = []
    built = []
    if find_spec("scipy"):
        peers.append(Exhaustive(corpus))
    if find_spec("seismic"):
        index, took = _build_seismic(folder, corpus)
        built.append(took)
        peers += [Seismic(index, cut, factor) for cut, factor in SEISMIC_GRID]
    return peers, built


def _build_seismic(folder: Path, corpus: SparseVectors) -> tuple[Any, Built]:
    """Build with 400 postings a list at 100,000 documents, 1,000 from 250,000 on."""
    from seismic import SeismicDataset, SeismicIndex

    dataset, names = SeismicDataset(), _seismic_strings(corpus.vocab_size)
    for doc in range(len(corpus)):
        terms, weights = corpus.row(doc)
        dataset.add_document(str(doc), names[terms], weights)
    began = time.process_time()
    index = SeismicIndex.build_from_dataset(
        dataset,
        n_postings=min(1000, max(100, len(corpus) // 250)),
        centroid_fraction=0.1,
        summary_energy=0.4,
        max_fraction=6.0,
    )
    took = time.process_time() - began
    index.save(str(folder / "seismic"))
    size = sum(file.stat().st_size for file in folder.glob("seismic*"))
    return index, Built("pyseismic-lsr", took, size)


def _seismic_strings(count: int) -> NDArray[np.str_]:
    from seismic import get_seismic_string

    strings: NDArray[np.str_] = np.arange(count).astype(get_seismic_string())
    return strings


def _seismic_queries(queries: SparseVectors) -> list[Any]:
    names = _seismic_strings(queries.vocab_size)
    rows = [queries.row(query) for query in range(len(queries))]
    ids = _seismic_strings(len(queries))
    return [ids, [names[terms] for terms, _ in rows], [weights for _, weights in rows]]


def _gate(index: Index, sample: SparseVectors, k: int) -> None:
    """Refuse to measure an exact search that is wrong over the weights as stored."""
    terms, weights = zip(*(index.row(doc) for doc in index.live_docs().tolist()), strict=True)
    offsets = np.cumsum([0, *(row.size for row in terms)])
    stored = SparseVectors(
        offsets, np.concatenate(terms), np.concatenate(weights), index.vocab_size
    )
    truth, found = reference.search(stored, sample, k), index.search(sample, k, exact=True)
    assert np.array_equal(found.docs, truth.docs), "exact search differs from the reference"
    assert np.array_equal(found.scores, truth.scores), "scores differ from the reference"


def _interleave(
    engines: Sequence[Engine], queries: SparseVectors, k: int, repeats: int
) -> list[dict[str, Any]]:
    """Time the engines in turn, and compare what they found with the first one's answer."""
    answers = [engine.answer(queries, k) for engine in engines]  # also warms up
    least = [_cpu_us(engine, queries, k) for engine in engines]
    for _ in range(repeats - 1):
        again = [_cpu_us(engine, queries, k) for engine in engines]
        least = [min(pair) for pair in zip(least, again, strict=True)]
    return [
        {
            "engine": engine.name,
            "setting": engine.setting,
            "recall": round(_overlap(found, answers[0]), 4),
            "cpu_us_per_query": round(took, 1),
        }
        for engine, found, took in zip(engines, answers, least, strict=True)
    ]


def _cpu_us(engine: Engine, queries: SparseVectors, k: int) -> float:
    began = time.process_time_ns()
    engine.answer(queries, k)
    return (time.process_time_ns() - began) / 1000 / len(queries)


def _overlap(found: Answers, truth: Answers) -> float:
    return float(np.mean([len(a & b) / max(len(b), 1) for a, b in zip(found, truth, strict=True)]))


def _ratios(measured: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """Our time by the peer's cheapest setting that reaches the recall; None without one."""

    def cheapest(wanted: Callable[[dict[str, Any]], bool]) -> float | None:
        return min((row["cpu_us_per_query"] for row in measured if wanted(row)), default=None)

    ratios = {}
    for recall in RECALLS:
        ours = cheapest(lambda row: row["engine"] == "tamis" and row["recall"] >= recall)  # noqa: B023
        peer = cheapest(
            lambda row: row["engine"] == "pyseismic-lsr" and row["recall"] >= recall  # noqa: B023
        )
        ratios[f"pyseismic-lsr recall {recall}"] = ours / peer if ours and peer else None
    exact, brute = (
        cheapest(lambda row: row["engine"] == name and row["setting"] == "exact")  # noqa: B023
        for name in ("tamis", "scipy CSR")
    )
    ratios["scipy CSR exact"] = exact / brute if exact and brute else None
    return ratios

"""`tamis bench search`: the index against its peers, on the same vectors, in one process.

A correctness gate comes first: exact search equals the reference on a sample. Then every engine
answers all queries in turn, A B A B, on one thread; a figure is the least processor time of the
repeats, in microseconds a query, beside the recall that was reached. Machines share their caches,
so ratios within a run say more than times.

Where pyserini is installed, exact search over whole numbers is compared with Lucene's, query by
query. Two threads are compared with one in elapsed time, which needs a quiet machine.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tamis.eval.provenance import provenance
from tamis.index import Index, IndexConfig, SparseVectors, reference
from tamis.index.errors import InputError
from tamis.index.exchange.interchange import stored_vectors
from tamis.index.exchange.matrices import read_vectors
from tamis.index.segment.calibration import RECALLS
from tamis.retriever.searcher import Searcher
from tamis.scripts.bench.peers import EXACT, Answers, Built, Engine, build_peers
from tamis.scripts.bench.reach import filtered, recalls
from tamis.scripts.bench.vectors import Topics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from tamis.index.segment.quantize import Precision

SEED = 7
DOCUMENT_TERMS, QUERY_TERMS = 145, 49  # drawn; about 119 and 45 are left after merging
DOCUMENT_SPREAD, QUERY_SPREAD = 0.8, 0.25
CALIBRATION_QUERIES, GATE_QUERIES = 400, 8
LUCENE_DOCUMENTS, LUCENE_DEPTH = 20_000, 100
DOCUMENT_SCALE, QUERY_SCALE = 100, 10  # of Lucene's whole numbers
THREADED_QUERIES = 4000  # answered in one call, so that starting threads is no part of it
THREADED_TURNS = 30  # short ones: what else runs on the machine spoils some of them


@dataclass(frozen=True, slots=True)
class Ours:
    """This index at a recall, or exact."""

    index: Index
    recall: float | None
    name: str = "tamis"

    @property
    def setting(self) -> str:
        """How the search is asked for."""
        return EXACT if self.recall is None else f"recall={self.recall}"

    def answer(self, queries: SparseVectors, k: int) -> Answers:
        """The best documents of each query."""
        best = self.index.search(queries, k, recall=self.recall, exact=self.recall is None)
        return [set(row) for row in best.docs.tolist()]


class Workload(NamedTuple):
    """Vectors of documents and of questions; ``origin`` tells where they are from.

    The last `CALIBRATION_QUERIES` questions calibrate, the others are asked.
    """

    corpus: SparseVectors
    asked: SparseVectors
    origin: str


def synthetic(documents: int, queries: int) -> Workload:
    """Vectors drawn around topics."""
    topics = Topics(SEED)
    corpus = topics.vectors(documents, DOCUMENT_TERMS, DOCUMENT_SPREAD, SEED + 1)
    asked = topics.vectors(queries + CALIBRATION_QUERIES, QUERY_TERMS, QUERY_SPREAD, SEED + 2)
    return Workload(corpus, asked, f"synthetic, seed {SEED}")


def from_collection(
    folder: Path, questions: Path, queries: int, lexical_weight: float | None
) -> Workload:
    """The vectors of a collection, and questions by its own encoder.

    Args:
        folder: of the collection.
        questions: one a line.
        queries: how many to ask; as many as calibrate are drawn beside them.
        lexical_weight: factor on the words of questions; 0 leaves words out of documents too.

    Raises:
        InputError: there are too few questions.
    """
    searcher = Searcher.open(folder)
    texts = list(dict.fromkeys(filter(None, map(str.strip, questions.read_text().splitlines()))))
    drawn = _drawn(len(texts), queries, questions)
    index = searcher.collection.index
    corpus = SparseVectors.concatenate([vectors for _, vectors in stored_vectors(index)])
    asked = searcher.encode([texts[number] for number in drawn], lexical_weight)
    if lexical_weight == 0 and searcher.encoder is not None:
        learned = searcher.encoder.description.vocab_size
        corpus, asked = corpus.below(learned), asked.below(learned)
    return Workload(corpus, asked, f"{folder.name}, lexical weight {lexical_weight}")


def from_vectors(documents: Path, questions: Path, queries: int) -> Workload:
    """Vectors encoded beforehand, each a file of one batch; see `read_vectors`.

    Raises:
        InputError: there are too few questions.
    """
    asked = read_vectors(questions)
    asked = asked.take(_drawn(len(asked), queries, questions))
    return Workload(read_vectors(documents), asked, f"{documents.name}, asked {questions.name}")


def _drawn(questions: int, queries: int, place: Path) -> NDArray[np.int64]:
    """Which of all questions to take, ``queries`` and as many as calibrate (InputError)."""
    wanted = queries + CALIBRATION_QUERIES
    if questions < wanted:
        raise InputError(
            f"{place}: expected at least {wanted} questions, found {questions}; "
            "give more or set --queries lower"
        )
    return np.random.default_rng(SEED).choice(questions, wanted, replace=False)


def measure_search(
    work: Workload, k: int = 10, repeats: int = 5, precision: Precision = "f32"
) -> dict[str, Any]:
    """Measure a workload; a JSON-ready report.

    Raises:
        AssertionError: exact search differs from the reference.
    """
    os.environ["RAYON_NUM_THREADS"] = "1"  # pyseismic-lsr heeds this alone, at its first use
    corpus, asked = work.corpus, work.asked
    documents, queries = len(corpus), len(asked) - CALIBRATION_QUERIES
    fresh = asked.rows(0, queries)
    folder = Path(tempfile.mkdtemp(prefix="tamis-bench-"))
    try:
        index, took = _build_ours(folder, corpus, asked.rows(queries, len(asked)), precision)
        _gate(index, fresh.rows(0, GATE_QUERIES), k)
        peers, built = build_peers(folder, corpus)
        engines = [*(Ours(index, recall) for recall in (None, *RECALLS)), *peers]
        measured = _interleave(engines, fresh, k, repeats)
        reached, allowed = recalls(index, fresh), filtered(index, fresh, k)
        threaded = [_threaded(index, recall, fresh, k) for recall in (None, 0.95)]
        lucene = _against_lucene(folder, corpus, fresh) if find_spec("pyserini") else None
    finally:
        shutil.rmtree(folder)
    return {
        "vectors": work.origin,
        "documents": documents,
        "queries": queries,
        "k": k,
        "precision": precision,
        "nnz_per_document": round(corpus.nnz / documents, 1),
        "nnz_per_query": round(fresh.nnz / queries, 1),
        "built": [asdict(each) for each in (took, *built)],
        "engines": measured,
        "ratios": _ratios(measured),
        "recalls": reached,
        "filtered": allowed,
        "two_threads": threaded,
        "lucene": lucene,
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
    exact = cheapest(lambda row: row["engine"] == "tamis" and row["setting"] == EXACT)
    for peer_name in ("scipy CSR", "bmp", "pisa"):
        peer = cheapest(
            lambda row: row["engine"] == peer_name and row["setting"].startswith(EXACT)  # noqa: B023
        )
        ratios[f"{peer_name} exact"] = exact / peer if exact and peer else None
    return ratios


def _threaded(index: Index, recall: float | None, queries: SparseVectors, k: int) -> dict[str, Any]:
    """Queries per second of elapsed time with one thread and with two, in turn."""
    times = -(-THREADED_QUERIES // len(queries))
    many = SparseVectors.concatenate([queries] * times)
    best = {1: 0.0, 2: 0.0}
    for _ in range(THREADED_TURNS):
        for threads in best:
            began = time.perf_counter()
            index.search(many, k, recall=recall, exact=recall is None, threads=threads)
            best[threads] = max(best[threads], len(many) / (time.perf_counter() - began))
    return {
        "setting": Ours(index, recall).setting,
        "queries_per_s": {str(threads): round(speed) for threads, speed in best.items()},
        "ratio": round(best[2] / best[1], 3),
    }


def _against_lucene(folder: Path, corpus: SparseVectors, queries: SparseVectors) -> dict[str, int]:
    """How many queries get from Lucene the scores and documents that they get from us."""
    from tamis.eval.lucene import equal_answers, impacts

    documents = impacts(corpus.rows(0, min(LUCENE_DOCUMENTS, len(corpus))), DOCUMENT_SCALE)
    whole = impacts(queries, QUERY_SCALE)
    equal = equal_answers(folder / "lucene", documents, whole, LUCENE_DEPTH)
    return {
        "documents": len(documents),
        "queries": len(whole),
        "k": LUCENE_DEPTH,
        "equal": int(equal.sum()),
    }

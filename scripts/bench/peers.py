"""Peers of `tamis bench search`: other engines, each over the same vectors, on one thread.

They take part where they are installed: SciPy (exhaustive product with the inverted matrix),
``pyseismic-lsr`` (a small grid of settings), ``bmp`` (block-max pruning, impacts of 8 bits) and
``pyterrier-pisa`` (document at a time with block maxima, impacts as whole numbers). What turns our
vectors into theirs is done before the clock starts, but for the tables that PISA's binding makes.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from tamis.index import SparseVectors

EXACT = "exact"
SEISMIC_GRID = (
    *((2, 1.0), (3, 1.0), (3, 0.9), (4, 1.0), (4, 0.9), (5, 0.9), (6, 0.9), (8, 0.8)),
    *((12, 0.8), (20, 0.8), (20, 0.7)),  # query cut, heap factor
)
SEISMIC_TERMS = 65_536  # it takes no vectors of more different ones
BMP_BLOCKS = (16, 32)  # documents a block
BMP_LEVELS = 255
PISA_ALGORITHMS = ("maxscore", "block_max_maxscore", "block_max_wand")
PISA_SCALE = 100.0  # of weights, which PISA cuts to whole numbers

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


class BlockMax:
    """BMP in its safe form, over documents in the order given."""

    def __init__(self, searcher: Any, block: int) -> None:  # noqa: ANN401
        self.searcher = searcher
        self.name, self.setting = "bmp", f"{EXACT}, {block} documents a block"
        self._prepared: tuple[SparseVectors, list[dict[str, float]]] | None = None

    def answer(self, queries: SparseVectors, k: int) -> Answers:
        """The best documents of each query; their strings are made before the clock starts."""
        if self._prepared is None or self._prepared[0] is not queries:
            self._prepared = (queries, [spelled(row) for row in queries.to_dicts()])
        search = self.searcher.search
        found = (search(query, k=k, alpha=1.0, beta=1.0)[0] for query in self._prepared[1])
        return [set(map(int, names)) for names in found]


class Pisa:
    """PISA's quantised scores with one of its algorithms."""

    def __init__(self, index: Any, algorithm: str) -> None:  # noqa: ANN401
        self.index, self.algorithm = index, algorithm
        self.name, self.setting = "pisa", f"{EXACT}, {algorithm}"
        self._prepared: tuple[SparseVectors, Any, Any] | None = None

    def answer(self, queries: SparseVectors, k: int) -> Answers:
        """The best documents of each query; their table is made before the clock starts."""
        if self._prepared is None or self._prepared[0] is not queries:
            self._prepared = (queries, self._retriever(k), _pisa_queries(queries))
        _, retrieve, table = self._prepared
        found = retrieve(table)
        best: Answers = [set() for _ in range(len(queries))]
        for query, doc in zip(found["qid"].astype(int), found["docno"].astype(int), strict=True):
            best[query].add(doc)
        return best

    def _retriever(self, k: int) -> Any:  # noqa: ANN401
        with quiet_output():
            return self.index.quantized(
                num_results=k, threads=1, query_algorithm=self.algorithm, toks_scale=PISA_SCALE
            )


class Exhaustive:
    """SciPy: the inverted matrix times each query, then a selection."""

    def __init__(self, documents: SparseVectors) -> None:
        self.name, self.setting = "scipy CSR", EXACT
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


def build_peers(folder: Path, corpus: SparseVectors) -> tuple[list[Engine], list[Built]]:
    """Every peer that is installed, over these documents; files go into ``folder``."""
    peers: list[Engine] = [Exhaustive(corpus)] if find_spec("scipy") else []
    built = []
    if find_spec("seismic") and np.unique(corpus.terms).size <= SEISMIC_TERMS:
        index, took = _build_seismic(folder, corpus)
        built.append(took)
        peers += [Seismic(index, cut, factor) for cut, factor in SEISMIC_GRID]
    if find_spec("bmp"):
        for block in BMP_BLOCKS:
            searcher, took = _build_bmp(folder / f"bmp-{block}", corpus, block)
            built.append(took)
            peers.append(BlockMax(searcher, block))
    if find_spec("pyterrier_pisa"):
        index, took = _build_pisa(folder / "pisa", corpus)
        built.append(took)
        peers += [Pisa(index, algorithm) for algorithm in PISA_ALGORITHMS]
    return peers, built


def _build_seismic(folder: Path, corpus: SparseVectors) -> tuple[Any, Built]:
    """Build with 400 postings a list up to 100,000 documents, 1,000 from 250,000 on."""
    from seismic import SeismicDataset, SeismicIndex

    dataset = SeismicDataset()
    for doc in range(len(corpus)):
        terms, weights = corpus.row(doc)
        dataset.add_document(str(doc), _seismic_strings(terms), weights)
    began = time.process_time()
    index = SeismicIndex.build_from_dataset(
        dataset,
        n_postings=min(1000, max(400, len(corpus) // 250)),
        centroid_fraction=0.1,
        summary_energy=0.4,
        max_fraction=6.0,
    )
    took = time.process_time() - began
    index.save(str(folder / "seismic"))
    size = sum(file.stat().st_size for file in folder.glob("seismic*"))
    return index, Built("pyseismic-lsr", took, size)


def _seismic_strings(numbers: NDArray[Any]) -> NDArray[np.str_]:
    from seismic import get_seismic_string

    strings: NDArray[np.str_] = numbers.astype(get_seismic_string())
    return strings


def _seismic_queries(queries: SparseVectors) -> list[Any]:
    rows = [queries.row(query) for query in range(len(queries))]
    ids = _seismic_strings(np.arange(len(queries)))
    return [ids, [_seismic_strings(terms) for terms, _ in rows], [weights for _, weights in rows]]


def spelled(row: dict[int, float]) -> dict[str, float]:
    """A vector with its terms as strings."""
    return {str(term): weight for term, weight in row.items()}


def _build_bmp(path: Path, corpus: SparseVectors, block: int) -> tuple[Any, Built]:
    from bmp import Indexer, Searcher

    step = float(corpus.weights.max(initial=0.0)) / BMP_LEVELS
    indexer, took_ns = Indexer(str(path), block, True), 0
    for doc in range(len(corpus)):
        terms, weights = corpus.row(doc)
        impacts = np.maximum(1, np.rint(weights / step)).astype(np.int64)
        vector = dict(zip(map(str, terms.tolist()), impacts.tolist(), strict=True))
        began = time.process_time_ns()
        indexer.add_document(str(doc), vector)
        took_ns += time.process_time_ns() - began
    began = time.process_time_ns()
    indexer.finish()
    took_ns += time.process_time_ns() - began
    return Searcher(str(path)), Built(f"bmp, blocks of {block}", took_ns / 1e9, _size(path))


def _build_pisa(path: Path, corpus: SparseVectors) -> tuple[Any, Built]:
    """Build from Python's dictionaries, which the binding turns into PISA's files itself."""
    from pyterrier_pisa import PisaIndex

    rows = (corpus.rows(doc, doc + 1).to_dicts()[0] for doc in range(len(corpus)))
    documents = ({"docno": str(doc), "toks": spelled(row)} for doc, row in enumerate(rows))
    began = time.process_time()
    index = PisaIndex(str(path), stemmer="none", stops="none", threads=1)
    with quiet_output():
        index.toks_indexer(scale=PISA_SCALE).index(documents)
    return index, Built("pisa", time.process_time() - began, _size(path))


def _pisa_queries(queries: SparseVectors) -> Any:  # noqa: ANN401
    import pandas as pd

    rows = [spelled(row) for row in queries.to_dicts()]
    return pd.DataFrame({"qid": [str(query) for query in range(len(rows))], "query_toks": rows})


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


@contextmanager
def quiet_output() -> Iterator[None]:
    """Keep what a library's C++ prints away from standard output, which is the report's."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)

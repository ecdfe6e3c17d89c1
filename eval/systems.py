"""This package's own search as a system; `baselines` and `hybrid` hold the others."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import xxhash

from tamis.eval.efficiency import documents, learned_terms, sparse_facts, term_counts
from tamis.eval.encoders import HeaviestTerms, Remembered, arithmetic
from tamis.eval.languages import corpus_name
from tamis.eval.rankings import Rankings
from tamis.index.errors import InputError
from tamis.index.segment.plain_search import import_loops
from tamis.index.vectors import SparseVectors
from tamis.retriever.corpus.chunking import chunk_id
from tamis.retriever.fusion import sparse_rocchio
from tamis.retriever.models.inference_free import TableQueryEncoder
from tamis.retriever.search_options import SearchOptions
from tamis.retriever.words.analysis import analysis_versions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tamis.eval.datasets import Dataset
    from tamis.eval.ranker import Feedback
    from tamis.retriever.corpus.chunking import Chunking
    from tamis.retriever.models.encoder import Encoder
    from tamis.retriever.searcher import Searcher
    from tamis.retriever.words.lexical import LexicalConfig


SAMPLED_DOCUMENTS = 2000


def settings_digest(settings: Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits that change with any of the settings."""
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def caches() -> Path:
    """Where indexes are kept between evaluations unless another folder is named."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tamis" / "eval"


def _content_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()


def work_folder(dataset: Dataset, settings: Mapping[str, Any], work: Path) -> Path:
    """Where a system keeps what it made of a corpus: its name changes with corpus and settings."""
    path = dataset.files.get("corpus")
    # Of a package that gives records: the version of what is taken for their text.
    corpus = "default_text" if path is None else _content_hash(path)
    name = corpus_name(dataset.name).replace("/", "-")
    return work / f"{name}-{settings_digest({'of': corpus, **settings})}"


@dataclass(frozen=True)
class TamisSystem:
    """This package's search.

    Attributes:
        encoder: of documents and queries; None for the lexical channel alone.
        lexical: settings of the lexical channel; None turns it off.
        name: as reports print it.
        lexical_weight: factor on the words of queries; None takes the collection's own.
        document_terms: keep only so many of the heaviest learned terms of a document.
        exact: exhaustive top k, so that the numbers are the model's and not the index's.
        chunking: divide documents into passages; a document scores as its best one (MaxP).
        device: ``cuda`` ranks on a GPU, exactly.
    """

    encoder: Encoder | None
    lexical: LexicalConfig | None
    name: str = "tamis"
    lexical_weight: float | None = None
    document_terms: int | None = None
    exact: bool = True
    chunking: Chunking | None = None
    device: str = "cpu"

    def settings(self) -> dict[str, Any]:
        """Encoder description, lexical settings and search options."""
        return {
            **self._index_settings(),
            "lexical_weight": self.lexical_weight,
            "exact": self.exact,
        }

    def prepare(self, dataset: Dataset, work: Path) -> SearcherRanker:
        """Index the corpus into ``work``, going on with an interrupted build."""
        from tamis.index.generations.manifest import CURRENT
        from tamis.retriever.indexing import index_corpus
        from tamis.retriever.searcher import Searcher

        folder = work_folder(dataset, self._index_settings(), work)
        speed = folder.with_name(folder.name + ".json")  # measured once, when the index is made
        if not (folder / CURRENT).exists():
            began, resumed = perf_counter(), folder.exists()
            source = Remembered(self.encoder, work / "vectors") if self.encoder else None
            collection = index_corpus(
                dataset.passages(),
                folder,
                encoder=self._limited(source),
                lexical=self.lexical,
                source=dataset.name,
                chunking=self.chunking,
                words_first=False,
                resume=resumed,
            )
            if not resumed and not (source and source.found):
                documents_per_s = len(collection) / (perf_counter() - began)
                speed.write_text(json.dumps({"documents_per_s": documents_per_s}))
        known = json.loads(speed.read_text()) if speed.exists() else {}
        searcher = Searcher.open(folder)
        return SearcherRanker(searcher, self.lexical_weight, self.exact, known, self.device)

    def _limited(self, encoder: Encoder | None) -> Encoder | None:
        if encoder is None or self.document_terms is None:
            return encoder
        return HeaviestTerms(encoder, self.document_terms)

    def _index_settings(self) -> dict[str, Any]:
        return {
            "encoder": asdict(self.encoder.description) if self.encoder else None,
            **({"arithmetic": arithmetic(self.encoder)} if self.encoder else {}),
            "lexical": self.lexical and {**asdict(self.lexical), **analysis_versions()},
            "document_terms": self.document_terms,
            **({"chunk": asdict(self.chunking)} if self.chunking else {}),
        }


@dataclass(frozen=True)
class IndexedSystem:
    """A collection that is on disk already, whatever it was built with.

    Attributes:
        searcher: searches it.
        name: as reports print it.
        lexical_weight: factor on the words of queries; None takes the collection's own.
        exact: exhaustive top k; otherwise the index's own default.
        device: ``cuda`` ranks on a GPU, exactly.
    """

    searcher: Searcher
    name: str = "tamis"
    lexical_weight: float | None = None
    exact: bool = False
    device: str = "cpu"

    def settings(self) -> dict[str, Any]:
        """The collection's own settings and the search options."""
        return {
            **msgspec.to_builtins(self.searcher.collection.settings),
            "lexical_weight": self.lexical_weight,
            "exact": self.exact,
        }

    def prepare(self, dataset: Dataset, work: Path) -> SearcherRanker:
        """Check that the collection holds the judged documents.

        Raises:
            InputError: it lacks more than the dataset's own corpus does.
        """
        collection = self.searcher.collection
        judged = {doc_id for grades in dataset.qrels.values() for doc_id in grades}
        chunks = collection.settings.chunk is not None
        first = [(doc_id, chunk_id(doc_id, 1) if chunks else doc_id) for doc_id in judged]
        missing = [doc_id for doc_id, stored in first if collection.doc(stored) is None]
        if len(missing) > len(judged) // 2:
            raise InputError(
                f"{collection.path}: expected an index of {dataset.name}, found one without "
                f"{len(missing)} of its {len(judged)} judged documents, such as "
                f"{', '.join(map(repr, sorted(missing)[:3]))}; index the dataset's corpus"
            )
        return SearcherRanker(self.searcher, self.lexical_weight, self.exact, {}, self.device)


@dataclass(frozen=True)
class SearcherRanker:
    """Ranks with a `Searcher`."""

    searcher: Searcher
    lexical_weight: float | None
    exact: bool
    speed: Mapping[str, float]  # documents_per_s, where it was measured
    device: str = "cpu"
    _query_terms: list[SparseVectors] = field(default_factory=list, repr=False)

    def rank(self, queries: Sequence[str], depth: int) -> list[dict[str, float]]:
        """Encode and search; no document is fetched."""
        vectors = self.encode(queries)
        self._query_terms[:] = [vectors]
        return self.rank_vectors(vectors, depth)

    def encode(self, queries: Sequence[str]) -> SparseVectors:
        """The query vectors that `rank` searches with."""
        return self.searcher.encode(queries, self.lexical_weight)

    def rank_vectors(self, vectors: SparseVectors, depth: int) -> list[dict[str, float]]:
        """The rankings of query vectors, by the compiled loops as a server's are."""
        import_loops()
        return self._rankings.rank(vectors, SearchOptions(k=depth, exact=self.exact))

    @cached_property
    def _rankings(self) -> Rankings:
        return Rankings(self.searcher.collection, self.device)

    def rank_with_feedback(
        self,
        queries: Sequence[str],
        feedback: Sequence[Sequence[str]],
        rule: Feedback,
        depth: int,
    ) -> list[dict[str, float]]:
        """Rank again with the learned terms of each query's feedback documents added."""
        vectors = self.encode(queries)
        held = self._vectors_of({doc_id for of_query in feedback for doc_id in of_query})
        rows = [
            sparse_rocchio(
                vectors.rows(query, query + 1),
                SparseVectors.concatenate(
                    [
                        SparseVectors.empty(vectors.vocab_size),
                        *(held[doc] for doc in documents if doc in held),
                    ]
                ),
                alpha=rule.alpha,
                beta=rule.beta,
                terms=rule.terms,
            )
            for query, documents in enumerate(feedback)
        ]
        return self.rank_vectors(SparseVectors.concatenate(rows), depth)

    def _vectors_of(self, doc_ids: set[str]) -> dict[str, SparseVectors]:
        """Learned terms of documents in the query's weighting, one row each."""
        collection = self.searcher.collection
        if self._rankings.group_by is not None:
            raise InputError(
                "expected whole documents to take feedback from, found passages of them; "
                "leave out chunk, or the feedback"
            )
        learned, found = learned_terms(collection), {}
        for doc_id in sorted(doc_ids):
            doc = collection.doc(doc_id)
            if doc is None:
                continue
            terms, weights = collection.index.row(doc)
            weights = weights * self._query_weighting(terms, learned)
            row = dict(zip(terms.tolist(), weights.tolist(), strict=True))
            kept = {term: weight for term, weight in row.items() if weight > 0}
            found[doc_id] = SparseVectors.from_dicts([kept], collection.index.vocab_size)
        return found

    def _query_weighting(self, terms: NDArray[np.int32], learned: int) -> NDArray[np.float32]:
        """What turns document weights into query weights; 0 for words, which take no feedback."""
        factors = (terms < learned).astype(np.float32)
        if isinstance(self.searcher.encoder, TableQueryEncoder):
            factors[terms < learned] = self.searcher.encoder.weights[terms[terms < learned]]
        return factors

    def timed(self, query: str, k: int) -> dict[str, float]:
        """One query through the whole searcher, documents fetched."""
        (result,) = self.searcher.search(
            [query],
            k,
            exact=self.exact,
            lexical_weight=self.lexical_weight,
            group_by=self._rankings.group_by,
        )
        return {name: ms for name, ms in asdict(result.times).items() if ms}

    def facts(self) -> dict[str, Any]:
        """Index size, active terms on both sides, and the FLOPS measure."""
        return {**sparse_facts(self.searcher.collection, self._query_terms), **self.speed}

    def distributions(self) -> dict[str, list[int]]:
        """Terms of each query and of up to 2,000 documents, by channel."""
        collection = self.searcher.collection
        step = -(-len(collection) // SAMPLED_DOCUMENTS)
        found = term_counts("a document", documents(collection, step), collection)
        if self._query_terms:
            found |= term_counts("a query", self._query_terms[0], collection)
        return found

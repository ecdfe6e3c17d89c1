"""What can be evaluated: a system prepares a corpus and gives a ranker of text queries.

Here are the two protocols and this package's own search; `baselines` and `hybrid` hold the others.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tamis.eval.pruning import LimitedTerms
from tamis.index.errors import InputError
from tamis.index.vectors import SparseVectors
from tamis.retriever.fusion import sparse_rocchio
from tamis.retriever.inference_free import TableQueryEncoder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tamis.eval.datasets import Dataset
    from tamis.retriever.encoder import Encoder
    from tamis.retriever.lexical import LexicalConfig
    from tamis.retriever.searcher import Searcher


class Ranker(Protocol):
    """Answers text queries over one corpus."""

    def rank(self, queries: Sequence[str], depth: int) -> list[dict[str, float]]:
        """The ``depth`` best documents of each query, with their scores."""

    def timed(self, query: str, k: int) -> dict[str, float]:
        """Answer one query as a service would and give the milliseconds of each stage."""

    def facts(self) -> dict[str, Any]:
        """Sizes and speeds: ``index_bytes``, ``documents_per_s``, ``document_terms``, ..."""

    def distributions(self) -> dict[str, list[int]]:
        """Counts to draw histograms of, one number an item: "terms of a query", say."""


class FeedbackRanker(Ranker, Protocol):
    """A ranker whose query vectors can be moved towards documents."""

    def rank_with_feedback(
        self,
        queries: Sequence[str],
        feedback: Sequence[Sequence[str]],
        rule: Feedback,
        depth: int,
    ) -> list[dict[str, float]]:
        """Rank again after adding the vectors of each query's feedback documents."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """Rocchio's rule for pseudo-relevance feedback.

    Attributes:
        documents: first answers that are taken for relevant.
        alpha: weight of the query.
        beta: weight of the mean of the documents.
        terms: most terms that a sparse query may gain.
    """

    documents: int = 5
    alpha: float = 1.0
    beta: float = 0.4
    terms: int = 64


class System(Protocol):
    """A way to search, not yet bound to a corpus."""

    @property
    def name(self) -> str:
        """As reports print it."""

    def settings(self) -> dict[str, Any]:
        """All that decides its rankings, as JSON values."""

    def prepare(self, dataset: Dataset, work: Path) -> Ranker:
        """Index the corpus, or open what an earlier run left in ``work``."""


SAMPLED_DOCUMENTS = 2000


def fingerprint(settings: Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits that change with any of the settings."""
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def caches() -> Path:
    """Where indexes are kept between evaluations unless another folder is named."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tamis" / "eval"


def work_folder(dataset: Dataset, settings: Mapping[str, Any], work: Path) -> Path:
    """Where a system keeps what it made of a corpus: its name changes with corpus and settings."""
    corpus = [
        (role, path.stat().st_size, path.stat().st_mtime_ns)
        for role, path in dataset.files.items()
        if role in ("corpus", "collection")
    ]
    return work / f"{dataset.name.replace('/', '-')}-{fingerprint({'of': corpus, **settings})}"


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
    """

    encoder: Encoder | None
    lexical: LexicalConfig | None
    name: str = "tamis"
    lexical_weight: float | None = None
    document_terms: int | None = None
    exact: bool = True

    def settings(self) -> dict[str, Any]:
        """Encoder description, lexical settings and search options."""
        return {
            **self._index_settings(),
            "lexical_weight": self.lexical_weight,
            "exact": self.exact,
        }

    def prepare(self, dataset: Dataset, work: Path) -> SearcherRanker:
        """Index the corpus into ``work``, going on with an interrupted build."""
        from tamis.index.manifest import CURRENT
        from tamis.retriever.indexing import index_corpus
        from tamis.retriever.searcher import Searcher

        folder = work_folder(dataset, self._index_settings(), work)
        if not (folder / CURRENT).exists():
            encoder = LimitedTerms(self.encoder, self.document_terms) if self.encoder else None
            began = perf_counter()
            collection = index_corpus(
                dataset.passages(),
                folder,
                encoder=encoder,
                lexical=self.lexical,
                source=dataset.name,
                resume=folder.exists(),
            )
            took_s = perf_counter() - began
            _notes(folder).write_text(json.dumps(_made(len(collection), took_s, encoder)))
        made = json.loads(_notes(folder).read_text()) if _notes(folder).exists() else {}
        return SearcherRanker(
            Searcher.open(folder), self.lexical_weight, self.exact, made, self.encoder
        )

    def _index_settings(self) -> dict[str, Any]:
        return {
            "encoder": asdict(self.encoder.description) if self.encoder else None,
            "lexical": self.lexical.to_json() if self.lexical else None,
            "document_terms": self.document_terms,
        }


def _notes(folder: Path) -> Path:
    """What was measured while an index was made, beside it."""
    return folder.with_name(folder.name + ".json")


def _made(documents: int, took_s: float, encoder: LimitedTerms | None) -> dict[str, Any]:
    """Speed, and the terms of up to 2,000 documents; nothing of a build that was resumed."""
    if encoder is None:
        return {"documents_per_s": round(documents / took_s, 2)}
    if len(encoder.sizes) != documents:
        return {}
    step = -(-documents // SAMPLED_DOCUMENTS)
    return {
        "documents_per_s": round(documents / took_s, 2),
        "learned_terms_of_documents": encoder.sizes[::step],
    }


@dataclass(frozen=True)
class IndexedSystem:
    """A collection that is on disk already, whatever it was built with.

    Attributes:
        searcher: searches it.
        name: as reports print it.
        lexical_weight: factor on the words of queries; None takes the collection's own.
        exact: exhaustive top k; otherwise the index's own default.
    """

    searcher: Searcher
    name: str = "tamis"
    lexical_weight: float | None = None
    exact: bool = False

    def settings(self) -> dict[str, Any]:
        """The collection's own settings and the search options."""
        return {
            **self.searcher.collection.settings,
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
        missing = [doc_id for doc_id in judged if collection.doc(doc_id) is None]
        if len(missing) > len(judged) // 2:
            raise InputError(
                f"{collection.path}: expected an index of {dataset.name}, found one without "
                f"{len(missing)} of its {len(judged)} judged documents, such as "
                f"{', '.join(map(repr, sorted(missing)[:3]))}; index the dataset's corpus"
            )
        return SearcherRanker(self.searcher, self.lexical_weight, self.exact, {})


@dataclass(frozen=True)
class SearcherRanker:
    """Ranks with a `Searcher`."""

    searcher: Searcher
    lexical_weight: float | None
    exact: bool
    made: Mapping[str, Any]  # what was measured while the index was made
    encoder: Encoder | None = None
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
        """The rankings of query vectors."""
        collection = self.searcher.collection
        best = collection.index.search(vectors, min(depth, len(collection)), exact=self.exact)
        return [
            {
                collection.doc_id(doc): score
                for doc, score in zip(docs.tolist(), scores.tolist(), strict=True)
            }
            for docs, scores in (best.row(query) for query in range(len(best)))
        ]

    def rank_with_feedback(
        self,
        queries: Sequence[str],
        feedback: Sequence[Sequence[str]],
        rule: Feedback,
        depth: int,
    ) -> list[dict[str, float]]:
        """Rank again with the learned terms of each query's feedback documents added.

        Raises:
            InputError: the collection has no learned terms, or its document encoder is not there.
        """
        if self.encoder is None:
            raise InputError(
                f"{self.searcher.collection.path}: expected an encoder for feedback documents, "
                "found none; evaluate with --encoder"
            )
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
        """Learned document vectors in the query's weighting: one row each, encoded anew."""
        from tamis.retriever.searcher import content_of

        collection = self.searcher.collection
        numbers = {doc_id: collection.doc(doc_id) for doc_id in sorted(doc_ids)}
        found = {doc_id: doc for doc_id, doc in numbers.items() if doc is not None}
        texts = [content_of(collection.document(doc)) for doc in found.values()]
        assert self.encoder is not None
        encoded = self.encoder.encode_documents(texts)
        weights = encoded.weights * self._query_weighting(encoded.terms)
        kept = weights > 0
        wide = SparseVectors(
            np.concatenate([[0], np.cumsum(kept)])[encoded.offsets],
            encoded.terms[kept],
            weights[kept],
            collection.index.vocab_size,
        )
        return {doc_id: wide.rows(row, row + 1) for row, doc_id in enumerate(found)}

    def _query_weighting(self, terms: NDArray[np.int32]) -> NDArray[np.float32]:
        """What turns document weights into query weights: the table's, where there is a table."""
        if isinstance(self.searcher.encoder, TableQueryEncoder):
            return self.searcher.encoder.weights[terms]
        return np.ones(terms.size, np.float32)

    def timed(self, query: str, k: int) -> dict[str, float]:
        """One query through the whole searcher, documents fetched."""
        (result,) = self.searcher.search(
            [query], k, exact=self.exact, lexical_weight=self.lexical_weight
        )
        return {name: ms for name, ms in asdict(result.times).items() if ms}

    def facts(self) -> dict[str, Any]:
        """Index size, active terms on both sides, and the FLOPS measure."""
        from tamis.eval.efficiency import sparse_facts

        facts = sparse_facts(self.searcher.collection, self._query_terms)
        speed = {key: self.made[key] for key in ("documents_per_s",) if key in self.made}
        return {**facts, **speed}

    def distributions(self) -> dict[str, list[int]]:
        """Terms of each query, and learned terms of a sample of documents."""
        from tamis.eval.efficiency import sizes_by_channel

        found: dict[str, list[int]] = {}
        if self._query_terms:
            found |= sizes_by_channel(self._query_terms[0], self.searcher.collection)
        if "learned_terms_of_documents" in self.made:
            found["learned terms of a document"] = self.made["learned_terms_of_documents"]
        return found

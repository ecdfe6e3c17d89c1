"""The lexical channel: words with BM25 weights as further terms of the same sparse vectors.

A document stores only how far each of its words is saturated, a query carries what depends on the
collection, so segments, merges and shards agree:

- document: ``tf (k1 + 1) / (tf + k1 (1 - b + b length / average length))``;
- query: ``qf ln(1 + (N - df + 0.5) / (df + 0.5)) weight``.

N and the average length count the documents that hold a word at all, as Lucene does: the others
tell nothing of words. The dot product of both sides is BM25 as Lucene computes it (Kamphuis, de
Vries, Boytsov and Lin: Which BM25 Do You Mean?, ECIR 2020, with the constant ``k1 + 1`` kept).
Knows nothing of files or models.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain, repeat
from typing import TYPE_CHECKING

import numpy as np

from tamis.index.errors import InputError
from tamis.index.interrupts import check_for_interrupts
from tamis.index.vectors import SparseVectors
from tamis.retriever.words.analysis import (
    Analyzer,
    LexicalConfig,
    languages,
    warn_of_other_analysis,
)
from tamis.retriever.words.fields import check_boosts, field_key, main_field
from tamis.retriever.words.several_languages import analyzer_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from tamis.index.generations.settings import LexicalSettings
    from tamis.index.segment.dictionary import Dictionary, DictionaryWriter
    from tamis.retriever.words.synonyms import OwnWords

__all__ = [
    "Analyzer",
    "LexicalConfig",
    "LexicalQueries",
    "WordCounter",
    "idf",
    "languages",
    "lengths",
    "saturate",
]

REMEMBERED_CHUNKS = 1 << 19  # about 100 MB
KEPT_ANALYZERS = 16
MOST_WEIGHT = 1e6  # factor on the words of a query
LONGEST_REMEMBERED = 32  # characters: longer chunks hardly come twice


@lru_cache(KEPT_ANALYZERS)
def _query_analyzer(config: LexicalConfig) -> Analyzer:
    """One for the queries of all collections that are analysed alike, with what it remembers."""
    return analyzer_of(config)


class WordCounter:
    """Counts the words of texts, adding new words and document frequencies to a dictionary.

    Keep one for a whole corpus: it remembers the chunks it has seen, and most of its speed is in
    that. One thread at a time.
    """

    def __init__(
        self,
        analyzer: Analyzer,
        dictionary: DictionaryWriter,
        remembered_chunks: int = REMEMBERED_CHUNKS,
        prefix: str = "",
    ) -> None:
        """Count words under their names in the dictionary: ``prefix`` and the word."""
        self._analyzer = analyzer
        self._dictionary = dictionary
        self._seen = _Seen(dictionary, prefix)
        self._remembered_chunks = remembered_chunks

    def count(
        self, texts: Sequence[str], analyzers: Iterable[Analyzer] | None = None
    ) -> SparseVectors:
        """As `tally`; each text adds one to the document frequency of each of its words."""
        counted = self.tally(texts, analyzers)
        self._dictionary.count_documents(counted.terms)
        return counted

    def tally(
        self, texts: Sequence[str], analyzers: Iterable[Analyzer] | None = None
    ) -> SparseVectors:
        """How often each word occurs in each text, ``[texts]``, weights being whole numbers.

        Args:
            texts: of documents.
            analyzers: of each, where it is not that of all.
        """
        chunks = array("q")
        ends = [0]
        of_each = repeat(self._analyzer) if analyzers is None else analyzers
        for text, analyzer in zip(texts, of_each, strict=False):
            chunks.extend(map(self._seen[analyzer].__getitem__, analyzer.chunks(text)))
            ends.append(len(chunks))
        counted = _count(*self._seen.expand(chunks, ends), self._dictionary.vocab_size)
        self._seen.forget_beyond(self._remembered_chunks)
        return counted

    def forget(self) -> None:
        """Let go of the chunks it has seen."""
        self._seen.forget_beyond(0)


class _SeenChunks(dict[str, int]):
    """Chunk of one analyser -> its ordinal, made when the chunk is first asked for."""

    def __init__(self, analyzer: Analyzer, seen: _Seen) -> None:
        super().__init__()
        self._analyzer, self._add = analyzer, seen.add

    def __missing__(self, chunk: str) -> int:
        ordinal = self._add(self._analyzer.words_of(chunk))
        if len(chunk) <= LONGEST_REMEMBERED:
            self[chunk] = ordinal
        return ordinal


class _Seen(dict[Analyzer, _SeenChunks]):
    """Of each analyser the chunks it has seen, and the term ids of all chunks by ordinal."""

    def __init__(self, dictionary: DictionaryWriter, prefix: str) -> None:
        super().__init__()
        self._dictionary, self._prefix = dictionary, prefix
        self._terms = array("q")  # of all chunks, one after another
        self._ends = array("q", [0])

    def __missing__(self, analyzer: Analyzer) -> _SeenChunks:
        found = self[analyzer] = _SeenChunks(analyzer, self)
        return found

    def add(self, words: Sequence[str]) -> int:
        """Keep the terms of a chunk's words; their ordinal."""
        if self._prefix:
            words = tuple(self._prefix + word for word in words)
        self._terms.extend(map(self._dictionary.add_word, words))
        self._ends.append(len(self._terms))
        return len(self._ends) - 2

    def expand(
        self, chunks: array[int], ends: list[int]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The term ids of chunk ordinals in a row, and the row ends ``ends`` among them."""
        ordinals = np.array(chunks, np.int64)
        all_ends = np.array(self._ends, np.int64)  # a copy, for an array in use cannot grow
        starts, sizes = all_ends[ordinals], np.diff(all_ends)[ordinals]
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        positions = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], sizes)
        return np.array(self._terms, np.int64)[positions], offsets[ends]

    def forget_beyond(self, most: int) -> None:
        """Bound the memory, between two batches."""
        if len(self._ends) > most:
            self.clear()
            self._terms, self._ends = array("q"), array("q", [0])


def _count(terms: NDArray[np.int64], offsets: NDArray[np.int64], vocab_size: int) -> SparseVectors:
    """Rows of term ids, repeated and in any order, to rows of terms with their counts."""
    rows = offsets.size - 1
    row_of = np.repeat(np.arange(rows), np.diff(offsets))
    keys, counts = np.unique(row_of * vocab_size + terms, return_counts=True)
    row_ends = np.searchsorted(keys, np.arange(rows + 1) * vocab_size)
    return SparseVectors(
        row_ends.astype(np.int64),
        (keys % max(vocab_size, 1)).astype(np.int32),
        counts.astype(np.float32),
        max(vocab_size, 1),
    )


def lengths(counts: SparseVectors) -> NDArray[np.int64]:
    """Words in each document, stop words left out, ``[rows]`` int64."""
    sums = np.concatenate([[0], np.cumsum(counts.weights, dtype=np.float64)])
    return np.diff(sums[counts.offsets]).astype(np.int64)


def saturate(counts: SparseVectors, average_length: float, config: LexicalConfig) -> SparseVectors:
    """The document side of BM25: counts to ``tf (k1 + 1) / (tf + k1 (1 - b + b dl / avgdl))``.

    Args:
        counts: what `WordCounter.count` gave.
        average_length: mean of `lengths` over the documents with words, frozen in the collection's
            manifest.
        config: gives k1 and b.

    Raises:
        InputError: there are words, yet the average length is not above zero.
    """
    if counts.nnz and not 0 < average_length < float("inf"):
        raise InputError(
            f"expected an average length above 0, found {average_length}; "
            "give the collection's words divided by the documents that have any"
        )
    k1, b = config.k1, config.b
    relative = lengths(counts) / max(average_length, 1e-9)
    discount = np.repeat(k1 * (1 - b + b * relative), np.diff(counts.offsets))
    frequency = counts.weights.astype(np.float64)
    weights = (frequency * (k1 + 1) / (frequency + discount)).astype(np.float32)
    return SparseVectors(counts.offsets, counts.terms, weights, counts.vocab_size)


def idf(document_frequency: NDArray[np.int64], documents: int) -> NDArray[np.float32]:
    """``ln(1 + (N - df + 0.5) / (df + 0.5))``, above zero for every df up to N.

    Raises:
        InputError: a word is in more documents than there are.
    """
    if document_frequency.size and document_frequency.max() > documents:
        raise InputError(
            f"expected document frequencies up to {documents}, found {document_frequency.max()}; "
            "read both from one generation of the collection"
        )
    rest = documents - document_frequency + 0.5
    return np.log1p(rest / (document_frequency + 0.5)).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class LexicalQueries:
    """The query side of the channel: texts to weighted words of one collection's generation.

    Attributes:
        analyzer: the one that made the collection's words.
        dictionary: the collection's words and document frequencies.
        documents: how many documents of the generation hold words.
        weight: factor on all words unless a query says its own.
        own: the collection's own stop words, and synonyms, which `encode` does not know of.
    """

    analyzer: Analyzer
    dictionary: Dictionary
    documents: int
    weight: float = 1.0
    own: OwnWords | None = None

    @staticmethod
    def from_settings(
        settings: LexicalSettings,
        dictionary: Dictionary,
        documents: int,
        known: Analyzer | None = None,
    ) -> LexicalQueries:
        """The query side of a collection. Warns at first where other versions made its words.

        Args:
            settings: what it records of its words.
            dictionary: of the generation.
            documents: of the generation, those that hold words.
            known: of the generation before, for which it has warned.

        Raises:
            MismatchError: a later version of the analyser made the words.
        """
        if known is None:
            warn_of_other_analysis(settings)
        config = LexicalConfig.of(settings)
        return LexicalQueries(_query_analyzer(config), dictionary, documents, config.weight)

    def speaking(self, language: str | None) -> LexicalQueries:
        """These for queries of one language, see `Analyzer.speaking`."""
        analyzer = self.analyzer.speaking(language)
        return self if analyzer is self.analyzer else replace(self, analyzer=analyzer)

    def words_of(self, text: str) -> list[str]:
        """The words of a query, without the collection's own stop words where others are left."""
        found = self.analyzer.analyze_query(text)
        if self.own is None or not self.own.stop_words:
            return found
        return [word for word in found if word not in self.own.stop_words] or found

    def encode(self, texts: Sequence[str], weight: float | None = None) -> SparseVectors:
        """One row a text: each known word's idf times its count times the weight.

        Words that no document holds are left out; `encode_known` names them. A weight of 0 gives
        empty rows.

        Raises:
            InputError: the weight is negative or above `MOST_WEIGHT`.
        """
        return self.encode_known(texts, weight)[0]

    def encode_known(
        self,
        texts: Sequence[str],
        weight: float | None = None,
        added: Sequence[Mapping[int, float]] = (),
    ) -> tuple[SparseVectors, list[tuple[str, ...]]]:
        """What `encode` gives, and the words of each text that no document holds.

        Args:
            texts: of queries.
            weight: factor on all words.
            added: for each text, further words by term, with their weights before the factor; a
                word of the text keeps the weight that it has.
        """
        factor = self.weight if weight is None else weight
        check_lexical_weight(factor)
        if factor == 0:
            empty = SparseVectors.empty(max(self.dictionary.vocab_size, 1), len(texts))
            return empty, [()] * len(texts)
        words = []
        for text in texts:
            check_for_interrupts()
            words.append(Counter(self.words_of(text)))
        terms = self.dictionary.lookup_many(list(chain.from_iterable(words)))
        frequency = self.dictionary.document_frequency(terms)
        counts = np.fromiter(chain.from_iterable(row.values() for row in words), np.int64)
        rows = np.repeat(np.arange(len(words)), [len(row) for row in words])
        weights = (counts * idf(frequency, self.documents) * factor).astype(np.float32)
        order = np.lexsort((terms, rows))
        order = order[(frequency[order] > 0) & (weights[order] > 0)]  # a tiny factor may underflow
        offsets = np.searchsorted(rows[order], np.arange(len(words) + 1)).astype(np.int64)
        vectors = SparseVectors.trusted(
            offsets, terms[order], weights[order], max(self.dictionary.vocab_size, 1)
        )
        if any(added):
            vectors = _with_added(vectors, added, factor)
        return vectors, _unknown(words, frequency)

    def boosted(self, words: SparseVectors, boosts: Mapping[str, float]) -> SparseVectors:
        """Queries whose words count again, so many times, where searched fields hold them.

        ``=title:word`` gets the weight of ``=word`` times the boost of ``title``. Those of the main
        field are not stored apart: its boost is added to the word itself.

        Raises:
            InputError: a field is not searched, or a boost is negative or not finite.
        """
        if not boosts:
            return words
        fields = self.analyzer.config.fields
        check_boosts(boosts, [one.name for one in fields])
        main, dictionary = main_field(fields), self.dictionary
        apart = {field_key(name, ""): boost for name, boost in boosts.items() if name != main}
        rows = words.to_dicts()
        for row in rows:
            first = dictionary.first_term
            of_words = {dictionary.word(term): row[term] for term in row if term >= first}
            for key, boost in apart.items():
                terms = dictionary.lookup_many([key + word for word in of_words])
                held = (dictionary.document_frequency(terms) > 0).tolist()
                for term, weight, is_held in zip(
                    terms.tolist(), of_words.values(), held, strict=True
                ):
                    if is_held and boost:
                        row[term] = row.get(term, 0.0) + boost * weight
            if main is not None and main in boosts:
                for word, weight in of_words.items():
                    row[dictionary.lookup(word)] = weight * (1 + boosts[main])
        return SparseVectors.from_dicts(rows, words.vocab_size)


def _with_added(
    vectors: SparseVectors, added: Sequence[Mapping[int, float]], factor: float
) -> SparseVectors:
    rows = [
        {term: weight * factor for term, weight in more.items()} | row
        for row, more in zip(vectors.to_dicts(), added, strict=True)
    ]
    return SparseVectors.from_dicts(rows, vectors.vocab_size)


def _unknown(words: list[Counter[str]], frequency: NDArray[np.int64]) -> list[tuple[str, ...]]:
    """The words of each text whose frequency, one after the other, is 0."""
    if frequency.all():
        return [()] * len(words)
    known = iter((frequency > 0).tolist())
    return [tuple(word for word in row if not next(known)) for row in words]


def check_lexical_weight(factor: float) -> None:
    """Raise InputError for a factor on words that no query can have."""
    if not 0 <= factor <= MOST_WEIGHT:
        raise InputError(
            f"expected a lexical weight from 0 to {MOST_WEIGHT:,.0f}, found {factor}; 0 turns "
            "words off, 1 takes them as they are"
        )

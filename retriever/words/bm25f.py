"""Words of records: counted in each searched field, and weighed over all of them.

A word of a document with fields weighs ``t (k1 + 1) / (t + k1)``, where

    t = sum over fields f of  w_f tf_f / (1 - b_f + b_f l_f / average l_f)

``tf_f`` is how often the field has the word, ``l_f`` how many words the field has, averaged over
the documents that have any there. So a word saturates once, over all fields, and not once in each
(Robertson, Zaragoza and Taylor: Simple BM25 Extension to Multiple Weighted Fields, CIKM 2004; with
lengths taken field by field: Zaragoza, Craswell, Taylor, Saria and Robertson: Microsoft Cambridge
at TREC-13, 2004). One field of weight 1 is BM25. The word in one field, ``=title:word``, weighs as
BM25 of that field alone. Counts name a word of the main field by the word, of others as in them.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from msgspec import structs

from tamis.index.vectors import SparseVectors
from tamis.retriever.words.fields import field_key, field_texts, main_field, split_key
from tamis.retriever.words.lexical import REMEMBERED_CHUNKS, WordCounter, saturate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from numpy.typing import NDArray

    from tamis.index.generations.settings import LexicalSettings
    from tamis.index.segment.dictionary import Dictionary, DictionaryWriter
    from tamis.retriever.words.analysis import Analyzer, LexicalConfig
    from tamis.retriever.words.fields import TextField


@dataclass(frozen=True, slots=True)
class Averages:
    """Mean lengths, by which counts are weighed.

    Attributes:
        length: words of a document, over those that have any; 0 before there are any.
        fields: words of each searched field, over the documents that have any there.
    """

    length: float
    fields: tuple[float, ...] = ()

    def filled(self, measured: Averages) -> Averages:
        """These, and others where these are 0."""
        fields = zip(self.fields, measured.fields, strict=True)
        return Averages(self.length or measured.length, tuple(own or new for own, new in fields))


def averages_of(made: LexicalSettings) -> Averages:
    """The mean lengths that a collection records."""
    return Averages(made.average_length, tuple(one.average_length for one in made.fields))


def with_averages(made: LexicalSettings, averages: Averages) -> LexicalSettings:
    """What a collection records, with other mean lengths."""
    fields = [
        structs.replace(one, average_length=length)
        for one, length in zip(made.fields, averages.fields, strict=True)
    ]
    return structs.replace(made, average_length=averages.length, fields=fields)


class FieldTerms:
    """Which word, and in which field, each term of a dictionary stands for; it grows with it.

    Attributes:
        main: number of the main field.
    """

    def __init__(
        self,
        fields: Sequence[TextField],
        dictionary: Dictionary | DictionaryWriter,
        term_of: Callable[[str], int],
    ) -> None:
        """Take the fields, the dictionary, and what gives the term of a word."""
        main = main_field(fields)
        names = ["" if one.name == main else one.name for one in fields]
        self._numbers = {name: number for number, name in enumerate(names)}
        self.main = self._numbers.get("", -1)
        self._dictionary, self._term_of = dictionary, term_of
        self._fields, self._words = array("b"), array("q")

    @staticmethod
    def of(fields: Sequence[TextField], dictionary: Dictionary) -> FieldTerms:
        """Of a dictionary that stays as it is."""
        return FieldTerms(fields, dictionary, dictionary.lookup)

    def look_up(self, terms: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The number of each term's field in counts, and the term of its word."""
        self.grow()
        ordinals = terms - self._dictionary.first_term
        return (
            np.array(self._fields, np.int64)[ordinals],
            np.array(self._words, np.int64)[ordinals],
        )

    @property
    def vocab_size(self) -> int:
        """Number of terms of the dictionary and before it."""
        return self._dictionary.vocab_size

    def grow(self) -> None:
        """Take in the terms that have come; words that are in fields alone join the dictionary."""
        while len(self._words) < len(self._dictionary):
            for key in self._dictionary.words_from(len(self._words)):
                field, word = split_key(key)
                self._fields.append(self._numbers.get(field, -1))
                self._words.append(self._term_of(word))


class RecordCounter:
    """Counts the words of records as `WordCounter` does those of texts. One thread at a time."""

    def __init__(
        self,
        analyzer: Analyzer,
        dictionary: DictionaryWriter,
        remembered_chunks: int = REMEMBERED_CHUNKS,
    ) -> None:
        self._dictionary, fields = dictionary, analyzer.config.fields
        self._analyzer = analyzer
        self._names, main = [one.name for one in fields], main_field(fields)
        prefixes = ["" if name == main else field_key(name, "") for name in self._names] or [""]
        remembered = remembered_chunks // len(prefixes)
        self._counters = [
            WordCounter(analyzer, dictionary, remembered, prefix) for prefix in prefixes
        ]
        self.terms = FieldTerms(fields, dictionary, dictionary.add_word)

    def count(self, records: Sequence[Mapping[str, Any]], contents: Sequence[str]) -> SparseVectors:
        """How often each word, or word of a field, stands in each record: ``[records]``.

        Each record adds one to the document frequency of each of its words, and of those in fields.

        Args:
            records: the documents.
            contents: the text of each, which is counted where there are no fields.
        """
        analyzers = list(self._analyzer.for_records(records, contents))
        if not self._names:
            return self._counters[0].count(contents, analyzers)
        texts = zip(*(field_texts(record, self._names) for record in records), strict=True)
        counts = [
            one.tally(of_field, analyzers)
            for one, of_field in zip(self._counters, texts, strict=True)
        ]
        joined = _merged(counts, self._dictionary.vocab_size)
        fields, words = self.terms.look_up(joined.terms)
        rows = np.repeat(np.arange(len(joined)), np.diff(joined.offsets))
        vocab_size = self._dictionary.vocab_size
        once = np.unique(rows * vocab_size + words) % max(vocab_size, 1)
        self._dictionary.count_documents(once)
        self._dictionary.count_documents(joined.terms[fields != self.terms.main])
        return joined.over(max(vocab_size, 1))

    def forget(self) -> None:
        """Let go of the chunks it has seen."""
        for counter in self._counters:
            counter.forget()


class LengthSums:
    """Adds up the lengths of documents and of their fields.

    Attributes:
        words: in all documents.
        documents: that have any.
        of_fields: the same two numbers of each searched field.
    """

    def __init__(self, fields: int) -> None:
        """Of so many searched fields."""
        self.words, self.documents = 0, 0
        self.of_fields = [(0, 0)] * fields

    def take(self, counts: SparseVectors, terms: FieldTerms) -> None:
        """Take what `RecordCounter.count` gave."""
        fields: list[tuple[int, int]] = []
        if self.of_fields:
            numbers, _ = terms.look_up(counts.terms)
            lengths = _field_lengths(counts, numbers, len(self.of_fields))
            of_field = lengths.sum(axis=0), np.count_nonzero(lengths, axis=0)
            fields = [
                (int(words), int(documents)) for words, documents in zip(*of_field, strict=True)
            ]
        words = int(counts.weights.sum(dtype=np.float64))
        self.add(words, counts.rows_from(0), fields)

    def add(self, words: int, documents: int, of_fields: Sequence[tuple[int, int]]) -> None:
        """Take the sums of other documents."""
        self.words += words
        self.documents += documents
        self.of_fields = [
            (before + more, had + have)
            for (before, had), (more, have) in zip(self.of_fields, of_fields, strict=True)
        ]

    @property
    def averages(self) -> Averages:
        """Over all taken so far; 0 where there were no words."""
        of_fields = (words / max(documents, 1) for words, documents in self.of_fields)
        return Averages(self.words / max(self.documents, 1), tuple(of_fields))


def weigh(
    counts: SparseVectors, averages: Averages, config: LexicalConfig, terms: FieldTerms
) -> SparseVectors:
    """The document side of BM25F, see above; of BM25 where there are no fields.

    Args:
        counts: what `RecordCounter.count` gave.
        averages: frozen in the collection's manifest; that of each field with a word is above 0.
        config: gives the fields, k1 and b.
        terms: of the collection's dictionary.
    """
    if not config.fields:
        return saturate(counts, averages.length, config)
    fields, words = terms.look_up(counts.terms)
    rows = np.repeat(np.arange(len(counts)), np.diff(counts.offsets))
    b = np.array([config.b if one.b is None else one.b for one in config.fields])
    lengths = _field_lengths(counts, fields, b.size) / np.maximum(averages.fields, 1e-9)
    relative = counts.weights / (1 - b + b * lengths)[rows, fields]
    vocab_size = max(counts.vocab_size, terms.vocab_size)
    keys, places = np.unique(rows * vocab_size + words, return_inverse=True)
    factors = np.array([one.weight for one in config.fields])
    over_all = np.bincount(places, relative * factors[fields], keys.size)
    apart = fields != terms.main
    every = np.concatenate([(rows * vocab_size + counts.terms)[apart], keys])
    weights = np.concatenate([relative[apart], over_all])
    order = every.argsort()
    weights = (weights * (config.k1 + 1) / (weights + config.k1)).astype(np.float32)
    ends = np.searchsorted(every[order], np.arange(len(counts) + 1) * vocab_size)
    found = (every[order] % vocab_size).astype(np.int32)
    return SparseVectors(ends.astype(np.int64), found, weights[order], vocab_size)


def shares(
    record: Mapping[str, Any], analyzer: Analyzer, averages: Averages
) -> Callable[[str], dict[str, float]]:
    """Gives, for a word of a document, what share of its ``t`` comes from each field."""
    config, relative = analyzer.config, {}
    names = [one.name for one in config.fields]
    texts = field_texts(record, names)
    for one, text, average in zip(config.fields, texts, averages.fields, strict=True):
        words, b = Counter(analyzer.analyze(text)), config.b if one.b is None else one.b
        norm = 1 - b + b * words.total() / max(average, 1e-9)
        relative[one.name] = {word: one.weight * tf / norm for word, tf in words.items() if norm}

    def of(word: str) -> dict[str, float]:
        found = {name: words[word] for name, words in relative.items() if word in words}
        whole = sum(found.values())
        return {name: part / whole for name, part in found.items()}

    return of


def _field_lengths(
    counts: SparseVectors, fields: NDArray[np.int64], number: int
) -> NDArray[np.float64]:
    """Words in each field of each document: ``[rows, fields]``."""
    rows = np.repeat(np.arange(len(counts)), np.diff(counts.offsets))
    places = rows * number + fields
    sums = np.bincount(places, counts.weights, len(counts) * number).astype(np.float64)
    return sums.reshape(len(counts), number)


def _merged(parts: Iterable[SparseVectors], vocab_size: int) -> SparseVectors:
    """Each row with the terms of the same row of all parts, which share none."""
    parts = list(parts)
    rows = np.concatenate([np.repeat(np.arange(len(p)), np.diff(p.offsets)) for p in parts])
    terms = np.concatenate([part.terms for part in parts])
    order = np.lexsort((terms, rows))
    ends = np.searchsorted(rows[order], np.arange(len(parts[0]) + 1)).astype(np.int64)
    weights = np.concatenate([part.weights for part in parts])
    return SparseVectors(ends, terms[order], weights[order], max(vocab_size, 1))

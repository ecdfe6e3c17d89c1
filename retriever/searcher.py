"""Searcher: a query's text goes in, ranked documents come out, each stage timed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Literal

import numpy as np

from tamis.index.collection import Collection
from tamis.index.errors import InputError
from tamis.index.interrupts import check_for_interrupts
from tamis.index.vectors import SparseVectors
from tamis.retriever.first_stage.completion import Suggestion, suggestions
from tamis.retriever.first_stage.counting import Counting
from tamis.retriever.first_stage.explanation import by_field
from tamis.retriever.first_stage.page import Page
from tamis.retriever.first_stage.queries import (
    EncodedQueries,
    PreparedQuery,
    check_weights,
    without_blank,
)
from tamis.retriever.first_stage.query_words import lexical_queries
from tamis.retriever.first_stage.reading import QueryReader, ReadQuery, read_as_text
from tamis.retriever.first_stage.retrieval import Found, Retrieval
from tamis.retriever.first_stage.written_forms import WrittenForms
from tamis.retriever.models.own_encoder import own_query_encoder
from tamis.retriever.rerank.named import NamedRerankers
from tamis.retriever.rerank.reranker import bind, reranked
from tamis.retriever.search_options import SearchOptions
from tamis.retriever.stored import StoredDocument
from tamis.retriever.types import (
    Hit,
    MatchedTerm,
    SearchResult,
    StageTimes,
    Understood,
    content_of,
)
from tamis.retriever.vocabulary import Numbers, Vocabulary, Words, word_name
from tamis.retriever.words.fields import check_boosts
from tamis.retriever.words.lexical import LexicalQueries, check_lexical_weight

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Unpack

    from numpy.typing import NDArray

    from tamis.index.files.storage import Storage
    from tamis.index.index import Index
    from tamis.retriever.first_stage.boosts import Boosts
    from tamis.retriever.models.encoder import QueryEncoder
    from tamis.retriever.rerank.reranker import Reranker
    from tamis.retriever.search_options import Option, Syntax, Typos
    from tamis.retriever.types import Counts

    FirstStage = Callable[[list[SearchResult]], None]
    Query = str | Mapping[str, float] | PreparedQuery | None

CUT = "boosts looked at the 10,000 best by score alone; others may be missing"
CHECKED_BYTES = 16 << 10  # of documents that are read between two looks at who waits


@dataclass(frozen=True, slots=True)
class Searcher:
    """Searches one collection; safe to use from many threads.

    Attributes:
        encoder: gives the learned terms of a query; None for a collection of words alone.
        collection: what is searched.
        lexical: gives the words of a query; None for a collection without the lexical channel.
        reranker: the second stage, for searches that ask for one.
        forms: how words are written; None looks into the collection.
    """

    encoder: QueryEncoder | None
    collection: Collection
    lexical: LexicalQueries | None = None
    reranker: Reranker | None = None
    forms: WrittenForms | None = None
    _reader: QueryReader | None = field(init=False, repr=False, compare=False)  # None: no words
    _named: NamedRerankers = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        reader = None
        if (lexical := self.lexical) is not None:
            forms = self.forms or WrittenForms(self.collection, lexical.analyzer)
            reader = QueryReader(lexical, forms, partial(_knows, self.encoder))
        object.__setattr__(self, "_reader", reader)
        object.__setattr__(self, "_named", NamedRerankers(self.collection.path))

    @staticmethod
    def open(
        path: str | Path,
        verify: Literal["full", "lazy"] = "full",
        reranker: Reranker | None = None,
        encoder: str | Path | QueryEncoder | None = None,
        storage: Storage | None = None,
    ) -> Searcher:
        """Open a collection with the query side it was built for.

        Args:
            path: its folder.
            verify: see `Collection.open`.
            reranker: the second stage; see `with_reranker`.
            encoder: the encoder it was built with, or another place of it; None takes the place
                that the collection remembers.
            storage: how to reach the folder's files, when not in the plain way.

        Raises:
            FormatError: the folder is no finished index of this version.
            CorruptionError: a file differs from what was written.
            InputError: there is no encoder at its place; the message says which one is wanted.
            MismatchError: another encoder than the one it was built with is there.
        """
        collection = Collection.open(path, verify, storage=storage)
        try:
            own = own_query_encoder(collection, encoder)
            found = Searcher(own, collection, lexical_queries(collection))
            return found if reranker is None else found.with_reranker(reranker)
        except BaseException:
            collection.close()
            raise

    def with_reranker(self, reranker: Reranker) -> Searcher:
        """The same with a second stage, which uses what it has stored beside the collection."""
        return replace(self, reranker=bind(reranker, self.collection.path))

    def refresh(
        self, verify: Literal["full", "lazy"] = "full", known: Index | None = None
    ) -> Searcher:
        """A searcher of the collection's newest generation; this one if there is no newer.

        The encoder and what is remembered of words are kept. Arguments and errors are those of
        `Collection.refresh`.
        """
        collection = self.collection.refresh(verify, known)
        if collection is self.collection:
            return self
        encoder = self.encoder
        try:
            if collection.settings.encoder != self.collection.settings.encoder:
                encoder = own_query_encoder(collection)
            lexical = lexical_queries(collection, (self.collection, self.lexical))
        except BaseException:
            collection.close()
            raise
        return Searcher(encoder, collection, lexical, self.reranker)

    def warm_up(self) -> None:
        """Load what the first search would load: a neural encoder, compiled loops."""
        query = "warm up" if self.reads_texts else {self.vocabulary.name(0): 1.0}
        self.search([query], 1)

    def search(
        self,
        queries: Sequence[Query],
        k: int = 10,
        *,
        first_stage: FirstStage | None = None,
        **options: Unpack[Option],
    ) -> list[SearchResult]:
        """The k best documents of each query.

        Args:
            queries: texts, or weights by term: word pieces as they are, words as ``=word``. None
                finds all documents that the filter admits, in the order of ``sort``, or in that
                of the collection, with scores of 0.
            k: 1 to 10,000.
            first_stage: told what there is before the reranker begins, which may take long.
            options: those of `SearchOptions` by name, such as ``exact=True``.

        Raises:
            InputError: a weight, term or number is out of range, the filter is faulty, or queries
                that are not texts, or without a reranker, are to be reranked.
        """
        return self.search_with(queries, SearchOptions(k=k, **options), first_stage)

    def search_with(
        self,
        queries: Sequence[Query],
        options: SearchOptions,
        first_stage: FirstStage | None = None,
    ) -> list[SearchResult]:
        """The best documents of each query, by options in one record; otherwise as `search`."""
        reranker = self._reranker(queries, options)
        retrieval = Retrieval(self.collection, options)
        is_listing = not isinstance(queries, str) and any(query is None for query in queries)
        counting = Counting(self.collection, options, is_listing=is_listing)
        began = perf_counter()
        asked = self.read(
            queries,
            options.lexical_weight,
            options.syntax,
            options.typos,
            options.text_boosts,
            options.language,
        )
        encoded = perf_counter()
        if counting.is_asked:
            found, counts = counting.find(retrieval, asked, self.words_of(queries, asked, options))
        else:
            found = retrieval.find(asked.vectors, [one.constraints for one in asked.read])
            counts = [None] * len(found)
        share_ms = 1000 / max(len(queries), 1)
        times = StageTimes((encoded - began) * share_ms, (perf_counter() - encoded) * share_ms, 0)
        results = [
            self._result(asked, query, one, options.explain, times, of_one, retrieval.boosts)
            for query, (one, of_one) in enumerate(zip(found, counts, strict=True))
        ]
        page = Page(self.collection, options, retrieval.groups)
        if reranker is not None:
            if first_stage is not None:
                first_stage(page.of(results, found))
            results = self._reranked(reranker, asked, results, options)
        return page.of(results, found)

    def words_of(
        self, queries: Sequence[Query], asked: EncodedQueries, options: SearchOptions
    ) -> list[NDArray[np.int32] | None]:
        """The words of each query, as terms; None where none can be counted by."""
        first = self.collection.index.first_word
        if first is None:
            return [None] * len(queries)
        if options.lexical_weight == 0:  # which leaves them out of the vectors
            asked = self.read(
                queries, syntax=options.syntax, typos=options.typos, language=options.language
            )
        rows = [asked.vectors.row(query)[0] for query in range(len(queries))]
        words = [terms[terms >= first] for terms in rows]
        return [
            self._prepared_words(query)
            if isinstance(query, PreparedQuery)
            else found
            if isinstance(query, str) or (query and found.size)
            else None
            for query, found in zip(queries, words, strict=True)
        ]

    def _prepared_words(self, query: PreparedQuery) -> NDArray[np.int32] | None:
        """Those words of a query that this collection has."""
        if query.words is None:
            return None
        found = [self.vocabulary.term(word) for word in query.words]
        return np.array([term for term in found if term is not None], np.int32)

    def _reranked(
        self,
        reranker: Reranker,
        asked: EncodedQueries,
        found: Sequence[SearchResult],
        options: SearchOptions,
    ) -> list[SearchResult]:
        """The first hits of each result in the reranker's order, the rest after them."""
        depth, fields = options.rerank or 0, self.collection.settings.text_fields
        return [
            reranked(reranker, read.text, result, depth, fields, explain=options.explain)
            for read, result in zip(asked.read, found, strict=True)
        ]

    def _reranker(self, queries: Sequence[Query], options: SearchOptions) -> Reranker | None:
        """The second stage that a search asks for; None where it asks for none."""
        depth = options.rerank
        if depth is None:
            return None
        if depth < 1 or not all(isinstance(query, str) for query in queries):
            raise InputError(
                f"expected texts to rerank at least 1 document for, found depth {depth} or a query "
                "of weights; a reranker reads words"
            )
        return self._named.named(options.reranker, self.reranker)

    def encode(
        self, queries: Sequence[Query], lexical_weight: float | None = None
    ) -> SparseVectors:
        """The query vectors ``[queries]`` over this collection's terms, both channels together."""
        return self.read(queries, lexical_weight).vectors

    def read(
        self,
        queries: Sequence[Query],
        lexical_weight: float | None = None,
        syntax: Syntax = "plain",
        typos: Typos = "off",
        text_boosts: Mapping[str, float] | None = None,
        language: str | None = None,
    ) -> EncodedQueries:
        """The query vectors, what of the queries they leave out, and what else they ask for.

        Raises:
            InputError: a weight is out of range, the queries are one string, or the index has not
                the language.
        """
        if text_boosts:
            check_boosts(text_boosts, self.collection.settings.text_fields)
        if lexical_weight is not None:
            check_lexical_weight(lexical_weight)
        if isinstance(queries, str):
            raise InputError("expected a list of queries, found one string; put it in a list")
        texts = [query for query in queries if isinstance(query, str)]
        reader = self._reader.speaking(language) if self._reader is not None else None
        lexical = reader.lexical if reader is not None else None
        read = [reader.read(one, syntax, typos) if reader else read_as_text(one) for one in texts]
        of_texts = self._encode_texts(read, lexical, lexical_weight, text_boosts or {})
        if len(texts) == len(queries):
            return of_texts
        row, rows = 0, []
        for query in queries:
            if isinstance(query, str):
                rows.append(of_texts.row(row))
                row += 1
            elif query is None:
                nothing = SparseVectors.empty(self.collection.index.vocab_size, 1)
                rows.append(EncodedQueries.of(nothing, [()]))
            elif isinstance(query, PreparedQuery):
                rows.append(self._encode_prepared(query))
            else:
                rows.append(self._encode_weights(query, text_boosts or {}))
        return EncodedQueries.concatenate(rows)

    def explain(
        self, vectors: SparseVectors, query: int, doc: int, boosts: Boosts | None = None
    ) -> tuple[MatchedTerm, ...]:
        """Why a document matches row ``query`` of ``vectors``, largest contribution first.

        What boosts add counts as a term each, unless the document matches nothing.
        """
        terms, weights = vectors.row(query)
        doc_weights = self.collection.weights_of(doc, terms)
        matched = np.flatnonzero(doc_weights)
        vocabulary, learned = self.vocabulary, self._learned
        written: set[int] = set()
        document, fields = self.collection.document(doc), self.collection.settings.text_fields
        if learned.ranges:
            written = learned.terms_of(content_of(document, fields))
        found = [
            MatchedTerm(
                term=vocabulary.name(int(terms[at])),
                query_weight=float(weights[at]),
                doc_weight=float(doc_weights[at]),
                contribution=float(weights[at]) * float(doc_weights[at]),
                expansion=int(terms[at]) < learned.size and int(terms[at]) not in written,
            )
            for at in matched
        ]
        if self.lexical is not None:
            analyzer = self.lexical.analyzer
            found = by_field(found, document, self.collection.settings, analyzer)
        if found and boosts is not None:
            found += boosts.explained(doc)
        return tuple(sorted(found, key=lambda term: (-term.contribution, term.term)))

    @property
    def reads_texts(self) -> bool:
        """Whether queries may be texts: not in a collection of imported vectors alone."""
        return self.encoder is not None or self.lexical is not None

    @property
    def vocabulary(self) -> Vocabulary:
        """All terms of this collection: those of the encoder, and words as ``=word``.

        Numbers where it has neither encoder nor words.
        """
        ranges = self._learned.ranges
        if self.lexical is not None:
            ranges += (Words(self.lexical.dictionary, self.lexical.analyzer),)
        return Vocabulary(ranges or (Numbers(self.collection.index.vocab_size),))

    def suggest(self, text: str, size: int = 10) -> tuple[Suggestion, ...]:
        """How a text may go on: words of the collection that begin as its last one, as written.

        Args:
            text: what was typed so far; nothing is suggested after a space.
            size: how many, 1 to 100, those in most documents first.

        Raises:
            InputError: the size is out of range, or the collection has no words.
        """
        if self._reader is None:
            raise InputError(
                "expected an index with words to suggest, found one without the lexical channel; "
                "build it with one"
            )
        return suggestions(text, size, self._reader.lexical, self._reader.forms)

    @property
    def _learned(self) -> Vocabulary:
        return self.encoder.vocabulary if self.encoder is not None else Vocabulary(())

    def _encode_texts(
        self,
        read: Sequence[ReadQuery],
        lexical: LexicalQueries | None,
        lexical_weight: float | None,
        text_boosts: Mapping[str, float],
    ) -> EncodedQueries:
        vocab_size, texts = self.collection.index.vocab_size, [one.text for one in read]
        if texts and not self.reads_texts:
            raise InputError(
                'expected weights by term, such as {"vector": {"2003": 1.5}}, found a text: the '
                "index holds imported vectors, and neither words nor the encoder that made them; "
                "search with --vector on the command line, or import them again with --encoder"
            )
        learned = self._encode_learned(texts)
        if lexical is None:
            vectors = SparseVectors.empty(vocab_size, len(texts)) if learned is None else learned
            return EncodedQueries.of(vectors.over(vocab_size), [()] * len(texts), read)
        added = [one.added for one in read]
        words, unknown_words = lexical.encode_known(texts, lexical_weight, added)
        words = lexical.boosted(words, text_boosts)
        unknown = [tuple(map(word_name, of_text)) for of_text in unknown_words]
        if learned is None:
            return EncodedQueries.of(words.over(vocab_size), unknown, read)
        return EncodedQueries.of(SparseVectors.join(learned, words, vocab_size), unknown, read)

    def _encode_learned(self, texts: Sequence[str]) -> SparseVectors | None:
        """The learned terms of texts, none of a blank one; None without an encoder or texts."""
        if self.encoder is None or not texts:
            return None
        return without_blank(self.encoder.encode_queries(texts), texts)

    def _encode_weights(
        self, weights: Mapping[str, float], text_boosts: Mapping[str, float]
    ) -> EncodedQueries:
        index, vocabulary = self.collection.index, self.vocabulary
        check_weights(weights)
        terms = {name: vocabulary.term(name) for name in weights}
        named = {name: term for name, term in terms.items() if term is not None}
        by_term = {term: weights[name] for name, term in named.items()}
        held = index.holds(np.fromiter(named.values(), np.int32, len(named)))
        known = {name for name, is_held in zip(named, held.tolist(), strict=True) if is_held}
        unknown = tuple(name for name in weights if name not in known)
        vectors = SparseVectors.from_dicts([by_term], index.vocab_size)
        if self.lexical is not None:
            vectors = self.lexical.boosted(vectors, text_boosts)
        return EncodedQueries.of(vectors, [unknown])

    def _encode_prepared(self, query: PreparedQuery) -> EncodedQueries:
        """What was read elsewhere, over the terms of this collection."""
        found = self._encode_weights(query.weights, {})
        if not query.text or self._reader is None:
            return found
        return replace(found, read=[ReadQuery(constraints=self._reader.constraints_of(query.text))])

    def _result(
        self,
        asked: EncodedQueries,
        query: int,
        found: Found,
        explain: bool,
        times: StageTimes,
        counts: Counts | None,
        boosts: Boosts | None,
    ) -> SearchResult:
        """The documents of one query, fetched."""
        began = perf_counter()
        hits: list[Hit] = []
        grown_bytes = 0
        for doc, score, value in zip(
            found.docs.tolist(), found.scores.tolist(), found.values, strict=True
        ):
            document = StoredDocument(self.collection.encoded_document(doc))
            grown_bytes += len(document.json)
            if explain or grown_bytes > CHECKED_BYTES:
                check_for_interrupts(grown_bytes)
                grown_bytes = 0
            matched_terms = self.explain(asked.vectors, query, doc, boosts) if explain else ()
            doc_id, rank = self.collection.doc_id(doc), len(hits) + 1
            hits.append(Hit(doc_id, score, rank, document, matched_terms, value))
        check_for_interrupts(grown_bytes)
        fetch_ms = (perf_counter() - began) * 1000
        times = StageTimes(times.encode_ms, times.retrieve_ms, fetch_ms)
        unknown, cut = asked.unknown_terms[query], int(asked.terms_cut[query])
        return SearchResult(
            tuple(hits),
            times,
            self.collection.generation,
            unknown,
            cut,
            understood=_noted(asked.read[query], boosts),
            corrections=asked.read[query].corrections,
            counts=counts,
        )


def _noted(read: ReadQuery, boosts: Boosts | None) -> Understood | None:
    """What a query was taken to mean, with a note where boosts may have missed a document."""
    if boosts is None or not boosts.is_cut:
        return read.understood
    found = read.understood or Understood(read.text)
    return replace(found, notes=(*found.notes, CUT))


def _knows(encoder: QueryEncoder | None, word: str) -> bool:
    """Whether a word is a piece. Of the encoder alone: who reads queries keeps no searcher."""
    return encoder is not None and encoder.vocabulary.term(word.lower()) is not None

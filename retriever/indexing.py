"""Indexing a corpus: read it, encode it, build the index; each step can go on after a stop.

1. *Read*: documents, ids and word counts are written as they stream by.
2. *Words*: where there is much to encode, the collection is published with its words alone, so
   that it can be searched while the next step takes minutes or hours.
3. *Encode*: the learned vectors, chunk by chunk; a chunk that is on disk is not encoded again.
4. *Build*: both channels become one segment, and the collection is published in one step. It is
   the same whether its words came first or not.

A folder in work has a subfolder ``build``, and until words are published no ``CURRENT``: then it
does not open as an index.
"""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Any

from tamis.index import Collection, InputError, SparseVectors
from tamis.index.files.progress import Progress, silent
from tamis.index.segment.calibration import Sample
from tamis.index.writing.collection_build import CollectionBuild
from tamis.retriever.corpus.advice import (
    count_cut,
    warn_of_cut,
    warn_of_empty_fields,
    warn_of_language,
    warn_of_unknown_languages,
)
from tamis.retriever.corpus.chunking import Chunking, chunked, counter_of
from tamis.retriever.corpus.faults import Fault, refuse
from tamis.retriever.corpus.fields import typed, with_texts
from tamis.retriever.corpus.pseudo_queries import pseudo_queries
from tamis.retriever.corpus.sampling import Spread
from tamis.retriever.memory import MemoryBound
from tamis.retriever.recorded import collection_settings, lexical_settings, write_query_side
from tamis.retriever.types import content_of
from tamis.retriever.words.analysis import analysis_versions
from tamis.retriever.words.bm25f import FieldTerms, LengthSums, RecordCounter, averages_of, weigh
from tamis.retriever.words.lexical import LexicalConfig, LexicalQueries
from tamis.retriever.words.several_languages import analyzer_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from tamis.index.segment.quantize import Precision
    from tamis.retriever.corpus.fields import FieldTypes
    from tamis.retriever.models.encoder import Encoder
    from tamis.retriever.types import Passage

LANGUAGE_SAMPLE = 200  # documents whose language is guessed
CHUNK_DOCUMENTS = 256  # what a stop may cost: a minute where a model does five a second


def index_corpus(
    passages: Iterable[Passage],
    out: str | Path,
    *,
    encoder: Encoder | None,
    lexical: LexicalConfig | None = LexicalConfig(),  # noqa: B008  frozen
    source: str = "",
    fields: FieldTypes = {},  # noqa: B006  a Mapping
    chunking: Chunking | None = None,
    precision: Precision = "f32",
    memory_bytes: int | None = None,
    words_first: bool = True,
    resume: bool = False,
    fault: Fault = refuse,
    progress: Progress | None = None,
) -> Collection:
    """Write a collection of all passages and open it.

    Args:
        passages: the corpus; not read again when a resumed build has read it whole.
        out: a folder that does not hold an index yet.
        encoder: gives the learned terms; None for words alone, which is BM25.
        lexical: settings of the lexical channel; None for learned terms alone.
        source: where the passages come from, recorded and compared when resuming.
        fields: to filter searches by, and their types; None infers one. Others are stored too.
        chunking: divide documents into passages; None indexes them whole.
        precision: how weights are stored; see `tamis.index.IndexConfig`.
        memory_bytes: refuse a corpus as soon as it is clear that the process needs more.
        words_first: let the folder be searched by words while more than one chunk is encoded.
        resume: go on with an unfinished build that was begun with the same settings.
        fault: told of each passage that cannot be indexed, which is then left out; raises by
            default. `read_passages` takes the same.
        progress: told of each step, and may stop the work; see `Progress`.

    Raises:
        InputError: a passage is faulty, an id is there twice, the corpus is empty, the folder
            holds an index, anything that is none, or an unfinished build without ``resume``, or
            passages would be longer than the encoder reads, or the precision is unknown.
        MismatchError: the unfinished build was begun with other settings.
        LockedError: another process builds there.

    Warns:
        CorpusWarning: the settings do not suit the language, or the encoder cuts documents.
    """
    passages = passages_of(passages, encoder, lexical, chunking, fault)
    job = IndexingJob(encoder, lexical, source, progress or silent)
    plan = job.plan(fields, chunking)
    with CollectionBuild.begin(out, plan, precision=precision, resume=resume) as build:
        if build.stored is None:
            job.read(build, passages, fields, chunking, MemoryBound(memory_bytes), fault)
        if words_first and job.is_long(build):
            job.publish_words(build)
        job.encode(build)
        job.publish(build)
    return Collection.open(out)


def passages_of(
    passages: Iterable[Passage],
    encoder: Encoder | None,
    lexical: LexicalConfig | None,
    chunking: Chunking | None,
    fault: Fault,
) -> Iterable[Passage]:
    """The passages to store, divided where they are to be; arguments as of `index_corpus`.

    Raises:
        InputError: there is neither encoder nor lexical channel, or passages would be longer than
            the encoder reads.
    """
    if encoder is None and lexical is None:
        raise InputError("expected an encoder or the lexical channel, found neither; turn one on")
    if chunking is None:
        return passages
    chunking.check(encoder)
    return chunked(passages, chunking, counter_of(encoder), fault)


class IndexingJob:
    """What to make of a corpus, and how."""

    def __init__(
        self,
        encoder: Encoder | None,
        lexical: LexicalConfig | None,
        source: str,
        progress: Progress,
    ) -> None:
        self.encoder = encoder
        self.lexical = lexical
        self.source = source
        self.named = source or "corpus"  # in messages
        self.progress = progress
        self.learned_terms = encoder.description.vocab_size if encoder else 0
        self.text_fields = [one.name for one in lexical.fields] if lexical else []

    def plan(self, fields: FieldTypes, chunking: Chunking | None) -> dict[str, Any]:
        """What a build that goes on must find unchanged."""
        return {
            "encoder": asdict(self.encoder.description) if self.encoder else None,
            "lexical": self._lexical_plan(),
            "corpus": self.source,
            "fields": dict(fields),
            "chunk": asdict(chunking) if chunking else None,
            "chunk_documents": CHUNK_DOCUMENTS,
        }

    def _lexical_plan(self) -> dict[str, Any] | None:
        if self.lexical is None:
            return None
        fields = [asdict(one) for one in self.lexical.fields]
        return {**asdict(self.lexical), **analysis_versions(), "fields": fields}

    def read(
        self,
        build: CollectionBuild,
        passages: Iterable[Passage],
        fields: FieldTypes,
        chunking: Chunking | None,
        memory: MemoryBound,
        fault: Fault,
    ) -> None:
        """Store documents and word counts."""
        columns, passages = typed(with_texts(passages, self.text_fields, fault), fields, fault)
        words = _Words(build, self, memory) if self.lexical is not None else None
        sample, cut = Spread[str](LANGUAGE_SAMPLE), 0
        with build.texts(columns) as texts:
            for number, chunk in enumerate(_chunks(passages)):
                records = [passage.record() for passage in chunk]
                contents = [content_of(record, self.text_fields) for record in records]
                for passage, record, content in zip(chunk, records, contents, strict=True):
                    texts.append(passage.doc_id, record, passage.place)
                    sample.take(content)
                cut += count_cut(self.encoder, contents)
                terms = self.learned_terms
                if words is not None:
                    terms = words.count(number, records, contents)
                memory.check(len(texts), terms)
                self.progress("read", len(texts), None)
        if not len(texts):
            raise InputError(f"{self.named}: expected documents, found none; check the corpus")
        made = None
        if words is not None:
            found, averages = words.dictionary.dictionary(), words.sums.averages
            made = lexical_settings(
                words.analyzer.config, found, averages, words.analyzer.words_cut
            )
        settings = collection_settings(
            self.encoder, made, self.source, columns, chunking, truncated=cut
        )
        if words is None:
            build.store(texts, None, settings)
        else:
            sums = words.sums
            build.store(
                texts, words.dictionary, settings, sums.words, sums.documents, sums.of_fields
            )
            warn_of_empty_fields(self.named, self.text_fields, sums.averages.fields)
            warn_of_unknown_languages(self.named, words.analyzer)
        warn_of_language(self.encoder, self.lexical, self.named, sample.kept())
        remedy = "--chunk 200:40 makes passages of them"
        warn_of_cut(self.encoder, self.named, cut, len(texts), remedy)

    def encode(self, build: CollectionBuild) -> None:
        """Encode the stored documents; chunks that an earlier run finished are kept."""
        if self.encoder is None:
            return
        documents, learned = build.documents, build.learned
        for number, rows in enumerate(_spans(len(documents))):
            if number not in learned:
                texts = [content_of(documents[doc], self.text_fields) for doc in rows]
                count = _Count(self.progress, rows.start, len(documents))
                learned.put(number, self.encoder.encode_documents(texts, progress=count))
            self.progress("encode", rows.stop, len(documents))

    def is_long(self, build: CollectionBuild) -> bool:
        """Whether there are words to search by while chunks of learned vectors are missing."""
        both = self.encoder is not None and self.lexical is not None
        return both and len(_spans(len(build.documents))) > 1 and not self.is_encoded(build)

    def is_encoded(self, build: CollectionBuild) -> bool:
        """Whether no learned vectors are missing."""
        chunks = range(len(_spans(len(build.documents))))
        return self.encoder is None or all(map(build.learned.__contains__, chunks))

    def publish_words(self, build: CollectionBuild) -> None:
        """Let the collection be searched by its words; an earlier run may have done so."""
        if not build.is_published:
            count, vocab_size = len(build.documents), self.vocab_size(build)
            self.progress("words", 0, count)
            build.publish_words(
                lambda: self._words_of(build, vocab_size),
                vocab_size,
                write_query_side(build.storage, self.encoder),
            )
            self.progress("words", count, count)

    def publish(self, build: CollectionBuild) -> None:
        """Put both channels into one segment and publish the collection."""
        vocab_size, files = self.vocab_size(build), {}
        if not build.is_published:
            files = write_query_side(build.storage, self.encoder)
        build.publish(
            lambda: self.joined(build, vocab_size),
            vocab_size,
            files,
            lambda: self.sample(build, vocab_size),
        )

    def vocab_size(self, build: CollectionBuild) -> int:
        """Number of terms of both channels together."""
        words = len(build.dictionary) if build.dictionary is not None else 0
        return max(self.learned_terms + words, 1)

    def _words_of(self, build: CollectionBuild, vocab_size: int) -> Iterator[SparseVectors]:
        """The vectors of words alone, chunk by chunk."""
        counts, made = build.counts("words"), build.settings.lexical
        assert self.lexical is not None
        assert made is not None
        assert build.dictionary is not None
        averages, terms = averages_of(made), FieldTerms.of(self.lexical.fields, build.dictionary)
        for number in range(len(_spans(len(build.documents)))):
            yield weigh(counts[number], averages, self.lexical, terms).over(vocab_size)

    def joined(self, build: CollectionBuild, vocab_size: int) -> Iterator[SparseVectors]:
        """The vectors of both channels, chunk by chunk."""
        documents, learned = build.documents, build.learned
        words = self._words_of(build, vocab_size) if self.lexical is not None else None
        for number, rows in enumerate(_spans(len(documents))):
            chunk = SparseVectors.empty(vocab_size, len(rows))
            if self.encoder is not None:
                chunk = SparseVectors.join(chunk, learned[number], vocab_size)
            if words is not None:
                chunk = SparseVectors.join(chunk, next(words), vocab_size)
            yield chunk
            self.progress("build", rows.stop, len(documents))

    def sample(self, build: CollectionBuild, vocab_size: int) -> Sample:
        """Queries made of the documents, encoded as queries will be."""
        documents, dictionary = build.documents, build.dictionary
        texts, own = pseudo_queries(documents)
        queries = SparseVectors.empty(vocab_size, len(texts))
        if self.encoder is not None:
            queries = SparseVectors.join(queries, self.encoder.encode_queries(texts), vocab_size)
        if self.lexical is not None and dictionary is not None:
            words = LexicalQueries(
                analyzer_of(self.lexical), dictionary, build.with_words, self.lexical.weight
            )
            queries = SparseVectors.join(queries, words.encode(texts), vocab_size)
        return Sample(queries, own)


class _Words:
    """The words of a corpus while it is read, and in ``sums`` the lengths of its documents."""

    def __init__(self, build: CollectionBuild, job: IndexingJob, memory: MemoryBound) -> None:
        assert job.lexical is not None
        self.dictionary = build.new_dictionary(job.learned_terms)
        self.analyzer = analyzer_of(job.lexical)
        remembered = memory.remembered_chunks
        self._counter = RecordCounter(self.analyzer, self.dictionary, remembered)
        self._kept = build.batches("words")
        self.sums = LengthSums(len(job.text_fields))

    def count(self, number: int, records: Sequence[dict[str, Any]], contents: Sequence[str]) -> int:
        """Keep the counts of a chunk; the terms of both channels so far."""
        counts = self._counter.count(records, contents)
        self.sums.take(counts, self._counter.terms)
        self._kept.put(number, counts)
        return self.dictionary.vocab_size


class _Count:
    """Turns an encoder's "n more are done" into a step's "done of total"."""

    def __init__(self, progress: Progress, done: int, total: int) -> None:
        self.progress = progress
        self.done = done
        self.total = total

    def __call__(self, more: int) -> None:
        self.done += more
        self.progress("encode", self.done, self.total)


def _chunks(passages: Iterable[Passage]) -> Iterator[list[Passage]]:
    stream = iter(passages)
    yield from iter(lambda: list(islice(stream, CHUNK_DOCUMENTS)), [])


def _spans(documents: int) -> list[range]:
    """The document numbers of each chunk."""
    numbers = range(documents)
    return [numbers[first : first + CHUNK_DOCUMENTS] for first in numbers[::CHUNK_DOCUMENTS]]

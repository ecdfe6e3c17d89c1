"""Indexing a corpus: read it, encode it, build the index; each step can go on after a stop.

1. *Read*: documents, ids and word counts are written as they stream by.
2. *Encode*: the learned vectors, chunk by chunk; a chunk that is on disk is not encoded again.
3. *Build*: both channels become one segment, and the collection is published in one step.

A folder in work has a subfolder ``build`` and no ``CURRENT``: it does not open as an index.
"""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from tamis.index.collection import QUERY_SIDE, Collection, open_dictionary
from tamis.index.errors import InputError
from tamis.index.files.lock import FolderLock, refuse_foreign
from tamis.index.files.progress import Progress, silent
from tamis.index.files.storage import FileEntry, Storage
from tamis.index.generations.build_plan import begin_or_go_on
from tamis.index.generations.draft import DICTIONARY, dictionary_prefix
from tamis.index.generations.manifest import BUILD
from tamis.index.index import COLUMNS, SEGMENT, refuse_existing, write_index
from tamis.index.segment.calibration import SMALL, Sample
from tamis.index.segment.columns import ColumnType, columns_of, write_columns
from tamis.index.segment.dictionary import DictionaryWriter
from tamis.index.segment.documents import Documents, DocumentWriter
from tamis.index.segment.identifiers import IdentifiersBuilder
from tamis.index.vectors import SparseVectors
from tamis.retriever.corpus.advice import count_cut, warn_of_cut, warn_of_language
from tamis.retriever.corpus.chunking import CHUNKING, Chunking, chunked, counter_of
from tamis.retriever.corpus.fields import typed
from tamis.retriever.corpus.pseudo_queries import pseudo_queries
from tamis.retriever.corpus.sampling import Spread
from tamis.retriever.memory import MemoryBound
from tamis.retriever.models.inference_free import TableQueryEncoder
from tamis.retriever.types import content_of
from tamis.retriever.words.lexical import (
    Analyzer,
    LexicalConfig,
    LexicalQueries,
    WordCounter,
    saturate,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from tamis.retriever.models.encoder import Encoder
    from tamis.retriever.types import Passage

LANGUAGE_SAMPLE = 200  # documents whose language is guessed
CHUNK_DOCUMENTS = 256  # what a stop may cost: a minute where a model does five a second
CORPUS = f"{BUILD}/corpus.json"  # written when the corpus has been read to its end


class _Corpus(msgspec.Struct, frozen=True):
    """What reading the corpus left behind."""

    documents: int
    words: int  # of all documents together, after analysis
    words_cut: int  # words too long to be kept whole
    distinct_words: int
    dictionary: str  # fingerprint of the distinct words; empty without the lexical channel
    files: dict[str, FileEntry]
    columns: dict[str, ColumnType]  # the declared fields
    truncated: int  # documents longer than the encoder reads


def index_corpus(
    passages: Iterable[Passage],
    out: str | Path,
    *,
    encoder: Encoder | None,
    lexical: LexicalConfig | None = LexicalConfig(),  # noqa: B008  frozen
    source: str = "",
    fields: Mapping[str, ColumnType | None] = {},
    chunking: Chunking | None = None,
    memory_bytes: int | None = None,
    resume: bool = False,
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
        memory_bytes: refuse a corpus as soon as it is clear that the process needs more.
        resume: go on with an unfinished build that was begun with the same settings.
        progress: told how far each step has come.

    Raises:
        InputError: a passage is faulty, an id is there twice, the corpus is empty, the folder
            holds an index, anything that is none, or an unfinished build without ``resume``, or
            passages would be longer than the encoder reads.
        MismatchError: the unfinished build was begun with other settings.
        LockedError: another process builds there.

    Warns:
        CorpusWarning: the settings do not suit the language, or the encoder cuts documents.
    """
    if encoder is None and lexical is None:
        raise InputError("expected an encoder or the lexical channel, found neither; turn one on")
    if chunking is not None:
        chunking.check(encoder)
        passages = chunked(passages, chunking, counter_of(encoder))
    storage = Storage(out)
    refuse_existing(storage)
    refuse_foreign(storage)
    storage.make_folder()
    with FolderLock(storage) as lock:
        job = _Job(storage, encoder, lexical, source, fields, chunking, progress or silent)
        job.memory = MemoryBound(memory_bytes)
        job.begin(resume)
        try:
            corpus = job.read(passages)
        except InputError:
            job.discard()
            lock.remove_with_folder()
            raise
        job.encode(corpus)
        job.build(corpus)
    return Collection.open(out)


class _Job:
    """One build of one folder."""

    def __init__(
        self,
        storage: Storage,
        encoder: Encoder | None,
        lexical: LexicalConfig | None,
        source: str,
        fields: Mapping[str, ColumnType | None],
        chunking: Chunking | None,
        progress: Progress,
    ) -> None:
        self.storage = storage
        self.encoder = encoder
        self.lexical = lexical
        self.source = source
        self.fields = fields
        self.chunking = asdict(chunking) if chunking else None
        self.progress = progress
        self.memory = MemoryBound(None)

    @property
    def learned_terms(self) -> int:
        return self.encoder.description.vocab_size if self.encoder else 0

    def begin(self, resume: bool) -> None:
        """Make the build folder, or check that it is of this very job."""
        settings = {
            "encoder": asdict(self.encoder.description) if self.encoder else None,
            "lexical": asdict(self.lexical) if self.lexical else None,
            "corpus": self.source,
            "fields": dict(self.fields),
            CHUNKING: self.chunking,
            "chunk_documents": CHUNK_DOCUMENTS,
        }
        begin_or_go_on(self.storage, settings, resume)

    def read(self, passages: Iterable[Passage]) -> _Corpus:
        """Store documents, ids and word counts, unless an earlier run has done so."""
        if self.storage.exists(CORPUS):
            return msgspec.json.decode(self.storage.read(CORPUS), type=_Corpus)
        self.storage.make_folder(SEGMENT)
        ids = IdentifiersBuilder()
        words = cut = 0
        dictionary = DictionaryWriter(self.learned_terms)
        analyzer = Analyzer(self.lexical) if self.lexical else None
        counter = None
        if analyzer is not None:
            counter = WordCounter(analyzer, dictionary, self.memory.remembered_chunks)
        columns, passages = typed(passages, self.fields)
        sample = Spread[str](LANGUAGE_SAMPLE)
        with DocumentWriter(self.storage, SEGMENT) as documents:
            for number, chunk in enumerate(_chunks(passages)):
                for passage in chunk:
                    _append(documents, passage)
                    ids.append(passage.doc_id)
                    sample.take(passage.content)
                cut += count_cut(self.encoder, [passage.content for passage in chunk])
                if counter is not None:
                    counts = counter.count(passage.content for passage in chunk)
                    words += int(counts.weights.sum(dtype=np.float64))
                    self._save_chunk("words", number, counts)
                self.memory.check(len(ids), dictionary.vocab_size)
                self.progress("read", len(ids), None)
        if not len(ids):
            raise InputError(f"{self.source}: expected documents, found none; check the corpus")
        files = documents.entries | self._write_ids(ids)
        found = columns_of(Documents(self.storage, SEGMENT, files), columns)
        files |= write_columns(self.storage, SEGMENT, list(found.values()))
        if counter is not None:
            files |= self._write_dictionary(dictionary)
        corpus = _Corpus(
            documents=len(ids),
            words=words,
            words_cut=analyzer.words_cut if analyzer else 0,
            distinct_words=len(dictionary),
            dictionary=dictionary.dictionary().fingerprint if analyzer else "",
            files=files,
            columns=columns,
            truncated=cut,
        )
        self.storage.replace(CORPUS, msgspec.json.encode(corpus))
        warn_of_language(self.encoder, self.lexical, self.source, sample.kept())
        warn_of_cut(self.encoder, self.source, cut, len(ids))
        return corpus

    def discard(self) -> None:
        """Remove what reading a faulty corpus has written: none of it can be used."""
        for folder in (BUILD, SEGMENT.split("/")[0], DICTIONARY):
            self.storage.remove_folder(folder)

    def encode(self, corpus: _Corpus) -> None:
        """Encode the stored documents; chunks that an earlier run finished are kept."""
        if self.encoder is None:
            return
        documents = Documents(self.storage, SEGMENT, corpus.files)
        for number in range(_chunk_count(corpus.documents)):
            first = number * CHUNK_DOCUMENTS
            last = min(first + CHUNK_DOCUMENTS, corpus.documents)
            if not self.storage.exists(_chunk_name("learned", number)):
                texts = [content_of(documents[doc]) for doc in range(first, last)]
                count = _Count(self.progress, first, corpus.documents)
                learned = self.encoder.encode_documents(texts, progress=count)
                self._save_chunk("learned", number, learned)
            self.progress("encode", last, corpus.documents)

    def build(self, corpus: _Corpus) -> None:
        """Put both channels into one segment and publish the collection."""
        average_length = corpus.words / corpus.documents
        settings: dict[str, Any] = {
            "source": self.source,
            "encoder": encoder_settings(self.encoder),
            "lexical": None,
            COLUMNS: corpus.columns,
            CHUNKING: self.chunking,
            "truncated": corpus.truncated,
        }
        if self.lexical is not None:
            settings["lexical"] = {
                **self.lexical.to_json(),
                "average_length": average_length,
                "words": corpus.distinct_words,
                "words_cut": corpus.words_cut,
                "fingerprint": corpus.dictionary,
            }
        write_index(
            self.storage,
            lambda: self._chunks(corpus, average_length),
            corpus.documents,
            self._vocab_size(corpus),
            settings,
            corpus.files | write_query_side(self.storage, self.encoder),
            calibration=self._sample(corpus, settings["lexical"]),
        )

    def _sample(self, corpus: _Corpus, lexical: dict[str, Any] | None) -> Sample | None:
        """Queries made of the documents, encoded as queries will be; None for a small corpus."""
        if corpus.documents < SMALL:
            return None
        texts, own = pseudo_queries(Documents(self.storage, SEGMENT, corpus.files))
        vocab_size = self._vocab_size(corpus)
        queries = SparseVectors.empty(vocab_size, len(texts))
        if self.encoder is not None:
            learned = self.encoder.encode_queries(texts)
            queries = SparseVectors.join(queries, learned, vocab_size)
        dictionary = open_dictionary(self.storage, corpus.files)
        if lexical is not None and dictionary is not None:
            words = LexicalQueries.from_settings(lexical, dictionary, corpus.documents)
            queries = SparseVectors.join(queries, words.encode(texts), vocab_size)
        return Sample(queries, own)

    def _chunks(self, corpus: _Corpus, average_length: float) -> Iterator[SparseVectors]:
        """The vectors of both channels, chunk by chunk."""
        vocab_size = self._vocab_size(corpus)
        for number in range(_chunk_count(corpus.documents)):
            rows = min(CHUNK_DOCUMENTS, corpus.documents - number * CHUNK_DOCUMENTS)
            chunk = SparseVectors.empty(vocab_size, rows)
            if self.encoder is not None:
                chunk = SparseVectors.join(chunk, self._load_chunk("learned", number), vocab_size)
            if self.lexical is not None:
                words = saturate(self._load_chunk("words", number), average_length, self.lexical)
                chunk = SparseVectors.join(chunk, words, vocab_size)
            yield chunk
            done = min((number + 1) * CHUNK_DOCUMENTS, corpus.documents)
            self.progress("build", done, corpus.documents)

    def _vocab_size(self, corpus: _Corpus) -> int:
        """Terms of both channels together, at least one."""
        return max(self.learned_terms + corpus.distinct_words, 1)

    def _write_ids(self, ids: IdentifiersBuilder) -> dict[str, FileEntry]:
        return self.storage.write_arrays(f"{SEGMENT}/ids.", ids.identifiers().arrays())

    def _write_dictionary(self, dictionary: DictionaryWriter) -> dict[str, FileEntry]:
        self.storage.make_folder(DICTIONARY)
        return self.storage.write_arrays(dictionary_prefix(1), dictionary.arrays())

    def _save_chunk(self, channel: str, number: int, vectors: SparseVectors) -> None:
        """Write a chunk aside and rename it, so that a chunk that exists is whole."""
        self.storage.replace(_chunk_name(channel, number), vectors.to_bytes())

    def _load_chunk(self, channel: str, number: int) -> SparseVectors:
        return SparseVectors.load(self.storage.path(_chunk_name(channel, number)))


def encoder_settings(encoder: Encoder | None) -> dict[str, Any] | None:
    """What a collection records of the encoder that made its vectors."""
    if encoder is None:
        return None
    return {**asdict(encoder.description), "location": encoder.location}


def write_query_side(storage: Storage, encoder: Encoder | None) -> dict[str, FileEntry]:
    """Keep a copy of a query side that needs no model, so that the collection is enough."""
    side = encoder.query_side() if encoder is not None else None
    if not isinstance(side, TableQueryEncoder):
        return {}
    storage.remove_folder(QUERY_SIDE)
    side.save(storage.path(QUERY_SIDE))
    return {
        f"{QUERY_SIDE}/{name}": storage.adopt(f"{QUERY_SIDE}/{name}")
        for name in storage.names(QUERY_SIDE)
    }


class _Count:
    """Turns an encoder's "n more are done" into a step's "done of total"."""

    def __init__(self, progress: Progress, done: int, total: int) -> None:
        self.progress = progress
        self.done = done
        self.total = total

    def __call__(self, more: int) -> None:
        self.done += more
        self.progress("encode", self.done, self.total)


def _append(documents: DocumentWriter, passage: Passage) -> None:
    try:
        documents.append(passage.record())
    except InputError as error:
        raise InputError(f"{passage.place}{error}") from None


def _chunks(passages: Iterable[Passage]) -> Iterator[list[Passage]]:
    stream = iter(passages)
    yield from iter(lambda: list(islice(stream, CHUNK_DOCUMENTS)), [])


def _chunk_count(documents: int) -> int:
    return -(-documents // CHUNK_DOCUMENTS)


def _chunk_name(channel: str, number: int) -> str:
    return f"{BUILD}/{channel}-{number:06}.safetensors"

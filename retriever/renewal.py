"""Renewal: a collection that has changed becomes what a build of its documents would be."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
import orjson

from tamis.index.files.progress import Progress, silent
from tamis.index.files.storage import Storage
from tamis.index.generations.manifest import BUILD, read_current
from tamis.index.generations.parts import Origin
from tamis.index.generations.settings import LexicalSettings  # noqa: TC001  msgspec reads it
from tamis.index.segment.dictionary import DictionaryWriter
from tamis.index.upkeep.upgrade import upgrade
from tamis.index.vectors import SparseVectors
from tamis.index.writing.revision import Revised
from tamis.index.writing.writer import CollectionWriter
from tamis.retriever.indexing import CHUNK_DOCUMENTS
from tamis.retriever.origins import Recognition
from tamis.retriever.recorded import lexical_settings
from tamis.retriever.types import content_of
from tamis.retriever.words.analysis import may_differ
from tamis.retriever.words.bm25f import LengthSums, RecordCounter, weigh
from tamis.retriever.words.lexical import LexicalConfig
from tamis.retriever.words.several_languages import analyzer_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from tamis.index.generations.part_writer import Rows
    from tamis.index.segment.dictionary import Dictionary


def renew(writer: CollectionWriter, progress: Progress | None = None) -> None:
    """Rebuild a collection as `index_corpus` would build it of the documents it holds.

    One segment without deleted documents; words that no document holds are forgotten, and the
    average length is measured again. Nothing is encoded again, and vectors that documents brought
    stay as they are. Others' writes wait meanwhile; searches do not.
    """
    made = writer.settings.lexical
    if made is None or writer.dictionary is None:
        writer.optimize(progress or silent)
        return
    writer.rewrite(Renewal(made), progress or silent)


class Upgraded(NamedTuple):
    """What `upgrade_index` found and did.

    Attributes:
        format: that the index had.
        analysed: whether all texts were analysed again.
    """

    format: int
    analysed: bool


def upgrade_index(path: str | Path, progress: Progress | None = None) -> Upgraded:
    """Bring an index to this version's format, and its words to this version's analysis.

    Both take place in one step each, and a second call goes on where the first was stopped.
    Nothing is encoded again.

    Raises:
        FormatError: no index, or one of a format that cannot be brought to this one.
        CorruptionError: a file differs from what was written.
        LockedError: another process writes there.
    """
    found = upgrade(path)
    made = read_current(Storage(path)).settings.lexical
    if made is None or not may_differ(made):
        return Upgraded(found, analysed=False)
    with CollectionWriter.open(path, merge=False) as writer:
        renew(writer, progress)
    return Upgraded(found, analysed=True)


class Renewal(msgspec.Struct, frozen=True):
    """Counts the words of all documents again; a `Revision`.

    Attributes:
        made: how the present words were made and weighed.
    """

    made: LexicalSettings

    def revise(
        self, rows: Rows, words: Dictionary, storage: Storage, progress: Progress
    ) -> Revised:
        """The documents' learned terms as they are, and their words with new numbers and weights.

        Args:
            rows: the documents.
            words: the present ones.
            storage: of their collection's folder.
            progress: told of the documents whose words are counted.
        """
        counting = _Counting(self.made, words, storage)
        counting.take_all(rows.told_to(progress))
        found, config = counting.words.dictionary(), counting.config
        averages, vocab_size = counting.sums.averages, max(found.vocab_size, 1)
        recorded = lexical_settings(config, found, averages, counting.analyzer.words_cut)

        def batches() -> Iterator[SparseVectors]:
            learned = _chunks(batch.below(words.first_term) for batch in rows.batches())
            for number, kept in enumerate(learned):
                weighed = weigh(counting.counts(number), averages, config, counting.terms)
                both = SparseVectors.join(weighed, counting.brought(number), vocab_size)
                left = kept if words.first_term else SparseVectors.empty(1, len(kept))
                yield SparseVectors.join(left, both, vocab_size)

        return Revised(batches, np.concatenate(counting.origins), found, recorded)


class _Counting:
    """Counts the words of documents again, and keeps the words of vectors that they brought.

    Attributes:
        words: those that documents hold.
        sums: of the lengths of documents.
        terms: which words of fields stand for which words.
        origins: of the vectors, chunk by chunk.
    """

    def __init__(self, made: LexicalSettings, present: Dictionary, storage: Storage) -> None:
        self.config = LexicalConfig.of(made)
        self.analyzer = analyzer_of(self.config)
        self.words = DictionaryWriter(present.first_term)
        self.origins = [np.zeros(0, np.uint8)]
        self._counter = RecordCounter(self.analyzer, self.words)
        self._names = [one.name for one in self.config.fields]
        self.sums, self.terms = LengthSums(len(self._names)), self._counter.terms
        self._recognition = Recognition(made, present)
        self._present = present
        self._storage = storage

    def take_all(self, rows: Rows) -> None:
        """Take all documents; their vectors are read where not all are made of texts."""
        origins, records = rows.origins(), map(orjson.loads, rows.records())
        vectors = _chunks(rows.batches()) if origins.any() else None
        for number, first in enumerate(range(0, rows.count, CHUNK_DOCUMENTS)):
            of_these = origins[first : first + CHUNK_DOCUMENTS]
            chunk = list(islice(records, len(of_these)))
            self._take(number, chunk, of_these, next(vectors) if vectors is not None else None)

    def _take(
        self,
        number: int,
        records: list[dict[str, Any]],
        origins: NDArray[np.uint8],
        vectors: SparseVectors | None,
    ) -> None:
        texts = [content_of(record, self._names) for record in records]
        given = self._recognition.given(texts, origins, vectors)
        for at in np.flatnonzero(given).tolist():
            records[at], texts[at] = {}, ""
        counts = self._counter.count(records, texts)
        self.sums.take(counts, self.terms)
        self._storage.write(_name("counts", number), counts.to_bytes())
        if vectors is not None and given.any():
            words = np.repeat(given, np.diff(vectors.offsets))
            words &= vectors.terms >= self._present.first_term
            self._keep(number, vectors.where(words, vectors.terms, vectors.vocab_size))
        made = np.where(origins == Origin.WORDS, Origin.WORDS, Origin.TEXT)
        self.origins.append(np.where(given, Origin.GIVEN, made).astype(np.uint8))

    def _keep(self, number: int, brought: SparseVectors) -> None:
        """Keep words that documents brought, by their new numbers."""
        terms, places = np.unique(brought.terms, return_inverse=True)
        words = self.words.add(map(self._present.word, terms.tolist()))[places]
        order = np.lexsort((words, np.repeat(np.arange(len(brought)), np.diff(brought.offsets))))
        vectors = SparseVectors(
            brought.offsets, words[order], brought.weights[order], max(self.words.vocab_size, 1)
        )
        self.words.count_documents(vectors.terms)
        self._storage.write(_name("brought", number), vectors.to_bytes())

    def counts(self, number: int) -> SparseVectors:
        """The words of a chunk's texts and how often each comes."""
        return SparseVectors.load(self._storage.path(_name("counts", number)))

    def brought(self, number: int) -> SparseVectors:
        """The words that a chunk's documents brought, with their weights."""
        if self._storage.exists(_name("brought", number)):
            return SparseVectors.load(self._storage.path(_name("brought", number)))
        return SparseVectors.empty(1, self.origins[number + 1].size)


def _chunks(batches: Iterable[SparseVectors]) -> Iterator[SparseVectors]:
    """The rows of all batches, `CHUNK_DOCUMENTS` at a time."""
    held: list[SparseVectors] = []
    for batch in batches:
        held.append(batch)
        rows = SparseVectors.concatenate(held)
        whole = len(rows) // CHUNK_DOCUMENTS * CHUNK_DOCUMENTS
        for first in range(0, whole, CHUNK_DOCUMENTS):
            yield rows.rows(first, first + CHUNK_DOCUMENTS)
        held = [rows.rows(whole, len(rows))]
    if held and len(held[0]):
        yield held[0]


def _name(what: str, number: int) -> str:
    return f"{BUILD}/{what}-{number:06}.safetensors"

"""Renewal: a collection that has changed becomes what a build of its documents would be."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import orjson

from tamis.index.files.progress import Progress, silent
from tamis.index.generations.manifest import BUILD
from tamis.index.segment.dictionary import DictionaryWriter
from tamis.index.vectors import SparseVectors
from tamis.index.writing.revision import Revised
from tamis.retriever.indexing import CHUNK_DOCUMENTS
from tamis.retriever.recorded import lexical_settings
from tamis.retriever.types import content_of
from tamis.retriever.words.lexical import Analyzer, LexicalConfig, WordCounter, saturate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tamis.index.files.storage import Storage
    from tamis.index.generations.part_writer import Rows
    from tamis.index.writing.writer import CollectionWriter


def renew(writer: CollectionWriter, progress: Progress | None = None) -> None:
    """Rebuild a collection as `index_corpus` would build it of the documents it holds.

    One segment without deleted documents; words that no document holds are forgotten, and the
    average length is measured anew. Nothing is encoded again. Others' writes wait meanwhile;
    searches do not.
    """
    recorded = writer.settings.lexical
    if recorded is None or writer.dictionary is None:
        writer.optimize(progress or silent)
        return
    renewal = Renewal(LexicalConfig.of(recorded), writer.dictionary.first_term)
    writer.rewrite(renewal, progress or silent)


class Renewal(msgspec.Struct, frozen=True):
    """Counts the words of all documents anew; a `Revision`.

    Attributes:
        lexical: how words are made and weighed.
        first_term: terms below are learned, and kept.
    """

    lexical: LexicalConfig
    first_term: int

    def revise(self, rows: Rows, storage: Storage, progress: Progress) -> Revised:
        """The documents' learned terms as they are, and their words with new numbers and weights.

        Args:
            rows: the documents.
            storage: of their collection's folder.
            progress: told of the documents whose words are counted.
        """
        analyzer, words = Analyzer(self.lexical), DictionaryWriter(self.first_term)
        texts = _texts(rows.told_to(progress))
        total = _count(texts, WordCounter(analyzer, words), storage)
        average, dictionary = total / max(rows.count, 1), words.dictionary()
        recorded = lexical_settings(self.lexical, dictionary, average, analyzer.words_cut)

        def batches() -> Iterator[SparseVectors]:
            counts = _counted(rows.count, storage)
            weighed = (saturate(chunk, average, self.lexical) for chunk in counts)
            return self._joined(rows, weighed, max(dictionary.vocab_size, 1))

        return Revised(batches, dictionary, recorded)

    def _joined(
        self, rows: Rows, words: Iterable[SparseVectors], vocab_size: int
    ) -> Iterator[SparseVectors]:
        """The vectors of both channels, chunk by chunk."""
        learned = _rechunked(rows.batches(), self.first_term)
        for chunk in words:
            kept = next(learned) if self.first_term else SparseVectors.empty(1, len(chunk))
            yield SparseVectors.join(kept, chunk, vocab_size)


def _texts(rows: Rows) -> Iterator[list[str]]:
    """The texts of all documents, chunk by chunk."""
    stream = map(content_of, map(orjson.loads, rows.records()))
    while chunk := list(islice(stream, CHUNK_DOCUMENTS)):
        yield chunk


def _count(texts: Iterable[list[str]], counter: WordCounter, storage: Storage) -> int:
    """Keep the counts of each chunk's words; how many words there are in all."""
    words = 0
    for number, chunk in enumerate(texts):
        counts = counter.count(chunk)
        words += int(counts.weights.sum(dtype=np.float64))
        storage.write(_counts_name(number), counts.to_bytes())
    return words


def _counted(documents: int, storage: Storage) -> Iterator[SparseVectors]:
    """What `_count` kept."""
    for number in range(-(-documents // CHUNK_DOCUMENTS)):
        yield SparseVectors.load(storage.path(_counts_name(number)))


def _rechunked(batches: Iterable[SparseVectors], first_term: int) -> Iterator[SparseVectors]:
    """The learned terms of all rows, `CHUNK_DOCUMENTS` at a time."""
    held: list[SparseVectors] = []
    for batch in batches:
        held.append(batch.below(first_term))
        rows = SparseVectors.concatenate(held)
        whole = len(rows) // CHUNK_DOCUMENTS * CHUNK_DOCUMENTS
        for first in range(0, whole, CHUNK_DOCUMENTS):
            yield rows.rows(first, first + CHUNK_DOCUMENTS)
        held = [rows.rows(whole, len(rows))]
    if held and len(held[0]):
        yield held[0]


def _counts_name(number: int) -> str:
    return f"{BUILD}/words-{number:06}.safetensors"

"""Renewal: a collection that has changed becomes what a build of its documents would be."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from tamis.index.dictionary import DictionaryWriter
from tamis.index.manifest import BUILD
from tamis.index.merging import rows_of
from tamis.index.storage import Storage
from tamis.index.vectors import SparseVectors
from tamis.retriever.indexing import CHUNK_DOCUMENTS, Progress, silent
from tamis.retriever.lexical import Analyzer, LexicalConfig, WordCounter, saturate
from tamis.retriever.types import content_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tamis.index.writer import CollectionWriter


def renew(writer: CollectionWriter, progress: Progress | None = None) -> None:
    """Rebuild a collection as `index_corpus` would build it of the documents it holds.

    One segment without deleted documents; words that no document holds are forgotten, and the
    average length is measured anew. Nothing is encoded again. Others' writes wait meanwhile;
    searches do not.
    """
    recorded = writer.settings.get("lexical")
    if recorded is None:
        writer.optimize()
        return
    with writer.alone():
        _Renewal(writer, LexicalConfig.from_json(recorded), progress or silent).run()


class _Renewal:
    """Counts the words of all documents anew and rewrites the collection with them."""

    def __init__(
        self, writer: CollectionWriter, lexical: LexicalConfig, progress: Progress
    ) -> None:
        assert writer.dictionary is not None
        self._writer = writer
        self._lexical = lexical
        self._progress = progress
        self._storage = Storage(writer.index.path)
        self._first_term = writer.dictionary.first_term
        self._dictionary = DictionaryWriter(self._first_term)

    def run(self) -> None:
        """Rewrite; the collection must not change meanwhile."""
        self._storage.make_folder(BUILD)
        analyzer = Analyzer(self._lexical)
        words = self._count(analyzer)
        documents = len(self._writer.index)
        dictionary = self._dictionary.dictionary()
        average = words / max(documents, 1)
        recorded = {
            **self._lexical.to_json(),
            "average_length": average,
            "words": len(dictionary),
            "words_cut": analyzer.words_cut,
            "fingerprint": dictionary.fingerprint,
        }
        settings = {**self._writer.settings, "lexical": recorded}
        self._writer.rewrite(self._batches(average), dictionary, settings)
        self._storage.remove_folder(BUILD)

    def _count(self, analyzer: Analyzer) -> int:
        """Count the words of all stored texts, chunk by chunk; how many there are in all."""
        counter, words, done = WordCounter(analyzer, self._dictionary), 0, 0
        for number, chunk in enumerate(self._texts()):
            counts = counter.count(chunk)
            words += int(counts.weights.sum(dtype=np.float64))
            self._storage.write(_counts_name(number), counts.to_bytes())
            done += len(chunk)
            self._progress("read", done, len(self._writer.index))
        return words

    def _texts(self) -> Iterator[list[str]]:
        stream = (
            content_of(part.stored.documents[doc])
            for part in self._writer.index.parts
            if part.stored.documents is not None
            for doc in part.live_docs.tolist()
        )
        while chunk := list(islice(stream, CHUNK_DOCUMENTS)):
            yield chunk

    def _batches(self, average: float) -> Callable[[], Iterator[SparseVectors]]:
        """The vectors of both channels, chunk by chunk, anew at each call."""
        index, vocab_size = self._writer.index, max(self._dictionary.vocab_size, 1)
        old = rows_of(index.parts, index.vocab_size)

        def batches() -> Iterator[SparseVectors]:
            learned = _rechunked(old.batches(), self._first_term)
            for number, first in enumerate(range(0, len(index), CHUNK_DOCUMENTS)):
                rows = min(CHUNK_DOCUMENTS, len(index) - first)
                counts = SparseVectors.load(self._storage.path(_counts_name(number)))
                words = saturate(counts, average, self._lexical)
                kept = next(learned) if self._first_term else SparseVectors.empty(1, rows)
                yield SparseVectors.join(kept, words, vocab_size)
                self._progress("build", first + rows, len(index))

        return batches


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

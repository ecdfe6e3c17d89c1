"""Estimate: what indexing a corpus will take, from a sample of it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from tamis.index.builder import COMMON
from tamis.index.errors import InputError
from tamis.retriever.chunking import Chunking, chunked, counter_of
from tamis.retriever.indexing import CHUNK_DOCUMENTS, Progress, index_corpus
from tamis.retriever.lexical import LexicalConfig
from tamis.retriever.sampling import Spread

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tamis.index.collection import Collection
    from tamis.retriever.encoder import Encoder
    from tamis.retriever.types import Passage

SAMPLE = 512
HEAPS_EXPONENT = 0.6  # distinct words grow by about this power of a text's length (Heaps' law)
BYTES_A_DOCUMENT = 8  # of a build's memory, see builder.py
BYTES_A_TERM = 50 + 40  # the terms of a build, and the words while the corpus is read
BYTES_A_COMMON_TERM = 1024
BYTES_A_VECTOR_ENTRY = 8  # of the chunks kept while building
BYTES_A_WORD = 29  # of the dictionary on disk
BYTES_A_TERM_ON_DISK = 20


@dataclass(frozen=True, slots=True)
class Estimate:
    """What indexing will take, give or take a third.

    Attributes:
        documents: in the corpus.
        sampled: how many of them were indexed to measure.
        disk_bytes: of the finished index.
        build_disk_bytes: beside it while it is built.
        memory_bytes: of the process, the sample's own included.
        time_s: on this machine, as busy as it is now.
        entries_a_document: terms with a weight, both channels together.
        words: distinct words.
    """

    documents: int
    sampled: int
    disk_bytes: int
    build_disk_bytes: int
    memory_bytes: int
    time_s: float
    entries_a_document: float
    words: int


def estimate(
    passages: Iterable[Passage],
    *,
    encoder: Encoder | None,
    lexical: LexicalConfig | None = LexicalConfig(),  # noqa: B008  frozen
    chunking: Chunking | None = None,
    sample: int = SAMPLE,
    progress: Progress | None = None,
) -> Estimate:
    """Index a sample in a temporary folder, and reckon from it.

    The corpus is read to its end, to count it. The sample is spread over it.

    Args:
        passages: the corpus.
        encoder: the one to index with; None for words alone.
        lexical: settings of the lexical channel; None for learned terms alone.
        chunking: as for `index_corpus`; passages are then what is counted and sampled.
        sample: how many documents to index.
        progress: told how far each step has come.

    Raises:
        InputError: the corpus is faulty or empty.
    """
    began = perf_counter()
    if chunking is not None:
        passages = chunked(passages, chunking, counter_of(encoder))
    spread = Spread["Passage"](sample)
    for passage in passages:
        spread.take(passage)
    if not spread.count:
        raise InputError("expected documents, found none; check the corpus")
    read_s = perf_counter() - began
    with tempfile.TemporaryDirectory() as folder:
        began = perf_counter()
        with index_corpus(
            spread.kept(),
            Path(folder) / "sample",
            encoder=encoder,
            lexical=lexical,
            progress=progress,
        ) as index:
            return _reckoned(index, spread.count, read_s, perf_counter() - began)


def _reckoned(index: Collection, documents: int, read_s: float, index_s: float) -> Estimate:
    sampled = len(index)
    factor = documents / sampled
    sampled_words = len(index.dictionary) if index.dictionary is not None else 0
    words = int(sampled_words * factor**HEAPS_EXPONENT)
    learned = index.index.vocab_size - sampled_words
    frequencies = index.index.document_frequency()
    entries = int(frequencies.sum())
    common = int((frequencies * factor >= COMMON).sum() * (words / max(sampled_words, 1)) ** 0.5)
    once_bytes = index.size_bytes_of("query/", "/documents.dictionary")
    of_terms_bytes = index.size_bytes_of("dictionary/", "/terms.", "/lists.rows", "rare_starts")
    disk = (index.size_bytes - once_bytes - of_terms_bytes) * factor + once_bytes
    disk += words * BYTES_A_WORD + (words + learned) * BYTES_A_TERM_ON_DISK
    memory = documents * BYTES_A_DOCUMENT + (words + learned) * BYTES_A_TERM
    memory += common * BYTES_A_COMMON_TERM
    memory += entries // sampled * CHUNK_DOCUMENTS * BYTES_A_VECTOR_ENTRY + _used_bytes()
    return Estimate(
        documents=documents,
        sampled=sampled,
        disk_bytes=int(disk),
        build_disk_bytes=int(entries * factor * BYTES_A_VECTOR_ENTRY),
        memory_bytes=memory,
        time_s=read_s + index_s * factor,
        entries_a_document=entries / sampled,
        words=words,
    )


def _used_bytes() -> int:
    """The largest memory of this process so far, model and sample included."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

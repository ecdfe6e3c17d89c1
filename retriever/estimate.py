"""Estimate: what indexing a corpus will take, from a sample of it."""

from __future__ import annotations

import math
import tempfile
import warnings
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from tamis.index.errors import InputError
from tamis.index.files.system import most_used_bytes
from tamis.index.segment.blocks import expected_bytes
from tamis.index.segment.calibration import SMALL
from tamis.index.segment.lists import COMMON
from tamis.retriever.corpus.advice import CorpusWarning
from tamis.retriever.corpus.chunking import Chunking, chunked, counter_of
from tamis.retriever.corpus.sampling import Spread
from tamis.retriever.indexing import CHUNK_DOCUMENTS, index_corpus
from tamis.retriever.memory import (
    BYTES_A_CHUNK,
    BYTES_A_COMMON_TERM,
    BYTES_A_DOCUMENT,
    BYTES_A_TERM,
)
from tamis.retriever.words.lexical import REMEMBERED_CHUNKS, LexicalConfig

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tamis.index.collection import Collection
    from tamis.index.files.progress import Progress
    from tamis.retriever.models.encoder import Encoder
    from tamis.retriever.types import Passage

SAMPLE = 16_384
SIZES = (64, 256, 1024, 4096)  # documents of the builds before that of the whole sample
WARM_UP = 16  # documents of a build that is not measured: it loads what all builds need
LONG_ENOUGH_S = 2.0  # a build that takes as long says enough
HEAPS_EXPONENT = 0.6  # distinct words grow by about this power of a text's length (Heaps' law)
LEAST_GROWTH = 0.85  # of time with documents: words that were seen before are faster
CALIBRATION_S_A_DOCUMENT = 1e-5  # of a collection that is calibrated
CHUNKS_A_WORD = 2  # spellings of a word
BYTES_A_VECTOR_ENTRY = 8  # of the chunks kept while building
BYTES_A_WORD = 29  # of the dictionary on disk
BYTES_A_TERM_ON_DISK = 20
BYTES_A_COMMON_TERM_ON_DISK = 32
JOINED_S_A_WORD = 3e-6  # of a piece: into one dictionary, and looked up there


@dataclass(frozen=True, slots=True)
class Estimate:
    """What indexing will take, give or take a quarter.

    Attributes:
        documents: in the corpus.
        sampled: how many of them the largest measured build held.
        disk_bytes: of the finished index.
        build_disk_bytes: beside it while it is built.
        memory_bytes: of the process, the sample's own included.
        time_s: on this machine, as busy as it is now.
        encoded_per_s: documents that the encoder does a second; 0 without one.
        entries_a_document: terms with a weight, both channels together.
        words: distinct words.
        truncated: documents that the encoder will not read to their end.
        piece_memory_bytes: of each worker, where the corpus is indexed in pieces.
        piece_time_s: of each worker, the writing of its segment included; all work at once, each
            on a machine like this one.
        joining_time_s: of one process that makes the words of all pieces one dictionary.
    """

    documents: int
    sampled: int
    disk_bytes: int
    build_disk_bytes: int
    memory_bytes: int
    time_s: float
    encoded_per_s: float
    entries_a_document: float
    words: int
    truncated: int
    piece_memory_bytes: int
    piece_time_s: float
    joining_time_s: float


def estimate(
    passages: Iterable[Passage],
    *,
    encoder: Encoder | None,
    lexical: LexicalConfig | None = LexicalConfig(),  # noqa: B008  frozen
    chunking: Chunking | None = None,
    sample: int = SAMPLE,
    documents: int | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> Estimate:
    """Index a sample in a temporary folder, and reckon from it.

    The corpus is read to its end, to count it. The sample is spread over it.

    Args:
        passages: the corpus.
        encoder: the one to index with; None for words alone.
        lexical: settings of the lexical channel; None for learned terms alone.
        chunking: as for `index_corpus`; passages are then what is counted and sampled.
        sample: how many documents to index at most; fewer where that takes two seconds or more.
        documents: reckon for so many like those of the corpus; None for the corpus itself.
        workers: how many pieces the corpus is indexed in, all at once.
        progress: told of each step, and may stop the work; see `Progress`.

    Raises:
        InputError: the corpus is faulty or empty, or holds more than ``documents``.
    """
    if chunking is not None:
        passages = chunked(passages, chunking, counter_of(encoder))
    stream = iter(passages)
    head = list(islice(stream, WARM_UP))
    if not head:
        raise InputError("expected documents, found none; check the corpus")
    with tempfile.TemporaryDirectory() as folder:
        builds = _Builds(Path(folder), encoder, lexical, progress)
        builds.warm_up(head)
        spread, began = Spread["Passage"](sample), perf_counter()
        for passage in chain(head, stream):
            spread.take(passage)
        read_s = (perf_counter() - began) / spread.count
        count = spread.count if documents is None else documents
        if count < spread.count:
            raise InputError(
                f"expected at least the {spread.count:,} documents of the corpus, found {count:,}; "
                "reckon for as many or more"
            )
        with builds.measure(spread.kept()) as index:
            whole = _reckoned(index, count, builds, read_s)
            if workers == 1:
                return whole
            piece = _reckoned(index, -(-count // workers), builds, read_s)
            joining_s = workers * piece.words * JOINED_S_A_WORD
            return replace(
                whole,
                piece_memory_bytes=piece.memory_bytes,
                piece_time_s=piece.time_s,
                joining_time_s=joining_s,
            )


class _Builds:
    """Builds of larger and larger parts of a sample."""

    def __init__(
        self,
        folder: Path,
        encoder: Encoder | None,
        lexical: LexicalConfig | None,
        progress: Progress | None,
    ) -> None:
        self._folder = folder
        self._encoder, self._lexical, self._progress = encoder, lexical, progress
        self._measured: list[tuple[int, float]] = []  # documents, seconds without encoding
        self._loading_s = 0.0
        self.encode_s = 0.0  # a document, in the largest build
        self.memory_bytes = 0  # of a build of next to nothing, or of one chunk where it is encoded

    def warm_up(self, head: Sequence[Passage]) -> None:
        """Build a few documents, which loads all that builds need."""
        began = perf_counter()
        self._build(head, "warm-up", _Steps(self._progress)).close()
        self._loading_s = perf_counter() - began
        self.memory_bytes = most_used_bytes()

    def measure(self, sample: Sequence[Passage]) -> Collection:
        """Build until two are measured and one took long enough; the last of them."""
        for size in (*(size for size in SIZES if 2 * size <= len(sample)), len(sample)):
            places = np.linspace(0, len(sample) - 1, size).astype(int)
            began, steps = perf_counter(), _Steps(self._progress)
            index = self._build([sample[place] for place in places], str(size), steps)
            took_s = perf_counter() - began
            self._measured.append((size, took_s - steps.encode_s))
            self.encode_s = steps.encode_s / size
            if self._encoder is not None and self._measured[-1][0] <= CHUNK_DOCUMENTS:
                self.memory_bytes = most_used_bytes()
            if len(self._measured) > 1 and took_s >= LONG_ENOUGH_S:
                break
            if size < len(sample):
                index.close()
        return index

    def _build(self, passages: Sequence[Passage], name: str, steps: _Steps) -> Collection:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CorpusWarning)
            return index_corpus(
                passages,
                self._folder / name,
                encoder=self._encoder,
                lexical=self._lexical,
                progress=steps,
            )

    def time_s(self, documents: int) -> float:
        """Seconds of a build of so many: encoding takes the same for each, the rest less."""
        return self._rest_s(documents) + self.encode_s * documents

    def _rest_s(self, documents: int) -> float:
        """Without encoding: a fixed part, and one that grows as the last two builds did."""
        (size, took), *before = reversed(self._measured)
        if not before or documents <= size:
            return self._loading_s + took
        smaller, faster = before[0]
        slope = max((took - faster) / (size - smaller), 0)
        fixed = min(max(self._measured[0][1] - slope * self._measured[0][0], 0), 0.9 * faster, took)
        growth = math.log(max((took - fixed) / (faster - fixed), 1)) / math.log(size / smaller)
        time_s = (
            self._loading_s
            + fixed
            + (took - fixed) * (documents / size) ** min(max(growth, LEAST_GROWTH), 1)
        )
        return float(time_s + (CALIBRATION_S_A_DOCUMENT * documents if documents >= SMALL else 0))


class _Steps:
    """Passes progress on, and times the step between the last document read and encoded."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._read = perf_counter()
        self.encode_s = 0.0

    def __call__(self, step: str, done: int, total: int | None) -> None:
        """``done`` of ``total`` documents."""
        if step == "read":
            self._read = perf_counter()
        elif step == "encode":
            self.encode_s = perf_counter() - self._read
        if self._progress is not None:
            self._progress(step, done, total)


def _reckoned(index: Collection, documents: int, builds: _Builds, read_s: float) -> Estimate:
    """What one process takes for so many documents, each read in ``read_s``."""
    time_s = read_s * documents + builds.time_s(documents)
    sampled = len(index)
    factor = documents / sampled
    sampled_words = len(index.dictionary) if index.dictionary is not None else 0
    words = int(sampled_words * factor**HEAPS_EXPONENT)
    learned = index.index.vocab_size - sampled_words
    _, frequencies = index.index.frequencies()
    entries = int(frequencies.sum())
    common = int((frequencies * factor >= COMMON).sum() * (words / max(sampled_words, 1)) ** 0.5)
    once_bytes = index.size_bytes_of("query/", "/documents.dictionary")
    of_terms = ("dictionary/", "/terms.", "/lists.rows", "rare_starts", "/lists.weaker")
    of_terms_bytes = index.size_bytes_of(*of_terms)
    disk = (index.size_bytes - once_bytes - of_terms_bytes) * factor + once_bytes
    disk += words * BYTES_A_WORD + (words + learned) * BYTES_A_TERM_ON_DISK
    disk += common * BYTES_A_COMMON_TERM_ON_DISK
    disk += expected_bytes(documents, entries * factor)
    memory = builds.memory_bytes + documents * BYTES_A_DOCUMENT + (words + learned) * BYTES_A_TERM
    memory += min(words * CHUNKS_A_WORD, REMEMBERED_CHUNKS) * BYTES_A_CHUNK
    memory += common * BYTES_A_COMMON_TERM
    memory += entries // sampled * CHUNK_DOCUMENTS * BYTES_A_VECTOR_ENTRY
    return Estimate(
        documents=documents,
        sampled=sampled,
        disk_bytes=int(disk),
        build_disk_bytes=int(entries * factor * BYTES_A_VECTOR_ENTRY),
        memory_bytes=memory,
        time_s=time_s,
        encoded_per_s=1 / builds.encode_s if builds.encode_s else 0.0,
        entries_a_document=entries / sampled,
        words=words,
        truncated=int(index.settings.truncated * factor),
        piece_memory_bytes=int(memory),
        piece_time_s=time_s,
        joining_time_s=0.0,
    )

"""A dry run over a corpus: what is in it, and all that is wrong, before any work."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from tamis.index.errors import InputError
from tamis.retriever.corpus.faults import SHOWN, Faults
from tamis.retriever.corpus.fields import SAMPLE as TYPED
from tamis.retriever.corpus.fields import (
    checked,
    common_kind,
    inferred,
    kind_of,
    leaves,
    with_texts,
)
from tamis.retriever.corpus.languages import languages_of
from tamis.retriever.corpus.passages import read_passages
from tamis.retriever.corpus.sampling import Spread
from tamis.retriever.types import content_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tamis.index.files.progress import Progress
    from tamis.index.segment.values import ColumnType
    from tamis.retriever.types import Passage

SAMPLE = 1000  # texts whose language is guessed
_LINE_BITS = 40  # of a place
LONG_WORDS = 350  # about 512 word pieces of English
_MOJIBAKE = re.compile("\ufffd|[\u00c2\u00c3][\u0080-\u00bf]|\u00e2\u20ac|\u00ef\u00bf\u00bd")


@dataclass(frozen=True, slots=True)
class CorpusField:
    """A field beside id, title and text.

    Attributes:
        type: that all its values share.
        documents: that have a value.
    """

    type: ColumnType
    documents: int


@dataclass(frozen=True, slots=True)
class CorpusReport:
    """What a dry run found.

    Attributes:
        documents: that can be indexed.
        characters: of titles and texts.
        words: per document, separated by spaces: smallest, median, mean, 95th percentile, largest.
        long_documents: of more than 350 words, which a model of 512 tokens would cut.
        faults: how many lines or files cannot be indexed; ``tamis index`` refuses the first.
        first_faults: the first ten, each with file and line.
        duplicate_ids: documents whose id came before; ``tamis index`` refuses them.
        first_duplicate_ids: the first ten of them.
        first_duplicate_places: their ids, with the files and lines of both.
        missing_fields: why declared fields are refused: those that are in no document.
        duplicate_texts: documents whose title and text came before, spaces aside.
        first_duplicates: the first ten of them, as ``id = earlier id``.
        broken_characters: documents with replacement characters, or with UTF-8 read as another
            encoding.
        languages: their shares among a sample of 1,000 documents.
        fields: further ones, by name; those that searches can be filtered by.
    """

    documents: int
    characters: int
    words: dict[str, float]
    long_documents: int
    faults: int
    first_faults: tuple[str, ...]
    duplicate_ids: int
    first_duplicate_ids: tuple[str, ...]
    first_duplicate_places: tuple[str, ...]
    missing_fields: tuple[str, ...]
    duplicate_texts: int
    first_duplicates: tuple[str, ...]
    broken_characters: int
    languages: dict[str, float]
    fields: dict[str, CorpusField]


def check_corpus(
    source: str | Path,
    *,
    id_field: str | None = None,
    title_field: str | None = None,
    text_field: str | None = None,
    searched: Sequence[str] = (),
    fields: Mapping[str, ColumnType | None] = {},
    progress: Progress | None = None,
) -> CorpusReport:
    """Read a whole corpus and report on it; nothing is written.

    Args:
        source: as for `read_passages`.
        id_field: as for `read_passages`.
        title_field: as for `read_passages`.
        text_field: as for `read_passages`.
        searched: as for `read_passages`.
        fields: to filter by, as for `index_corpus`; a value of another type is a fault.
        progress: told of each step, and may stop the work; see `Progress`.

    Raises:
        InputError: there is no such corpus, or a file that cannot be read further: damaged
            compression, a line of more than 64 MiB.
    """
    check = _Check(searched)
    passages = read_passages(
        source,
        id_field=id_field,
        title_field=title_field,
        text_field=text_field,
        searched=searched,
        fault=check.faults,
    )
    passages = with_texts(passages, searched, check.faults)
    for number, passage in enumerate(check.declared(passages, fields), start=1):
        check.take(passage)
        if progress is not None and number % 1000 == 0:
            progress("check", number, None)
    return check.report()


class _Check:
    """Counts what passes by; some 100 bytes a document."""

    def __init__(self, searched: Sequence[str]) -> None:
        self._searched = searched
        self._ids: list[str] = []
        self._id_hashes, self._text_hashes = array("Q"), array("Q")
        self._lengths = array("q")
        self._characters = 0
        self._broken = 0
        self.faults = Faults()
        self._missing: list[str] = []
        self._files: dict[str, int] = {}
        self._places = array("q")  # a file's number and a line
        self._kinds: dict[str, set[ColumnType]] = {}
        self._present: Counter[str] = Counter()
        self._sample = Spread[str](SAMPLE)

    def declared(
        self, passages: Iterable[Passage], fields: Mapping[str, ColumnType | None]
    ) -> Iterator[Passage]:
        """The passages whose declared fields hold values of their types; others are faults."""
        stream = iter(passages)
        head = list(islice(stream, TYPED)) if None in fields.values() else []
        schema: dict[str, ColumnType] = {}
        for name, kind in fields.items():
            try:
                schema[name] = kind or inferred(name, head)
            except InputError as error:
                self._missing.append(str(error))
        for passage in chain(head, stream):
            try:
                checked(passage, schema)
            except InputError as error:
                self.faults(error)
            else:
                yield passage

    def take(self, passage: Passage) -> None:
        """Count a passage."""
        content = content_of(passage.record(), self._searched)
        words = content.split()
        self._ids.append(passage.doc_id)
        file = self._files.setdefault(passage.file, len(self._files))
        self._places.append(file << _LINE_BITS | passage.line)
        self._id_hashes.append(xxhash.xxh3_64_intdigest(passage.doc_id.encode()))
        self._text_hashes.append(xxhash.xxh3_64_intdigest(" ".join(words).encode()))
        self._lengths.append(len(words))
        self._characters += len(content)
        self._broken += _MOJIBAKE.search(content) is not None
        self._sample.take(content)
        for name, value in leaves(passage.fields):
            kind = kind_of(value)
            if kind is not None:
                self._kinds.setdefault(name, set()).add(kind)
                self._present[name] += 1

    def report(self) -> CorpusReport:
        """What was found."""
        lengths = np.array(self._lengths)
        ids, texts = _repeated(self._id_hashes), _repeated(self._text_hashes)
        return CorpusReport(
            documents=lengths.size,
            characters=self._characters,
            words=_spread_of(lengths),
            long_documents=int((lengths > LONG_WORDS).sum()),
            faults=self.faults.count,
            first_faults=tuple(self.faults.first),
            duplicate_ids=len(ids),
            first_duplicate_ids=tuple(self._ids[later] for _, later in ids[:SHOWN]),
            first_duplicate_places=tuple(map(self._both_places, ids[:SHOWN])),
            missing_fields=tuple(self._missing),
            duplicate_texts=len(texts),
            first_duplicates=tuple(self._named(texts[:SHOWN])),
            broken_characters=self._broken,
            languages=languages_of(self._sample.kept()),
            fields={
                name: CorpusField(common_kind(kinds), self._present[name])
                for name, kinds in self._kinds.items()
            },
        )

    def _both_places(self, pair: tuple[int, int]) -> str:
        files = list(self._files)
        first, later = (
            f"{files[place >> _LINE_BITS]}:{place & (1 << _LINE_BITS) - 1}"
            for place in (self._places[doc] for doc in pair)
        )
        return f"{self._ids[pair[1]]!r} in {first} and {later}"

    def _named(self, pairs: Sequence[tuple[int, int]]) -> list[str]:
        return [f"{self._ids[later]} = {self._ids[first]}" for first, later in pairs]


def _repeated(hashes: array[int]) -> list[tuple[int, int]]:
    """Each repeated hash's place, and that of its first: ``(first, later)`` by ``later``."""
    values = np.array(hashes, np.uint64)
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    firsts = first[inverse]
    later = np.flatnonzero(firsts != np.arange(values.size))
    return list(zip(firsts[later].tolist(), later.tolist(), strict=True))


def _spread_of(lengths: NDArray[np.int64]) -> dict[str, float]:
    if not lengths.size:
        return {}
    return {
        "smallest": float(lengths.min()),
        "median": float(np.median(lengths)),
        "mean": float(lengths.mean()),
        "p95": float(np.percentile(lengths, 95)),
        "largest": float(lengths.max()),
    }

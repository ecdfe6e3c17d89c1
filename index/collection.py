"""Collection: a folder with documents, their vectors, and what is needed to query them.

Text and models stay outside: a document is a JSON record, a query side is opaque files. This is
the read side, one generation of it; writer.py changes collections.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import orjson

from tamis.index.errors import InputError
from tamis.index.files.closing import Closing
from tamis.index.files.storage import Storage
from tamis.index.generations.draft import FREQUENCY, dictionary_part
from tamis.index.generations.manifest import pin_current
from tamis.index.generations.parts import check_files, open_parts
from tamis.index.generations.spool import LEARNED, Batches
from tamis.index.generations.words import checked_dictionary, open_dictionary
from tamis.index.index import Index

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tamis.index.generations.manifest import Manifest
    from tamis.index.generations.settings import CollectionSettings
    from tamis.index.segment.dictionary import Dictionary

QUERY_SIDE = "query"  # folder of the encoder's query side, when it needs no model


class Collection(Closing):
    """The read side of a folder written by ``tamis index``; safe to use from many threads.

    It stays with its generation, whose files stay in place until `close`, or until the collection
    is forgotten; `refresh` gives the newest one.
    """

    def __init__(self, storage: Storage, index: Index, dictionary: Dictionary | None) -> None:
        self.storage = storage
        self.index = index
        self.dictionary = dictionary

    @staticmethod
    def open(
        path: str | Path,
        verify: Literal["full", "lazy"] = "full",
        *,
        storage: Storage | None = None,
    ) -> Collection:
        """Map the current generation.

        Args:
            path: the folder.
            verify: as for `Index.open`.
            storage: how to reach the folder's files, when not in the plain way.

        Raises:
            FormatError: no index, an unfinished one, or one of another format version.
            CorruptionError: a file is missing or differs from what was written.
            MismatchError: the dictionary is not the one the vectors were made with.
        """
        storage = storage or Storage(path)
        manifest, pin = pin_current(storage)
        with pin:
            check_files(storage, manifest, verify)
            index = Index(storage.root, manifest, open_parts(storage, manifest), pin)
            return Collection(storage, index, checked_dictionary(storage, manifest))

    def refresh(
        self, verify: Literal["full", "lazy"] = "full", known: Index | None = None
    ) -> Collection:
        """The newest generation: this very object when there is no newer one.

        Files that both share are neither read nor mapped again, nor are those of a ``known``
        generation that is open. Raises as `open`.
        """
        manifest, pin = pin_current(self.storage)
        if manifest.generation == self.generation:
            pin.release()
            return self
        old = self.index.manifest.files
        newer = known.manifest.files if known is not None else {}
        parts = [*self.index.parts, *(known.parts if known is not None else ())]
        with pin:
            check_files(self.storage, manifest, verify, {**old, **newer})
            index = Index(self.path, manifest, open_parts(self.storage, manifest, parts), pin)
            return Collection(self.storage, index, self._dictionary_of(manifest))

    def _dictionary_of(self, manifest: Manifest) -> Dictionary | None:
        """That of another generation; files that both share are neither opened nor read again."""
        if self.dictionary is None:
            return checked_dictionary(self.storage, manifest)
        before, arrays = self.index.manifest.files, self.dictionary.arrays()
        same = {
            part: arrays[part]
            for name, entry in manifest.files.items()
            if (part := dictionary_part(name)) is not None and before.get(name) == entry
        }
        if arrays.keys() - same.keys() <= {FREQUENCY} and (
            manifest.settings.lexical == self.settings.lexical
        ):
            return open_dictionary(self.storage, manifest.files, same)  # checked already
        return checked_dictionary(self.storage, manifest)

    def again(self) -> Collection:
        """The same generation, which stays open when this one is closed."""
        return Collection(self.storage, self.index.again(), self.dictionary)

    def close(self) -> None:
        """Let the generation's files be removed when another has taken its place."""
        self.index.close()

    def __len__(self) -> int:
        return len(self.index)

    @property
    def path(self) -> Path:
        """The collection's folder."""
        return self.index.path

    @property
    def generation(self) -> int:
        """Counts the collection's changes, from 1."""
        return self.index.manifest.generation

    @property
    def identity(self) -> str:
        """Of the collection through all its generations; see `Manifest`."""
        return self.index.manifest.identity

    @property
    def settings(self) -> CollectionSettings:
        """How it was made."""
        return self.index.manifest.settings

    @property
    def with_words(self) -> int:
        """Documents that hold a word of the lexical channel: the N of BM25."""
        return self.index.manifest.with_words

    @property
    def encoded(self) -> int:
        """How many of the documents that await learned vectors a build has encoded so far."""
        if not self.index.awaiting:
            return 0
        try:
            return Batches(self.storage, LEARNED).rows
        except InputError:  # the build ends at this moment
            return self.index.awaiting

    @cached_property
    def size_bytes(self) -> int:
        """Bytes of all its files."""
        return self.index.manifest.size_bytes

    def size_bytes_of(self, *parts: str) -> int:
        """Bytes of the files whose names hold one of ``parts``."""
        files = self.index.manifest.files.items()
        return sum(e.size_bytes for name, e in files if any(part in name for part in parts))

    def doc_id(self, doc: int) -> str:
        """The corpus's id of a document number."""
        return self.index.doc_id(doc)

    def doc(self, doc_id: str) -> int | None:
        """The document number of an id, or None."""
        return self.index.doc(doc_id)

    def document(self, doc: int) -> dict[str, Any]:
        """The stored record of a document number: ``_id``, ``title``, ``text`` and other fields."""
        record: dict[str, Any] = orjson.loads(self.encoded_document(doc))
        return record

    def encoded_document(self, doc: int) -> bytes:
        """The stored record of a document number as JSON; see `Part.record`."""
        part, at = self.index.locate(doc)
        return part.record(at, self.index.columns)

    def weights_of(self, doc: int, terms: NDArray[Any]) -> NDArray[Any]:
        """The stored weights of ``terms`` in one document, 0 where it lacks a term."""
        return self.index.weights_of(doc, terms)

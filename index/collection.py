"""Collection: a folder with documents, their vectors, and what is needed to query them.

Text and models stay outside: a document is a JSON record, a query side is opaque files.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from tamis.index.dictionary import Dictionary
from tamis.index.documents import Documents
from tamis.index.errors import InputError
from tamis.index.index import SEGMENT, Index
from tamis.index.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from tamis.index.storage import FileEntry

DICTIONARY = "dictionary"
QUERY_SIDE = "query"  # folder of the encoder's query side, when it needs no model


class Collection:
    """The read side of a folder written by ``tamis index``; safe to use from many threads."""

    def __init__(self, index: Index, documents: Documents, dictionary: Dictionary | None) -> None:
        self.index = index
        self.documents = documents
        self.dictionary = dictionary

    @staticmethod
    def open(path: str | Path, verify: Literal["full", "lazy"] = "full") -> Collection:
        """Map a collection. Arguments and errors are those of `Index.open`.

        Raises:
            InputError: the folder holds vectors alone, without documents.
            MismatchError: the dictionary is not the one the vectors were made with.
        """
        index = Index.open(path, verify)
        storage, files = Storage(path), index.manifest.files
        if f"{SEGMENT}/documents.bytes" not in files:
            raise InputError(
                f"{path}: expected a collection with documents, found vectors alone; "
                "search it with Index.open, or index a corpus with `tamis index`"
            )
        dictionary = _open_dictionary(storage, files)
        if dictionary is not None:
            recorded = index.manifest.settings["lexical"]
            dictionary.check_prefix(recorded["words"], recorded["fingerprint"])
        return Collection(index, Documents(storage, SEGMENT, files), dictionary)

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
    def settings(self) -> dict[str, Any]:
        """How it was made: ``encoder``, ``lexical``, ``source``."""
        return self.index.manifest.settings

    @cached_property
    def size_bytes(self) -> int:
        """Bytes of all its files."""
        return self.index.manifest.size_bytes

    def doc_id(self, doc: int) -> str:
        """The corpus's id of a document number."""
        return self.index.ids.doc_id(doc)

    def doc(self, doc_id: str) -> int | None:
        """The document number of an id, or None."""
        return self.index.ids.doc(doc_id)

    def document(self, doc: int) -> dict[str, Any]:
        """The stored record of a document number: ``_id``, ``title``, ``text`` and other fields."""
        return self.documents[doc]

    def weights_of(self, doc: int, terms: NDArray[Any]) -> NDArray[Any]:
        """The stored weights of ``terms`` in one document, 0 where it lacks a term."""
        return self.index.segment.weights_of(doc, terms)


def _open_dictionary(storage: Storage, files: Mapping[str, FileEntry]) -> Dictionary | None:
    """The words of the lexical channel; None for a collection without it."""
    arrays = {
        name.removeprefix(f"{DICTIONARY}/"): storage.map_array(name, entry)
        for name, entry in files.items()
        if name.startswith(f"{DICTIONARY}/")
    }
    return Dictionary.from_arrays(arrays) if arrays else None

"""Revision: documents get other vectors and words, worked out wherever their segment is written.

How that is done needs to know more than vectors, so it comes from outside of this package.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy as np
    from numpy.typing import NDArray

    from tamis.index.files.progress import Progress
    from tamis.index.files.storage import Storage
    from tamis.index.generations.part_writer import Rows
    from tamis.index.generations.settings import LexicalSettings
    from tamis.index.segment.dictionary import Dictionary
    from tamis.index.vectors import SparseVectors


@dataclass(frozen=True, slots=True)
class Revised:
    """What a revision found.

    Attributes:
        batches: the documents' vectors over the new words, the same at each call.
        origins: ``[documents]``, the `Origin` of each vector.
        dictionary: the words in place of the present ones, with their frequencies.
        lexical: how they were made, in place of what is recorded.
    """

    batches: Callable[[], Iterable[SparseVectors]]
    origins: NDArray[np.uint8]
    dictionary: Dictionary
    lexical: LexicalSettings


class Revision(Protocol):
    """A ``msgspec.Struct`` of a module that can be imported: it is sent as its fields."""

    def revise(
        self, rows: Rows, words: Dictionary, storage: Storage, progress: Progress
    ) -> Revised:
        """Work out what takes the place of the documents' vectors.

        Args:
            rows: the documents as they are.
            words: the present ones.
            storage: of the collection's folder, where `BUILD` is there to be used.
            progress: told of each step, and may stop the work; see `Progress`.
        """


class RevisionMessage(msgspec.Struct, frozen=True, array_like=True):
    """A revision for another process, which takes requests only from the one it works for."""

    module: str
    name: str
    fields: bytes

    @staticmethod
    def of(revision: Revision) -> RevisionMessage:
        """What tells another process of a revision."""
        kind = type(revision)
        return RevisionMessage(kind.__module__, kind.__name__, msgspec.msgpack.encode(revision))

    def revision(self) -> Revision:
        """The revision that was told of."""
        kind = getattr(import_module(self.module), self.name)
        found: Revision = msgspec.msgpack.decode(self.fields, type=kind)
        return found

"""Identifiers: the corpus's document ids, by document number and back; mapped, not loaded."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from tamis.index.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

MAX_ID_BYTES = 512


@dataclass(frozen=True, slots=True, eq=False)
class Identifiers:
    """Ids of documents ``0 .. n-1``.

    Attributes:
        text: UTF-8 bytes of all ids, one after the other, as uint8.
        offsets: ``[n + 1]`` int64, where each id begins in ``text``.
        hashes: ``[n]`` uint64, the ids' xxh3-64, rising.
        docs: ``[n]`` int32, the document of each hash.
    """

    text: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    docs: NDArray[np.int32]

    def __len__(self) -> int:
        return self.docs.size

    def doc_id(self, doc: int) -> str:
        """The id of a document number."""
        return self._bytes(doc).decode()

    def doc(self, doc_id: str) -> int | None:
        """The document number of an id, or None."""
        wanted = doc_id.encode()
        digest = np.uint64(xxhash.xxh3_64_intdigest(wanted))
        at = int(self.hashes.searchsorted(digest))
        while at < len(self) and self.hashes[at] == digest:
            doc = int(self.docs[at])
            if self._bytes(doc) == wanted:
                return doc
            at += 1
        return None

    def hashed(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The documents whose ids have one of these `hashes_of`, in no order."""
        firsts = self.hashes.searchsorted(hashes, "left")
        ends = self.hashes.searchsorted(hashes, "right")
        places = [np.arange(a, b) for a, b in zip(firsts.tolist(), ends.tolist(), strict=True)]
        found: NDArray[np.int32] = self.docs[np.concatenate([np.empty(0, np.int64), *places])]
        return found.astype(np.int64)

    def may_hold(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which of the ids with these `hashes_of` may be there; the others are not."""
        if not len(self):
            return np.zeros(hashes.size, np.bool_)
        places = self.hashes.searchsorted(hashes)
        found: NDArray[np.bool_] = self.hashes.take(places, mode="clip") == hashes
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays to store, by name."""
        return {name: getattr(self, name) for name in self.__slots__}

    def _bytes(self, doc: int) -> bytes:
        return self.text[self.offsets[doc] : self.offsets[doc + 1]].tobytes()

    @staticmethod
    def of(ids: Iterable[str]) -> Identifiers:
        """Number ids by their order.

        Raises:
            InputError: an id is empty, too long, or there twice; the message names the records.
        """
        building = IdentifiersBuilder()
        for doc_id in ids:
            building.append(doc_id)
        return building.identifiers()

    def refuse_duplicates(self) -> None:
        """Raise InputError where an id is there twice."""
        same = np.flatnonzero(self.hashes[1:] == self.hashes[:-1])
        for at in same:
            first, second = sorted((int(self.docs[at]), int(self.docs[at + 1])))
            if self._bytes(first) == self._bytes(second):
                raise InputError(
                    f"expected each id once, found {self.doc_id(first)!r} for records "
                    f"{first + 1} and {second + 1}; make the ids unique"
                )


class IdentifiersBuilder:
    """Identifiers that grow by their text and 16 bytes an id."""

    def __init__(self) -> None:
        self._text, self._offsets, self._hashes = bytearray(), array("q", [0]), array("Q")

    def __len__(self) -> int:
        return len(self._hashes)

    def append(self, doc_id: str) -> None:
        """Number the next id; raises InputError where it is empty or too long."""
        encoded = check_id(doc_id).encode()
        self._text += encoded
        self._offsets.append(len(self._text))
        self._hashes.append(xxhash.xxh3_64_intdigest(encoded))

    def identifiers(self) -> Identifiers:
        """All ids so far; raises InputError where one is there twice."""
        hashes = np.array(self._hashes, np.uint64)
        order = np.argsort(hashes, kind="stable").astype(np.int32)
        identifiers = Identifiers(
            np.frombuffer(bytes(self._text), np.uint8),
            np.array(self._offsets, np.int64),
            hashes[order],
            order,
        )
        identifiers.refuse_duplicates()
        return identifiers


def hashes_of(ids: Iterable[str]) -> NDArray[np.uint64]:
    """The xxh3-64 of each id."""
    return np.fromiter((xxhash.xxh3_64_intdigest(doc_id.encode()) for doc_id in ids), np.uint64)


def check_id(doc_id: str) -> str:
    """Give the id back if it can serve as one, else raise InputError."""
    try:
        size = len(doc_id.encode())
    except UnicodeEncodeError:
        raise InputError(
            f"expected an id in UTF-8, found {doc_id!r}; rename the document or its file"
        ) from None
    if not 0 < size <= MAX_ID_BYTES:
        raise InputError(
            f"expected an id of 1 to {MAX_ID_BYTES} bytes, found {size} bytes; give it one"
        )
    if any(ord(character) < 32 for character in doc_id):
        raise InputError(
            f"expected an id without control characters, found {doc_id!r}; remove them"
        )
    return doc_id

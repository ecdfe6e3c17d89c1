"""Cursors: what the pages so far have shown, in a form that clients hand back unread.

The next page shows the best of the rest. So documents that stay as they are appear once, whatever
comes, goes or changes between two pages.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, TypeVar

import msgspec
import xxhash
from msgspec import Struct

from tamis.api.problems import RequestError
from tamis.retriever.types import Seen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tamis.api.messages.requests import SearchRequest, SeveralRequest

MOST_SHOWN = 100_000  # documents that a cursor goes past: 8 bytes each
_HASH_BYTES = 8
_Kind = TypeVar("_Kind", bound=Struct)


class Cursor(Struct, frozen=True, array_like=True):
    """What has been shown of a search.

    Attributes:
        search: which search it is of.
        hits: how many there were.
        generation: of the collection that the first of them were found in.
        documents: of `Seen`.
    """

    search: int
    hits: int
    generation: int
    documents: bytes

    def text(self) -> str:
        """As it stands in an answer."""
        return _text(self)


class SeveralCursor(Struct, frozen=True, array_like=True):
    """What has been shown of a search in several indexes.

    Attributes:
        search: which search it is of.
        seen: of each index: how many hits, the generation, and the documents, of `Seen`.
    """

    search: int
    seen: dict[str, tuple[int, int, bytes]]

    @staticmethod
    def of(search: int, seen: Mapping[str, Seen]) -> SeveralCursor:
        """The cursor of what was seen by index."""
        return SeveralCursor(
            search,
            {name: (one.hits, one.generation, one.documents) for name, one in seen.items()},
        )

    def text(self) -> str:
        """As it stands in an answer."""
        return _text(self)


def identity(asked: SearchRequest | SeveralRequest, index: str) -> int:
    """Of a search, whatever page of it is asked for.

    Args:
        asked: the search.
        index: identity of the index; an alias has that of the index it stands for. Of several,
            those of all.
    """
    apart = ("k", "offset", "cursor", "timeout_ms", "explain", "highlight", "fields", "facets")
    kept = [(name, getattr(asked, name)) for name in asked.__struct_fields__ if name not in apart]
    if isinstance(asked.fields, dict):  # which are boosts
        kept.append(("fields", asked.fields))
    return xxhash.xxh3_64_intdigest(msgspec.msgpack.encode([index, kept]))


def read_cursor(asked: SearchRequest, index: str) -> Seen | None:
    """What the cursor of a request says was shown; None where it has none.

    Raises:
        RequestError: 422 when it is none, of another search or index, stands beside an offset, or
            has gone too far.
    """
    if asked.cursor is None:
        return None
    found = _read(asked.cursor, Cursor)
    if found is None or found.search != identity(asked, index) or asked.offset:
        raise _refused()
    return _seen(found.hits, found.generation, found.documents)


def read_several(asked: SeveralRequest, indexes: str) -> dict[str, Seen]:
    """As `read_cursor`, of several indexes: what was shown by index; none without a cursor."""
    if asked.cursor is None:
        return {}
    found = _read(asked.cursor, SeveralCursor)
    if (
        found is None
        or found.search != identity(asked, indexes)
        or asked.offset
        or not found.seen.keys() <= set(asked.indexes)
    ):
        raise _refused()
    return {name: _seen(*one) for name, one in found.seen.items()}


def _text(cursor: Struct) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(cursor)).decode()


def _read(text: str, kind: type[_Kind]) -> _Kind | None:
    try:
        packed = base64.b64decode(text.encode(), altchars=b"-_", validate=True)
        return msgspec.msgpack.decode(packed, type=kind)
    except (msgspec.MsgspecError, binascii.Error, ValueError):
        return None


def _seen(hits: int, generation: int, documents: bytes) -> Seen:
    """What was shown of one index; raises as `read_cursor`."""
    if len(documents) % _HASH_BYTES or not 0 < hits <= len(documents) // _HASH_BYTES:
        raise _refused()
    if len(documents) > MOST_SHOWN * _HASH_BYTES:
        raise RequestError(
            422,
            "limit_exceeded",
            f"expected a cursor past at most {MOST_SHOWN} documents, found one past more; narrow "
            "the search, with a filter for one",
        )
    return Seen(documents, hits, generation)


def _refused() -> RequestError:
    return RequestError(
        422,
        "invalid_cursor",
        "expected the cursor of an answer to this very search of this very index, and no "
        "offset, found another; leave it out to begin with the first hit",
    )

"""Cursors: what the pages so far have shown, in a form that clients hand back unread.

The next page shows the best of the rest. So documents that stay as they are appear once, whatever
comes, goes or changes between two pages.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

import msgspec
import xxhash
from msgspec import Struct

from tamis.api.problems import RequestError
from tamis.retriever.types import Seen

if TYPE_CHECKING:
    from tamis.api.messages.requests import SearchRequest

MOST_SHOWN = 100_000  # documents that a cursor goes past: 8 bytes each
_HASH_BYTES = 8


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
        return base64.urlsafe_b64encode(msgspec.msgpack.encode(self)).decode()


def identity(asked: SearchRequest, index: str) -> int:
    """Of a search in one index, whatever page of it is asked for.

    Args:
        asked: the search.
        index: identity of the index; an alias has that of the index it stands for.
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
    try:
        found = msgspec.msgpack.decode(
            base64.b64decode(asked.cursor.encode(), altchars=b"-_", validate=True), type=Cursor
        )
    except (msgspec.MsgspecError, binascii.Error, ValueError):
        found = None
    if (
        found is None
        or found.search != identity(asked, index)
        or len(found.documents) % _HASH_BYTES
        or not 0 < found.hits <= len(found.documents) // _HASH_BYTES
        or asked.offset
    ):
        raise RequestError(
            422,
            "invalid_cursor",
            "expected the cursor of an answer to this very search of this very index, and no "
            "offset, found another; leave it out to begin with the first hit",
        )
    if len(found.documents) > MOST_SHOWN * _HASH_BYTES:
        raise RequestError(
            422,
            "limit_exceeded",
            f"expected a cursor past at most {MOST_SHOWN} documents, found one past more; narrow "
            "the search, with a filter for one",
        )
    return Seen(found.documents, found.hits, found.generation)

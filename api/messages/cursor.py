"""Cursors: where a page of hits ended, in a form that clients hand back unread.

The next page goes on after the last hit. Where the collection has changed meanwhile, it goes on
after the place that this hit, or its score, has now.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

import msgspec
import xxhash
from msgspec import Struct

from tamis.api.problems import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tamis.api.messages.requests import SearchRequest
    from tamis.retriever.types import Hit


class Cursor(Struct, frozen=True, array_like=True):
    """Where a page ended.

    Attributes:
        search: which search it is of.
        seen: hits so far.
        last_id: the last one's id.
        last_score: the last one's score.
    """

    search: int
    seen: int
    last_id: str
    last_score: float

    def text(self) -> str:
        """As it stands in an answer."""
        return base64.urlsafe_b64encode(msgspec.msgpack.encode(self)).decode()

    def rest(self, hits: Sequence[Hit]) -> int:
        """The place among all hits of a search, from the first, that this goes on from."""
        if len(hits) >= self.seen and hits[self.seen - 1].doc_id == self.last_id:
            return self.seen
        for at, hit in enumerate(hits):
            if hit.doc_id == self.last_id:
                return at + 1
        for at, hit in enumerate(hits):
            if hit.score < self.last_score:
                return at
        return len(hits)


def identity(asked: SearchRequest) -> int:
    """Of a search, whatever page of it is asked for."""
    apart = ("k", "offset", "cursor", "timeout_ms", "explain", "highlight", "fields")
    kept = [(name, getattr(asked, name)) for name in asked.__struct_fields__ if name not in apart]
    return xxhash.xxh3_64_intdigest(msgspec.msgpack.encode(kept))


def read_cursor(asked: SearchRequest) -> Cursor | None:
    """The cursor of a request; None where it has none.

    Raises:
        RequestError: 422 when it is none, or of another search, or stands beside an offset.
    """
    if asked.cursor is None:
        return None
    try:
        found = msgspec.msgpack.decode(
            base64.b64decode(asked.cursor.encode(), altchars=b"-_", validate=True), type=Cursor
        )
    except (msgspec.MsgspecError, binascii.Error, ValueError):
        found = None
    if found is None or found.search != identity(asked) or found.seen < 1 or asked.offset:
        raise RequestError(
            422,
            "invalid_cursor",
            "expected the cursor of an answer to this very search, and no offset, found another; "
            "leave it out to begin anew",
        )
    return found

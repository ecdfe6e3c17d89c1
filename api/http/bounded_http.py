"""BoundedHttp: a request's line and headers are bounded in size and in time.

The parser keeps all it gets until the head is whole. Bodies are bounded in body.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

HEAD_BYTES = 64 << 10  # of a request's line and headers together
HEAD_WITHIN_S = 20.0  # after the connection was made, or a head begun


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol, which refuses heads that are too large and ends those that do not come.

    A head that arrives in one piece, as almost all do, costs no timer.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect the first head."""
        super().connection_made(transport)
        self._in_head = False
        self._large = False  # whether a piece alone may hold too large a head
        self._held_bytes = 0  # of pieces that did not end the head
        self._ending: asyncio.TimerHandle | None = None
        self._end_later()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing."""
        self._wait_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse a piece, and count it where it leaves a head unfinished."""
        began_before, self._large = self._in_head, len(data) > HEAD_BYTES
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        self._end_later()
        if began_before:
            self._held_bytes += len(data)
            if self._held_bytes > HEAD_BYTES:
                self.send_400_response("Request head too large.")

    def on_message_begin(self) -> None:
        """Count from zero."""
        self._in_head, self._held_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        if self._large:
            self._check_size()
        self._in_head = False
        self._wait_no_more()
        super().on_headers_complete()

    def _check_size(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > HEAD_BYTES:
            raise ValueError("head too large")  # the parser gives up, and 400 is answered

    def _end_later(self) -> None:
        if self._ending is None:
            self._ending = self.loop.call_later(HEAD_WITHIN_S, self._end)

    def _end(self) -> None:
        self._ending = None
        self.transport.close()

    def _wait_no_more(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None

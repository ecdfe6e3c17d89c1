"""BoundedHttp: connections are bounded in number, heads in size and time, and none stands still.

The parser keeps all it gets until the head is whole. Bodies are bounded in body.py while they are
read. Here end those that go on after their answer, and clients that do not read their answers.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tamis.api import problems
from tamis.api.http.connections import Connections
from tamis.api.problems import RequestError

if TYPE_CHECKING:
    import asyncio

HEAD_BYTES = 64 << 10  # of a request's line and headers together
HEAD_WITHIN_S = 20.0  # after the connection was made, or a head begun
BODY_WITHIN_S = 20.0  # after the answer: what is still sent of a body that was refused
READ_WITHIN_S = 30.0  # that a client may not read its answer, beside what its rate allows
READ_RATE = 32 << 10  # bytes a second that a client has to read, on average beyond that
READ_BYTES = 48 << 10  # read each time that writing goes on: from 64 KB that wait to 16


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol, which refuses heads that are too large and ends those that do not come.

    A head that arrives in one piece, as almost all do, costs no timer.
    """

    def __init__(
        self,
        *arguments: Any,  # noqa: ANN401
        among: Connections | None = None,
        **named: Any,  # noqa: ANN401
    ) -> None:
        """Be one ``among`` other connections, None for as many as come; all else is uvicorn's."""
        super().__init__(*arguments, **named)
        self._among = among if among is not None else Connections(sys.maxsize)

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way whose head is whole."""
        return self.cycle is None or (self.cycle.response_complete and not self.pipeline)

    def end(self) -> None:
        """Close the connection."""
        self.transport.close()

    def refuse(self) -> None:
        """Answer that there are too many connections, and close this one."""
        refusal = problems.response(
            RequestError(
                503,
                "overloaded",
                f"expected fewer than {self._among.most} connections with a request under way, "
                "found as many; try again shortly",
                {"Retry-After": "1"},
            )
        )
        head = [f"HTTP/1.1 {refusal.status_code} Service Unavailable", "Connection: close"]
        head += [f"{name}: {value}" for name, value in refusal.headers.items()]
        self.transport.write("\r\n".join([*head, "\r\n"]).encode() + bytes(refusal.body))
        self.transport.close()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect the first head."""
        super().connection_made(transport)
        self._among.made(self)
        self._in_head = False
        self._large = False  # whether a piece alone may hold too large a head
        self._held_bytes = 0  # of pieces that did not end the head
        self._ending: asyncio.TimerHandle | None = None
        self._in_body = False
        self._unread: asyncio.TimerHandle | None = None
        self._unread_from = 0.0
        self._left_s = READ_WITHIN_S  # that a client may still not read
        self._end_later(HEAD_WITHIN_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing."""
        self._among.lost(self)
        self._wait_no_more()
        if self._unread is not None:
            self._unread.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse a piece, and count it where it leaves a head unfinished."""
        began_before, self._large = self._in_head, len(data) > HEAD_BYTES
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        self._end_later(HEAD_WITHIN_S)
        if began_before:
            self._held_bytes += len(data)
            if self._held_bytes > HEAD_BYTES:
                self.send_400_response("Request head too large.")

    def on_message_begin(self) -> None:
        """Count from zero."""
        self._in_head, self._held_bytes = True, 0
        self._left_s = READ_WITHIN_S
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        if self._large:
            self._check_size()
        self._in_head, self._in_body = False, True
        self._wait_no_more()
        self._among.used(self)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The body is whole."""
        self._in_body = False
        self._wait_no_more()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait no longer than so for the rest of a body that nobody reads."""
        super().on_response_complete()
        if self._in_body:
            self._end_later(BODY_WITHIN_S)

    def pause_writing(self) -> None:
        """The client does not read as fast as is written: see how long."""
        super().pause_writing()
        self._unread_from = self.loop.time()
        self._unread = self.loop.call_later(max(self._left_s, 0), self.transport.abort)

    def resume_writing(self) -> None:
        """It has read."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
            self._left_s += READ_BYTES / READ_RATE - (self.loop.time() - self._unread_from)

    def _check_size(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > HEAD_BYTES:
            raise ValueError("head too large")  # the parser gives up, and 400 is answered

    def _end_later(self, within_s: float) -> None:
        if self._ending is None:
            self._ending = self.loop.call_later(within_s, self._end)

    def _end(self) -> None:
        self._ending = None
        self.transport.close()

    def _wait_no_more(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None

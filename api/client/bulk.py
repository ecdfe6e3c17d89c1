"""Bulk writes: documents become bodies of bounded size, and the answers to these become one.

Each body is held while it is sent, so that it can be sent again; no more than one is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tamis.api.client.exchanges import to_json
from tamis.api.messages.write_answers import IngestAnswer
from tamis.index.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tamis.api.client.errors import ServiceError
    from tamis.api.client.exchanges import Wait

BODY_BYTES = 4 << 20  # of a body of lines: an eighth of what a server takes by default
MOST_PROBLEMS = 1000  # kept, as a server keeps them


class Upload:
    """Documents of one bulk write, as they come.

    Attributes:
        answer: what has become of those that were sent.
    """

    def __init__(self) -> None:
        self.answer = IngestAnswer(0.0, 0, 0, (), 0)
        self._held = bytearray()
        self._read = self._sent = 0  # documents

    def take(self, document: Mapping[str, Any]) -> bytes | None:
        """Hold a document; the lines to send first where there are enough.

        Raises:
            InputError: JSON cannot hold it; the message tells which document it is.
        """
        self._read += 1
        try:
            line = to_json(dict(document))
        except InputError as error:
            raise InputError(f"document {self._read}: {error}") from error
        full = None
        if self._held and len(self._held) + len(line) >= BODY_BYTES:
            full = self.rest()
        self._held += line + b"\n"
        return full

    def rest(self) -> bytes:
        """The lines that are held, which are let go of."""
        held, self._held = bytes(self._held), bytearray()
        return held

    def answered(self, lines: bytes, answer: IngestAnswer) -> None:
        """Add the answer to some lines; their numbers become those of the whole write."""
        before, so_far = self._sent, self.answer
        self._sent += lines.count(b"\n")
        further = (replace(one, line=one.line + before) for one in answer.problems)
        self.answer = IngestAnswer(
            so_far.took_ms + answer.took_ms,
            so_far.written + answer.written,
            so_far.failed + answer.failed,
            (*so_far.problems, *further)[:MOST_PROBLEMS],
            answer.generation,
        )

    def told(self, error: ServiceError) -> ServiceError:
        """An error with what had been done before it."""
        error.add_note(f"{self.answer.written} documents before these are written")
        return error


def between(wait: Wait) -> Wait:
    """What a body waits for that is not the last: the last one's wait covers what is safe."""
    return "none" if wait == "none" else "durable"

"""Connections: as many as may be open at once. Knows nothing of HTTP but what a refusal is."""

from __future__ import annotations

from typing import Protocol


class Connection(Protocol):
    """What a client has opened."""

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way: none has come whole that is not answered."""

    def end(self) -> None:
        """Close it."""

    def refuse(self) -> None:
        """Say that there is no room, and close it."""


class Connections:
    """One more than may be takes the place of the one that has been idle longest.

    Lives on one event loop.

    Attributes:
        most: how many may be open at once.
        ended: how many were closed for others to come.
        refused: how many found no place.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.ended = self.refused = 0
        self._open: dict[Connection, None] = {}  # the one used last is the last

    def __len__(self) -> int:
        return len(self._open)

    def counts(self) -> dict[str, float]:
        """How many are open, and how many were ended and refused so far."""
        return {"open": len(self), "ended": self.ended, "refused": self.refused}

    def made(self, connection: Connection) -> None:
        """Take a new one, or refuse it where none is idle."""
        self._open[connection] = None
        if len(self._open) <= self.most:
            return
        for one in self._open:
            if one is not connection and one.is_idle:
                self.ended += 1
                del self._open[one]
                one.end()
                return
        self.refused += 1
        del self._open[connection]
        connection.refuse()

    def used(self, connection: Connection) -> None:
        """A request has come by it."""
        if connection in self._open:
            del self._open[connection]
            self._open[connection] = None

    def lost(self, connection: Connection) -> None:
        """It is closed."""
        self._open.pop(connection, None)

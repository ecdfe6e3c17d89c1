"""Descriptors: open files are counted at the start, and what needs them is bounded to fit."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from tamis.api.limits import BACKLOG, MOST_AWAKE
from tamis.index.errors import InputError
from tamis.index.files import system

LOG = logging.getLogger("tamis.api")
LEAST = 64  # with fewer a server is not started
OF_AN_AWAKE_INDEX = 3  # its log, and the generations of its writer and its searcher
_AT_WORK = 28, 128  # files that are read and written at one moment: least and most


@dataclass(frozen=True, slots=True)
class Descriptors:
    """The shares of a process's open files.

    Attributes:
        limit: how many may be open.
        connections: of clients at once.
        backlog: connections that may come at one moment, before others are closed for them.
        awake: indexes that are open for writing at once.
    """

    limit: int
    connections: int
    backlog: int
    awake: int

    @staticmethod
    def raised(connections: int, given: int) -> Descriptors:
        """Raise the limit as far as the system lets, and share it; what is lowered is told.

        Args:
            connections: as many as are wanted.
            given: indexes that are to be opened and only read, one file each.

        Raises:
            InputError: the limit is too low for any server.
        """
        before, limit = system.raise_open_files()
        if limit is None:
            return Descriptors(0, connections, BACKLOG, MOST_AWAKE)
        if limit != before:
            LOG.info("open files: the limit of %s is raised to %s", before, limit)
        found = Descriptors.shared(limit, system.open_files() + given, connections)
        if found.connections < connections:
            LOG.warning(
                "open files: with a limit of %s there may be %s connections, not %s; raise it "
                "with `ulimit -n` or LimitNOFILE",
                *(limit, found.connections, connections),
            )
        return found

    @staticmethod
    def shared(limit: int, used: int, connections: int) -> Descriptors:
        """The shares under a limit.

        Args:
            limit: how many may be open; refused (InputError) below `LEAST`.
            used: how many are.
            connections: as many as are wanted.
        """
        if limit < LEAST:
            raise InputError(
                f"expected a limit of at least {LEAST} open files, found {limit}; raise it with "
                "`ulimit -n` or LimitNOFILE"
            )
        least, most = _AT_WORK
        left = limit - used - max(least, min(most, limit // 8))
        awake = max(1, min(MOST_AWAKE, left // 3 // OF_AN_AWAKE_INDEX))
        left -= awake * OF_AN_AWAKE_INDEX
        fitting = max(1, min(connections, left // 2))
        return Descriptors(limit, fitting, max(1, min(BACKLOG, left - fitting)), awake)

"""Library: all indexes of a server by name or alias, given ones and those of its data folder."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from tamis.api.problems import RequestError
from tamis.api.serving.faults import Fault
from tamis.index.errors import TamisError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tamis.api.serving.data_folder import DataFolder
    from tamis.api.serving.living_index import LivingIndex
    from tamis.retriever.reranker import Reranker
    from tamis.retriever.searcher import Searcher

LOG = logging.getLogger("tamis.api")
MOST_NAMES = 20  # shown in a message


class Library:
    """Safe to use from many threads.

    Attributes:
        data: the data folder, where there is one.
    """

    def __init__(
        self, given: Mapping[str, Searcher], data: DataFolder | None, reranker: Reranker
    ) -> None:
        """Put indexes that are only read beside those of a data folder.

        Args:
            given: indexes that are only read.
            data: a data folder, if there is one.
            reranker: the second stage of those that have none.
        """
        self.data = data
        self._given = {
            name: found if found.reranker is not None else found.with_reranker(reranker)
            for name, found in given.items()
        }
        if data is not None:
            data.use_reranker(reranker)
        self._aliases = data.catalog.aliases() if data is not None else {}
        self._failing: dict[str, Fault] = {}

    def names(self) -> tuple[str, ...]:
        """The names of all indexes that can be searched; no aliases."""
        living = self.data.indexes if self.data is not None else {}
        return (*self._given, *sorted(living))

    def aliases(self) -> dict[str, str]:
        """The index of each alias."""
        return dict(self._aliases)

    def searchers(self) -> dict[str, Searcher]:
        """All of them, by name."""
        living = dict(self.data.indexes) if self.data is not None else {}
        return self._given | {name: living[name].searcher for name in sorted(living)}

    def generations(self) -> dict[str, int]:
        """The generation of each index that is searched, by name."""
        return {name: found.collection.generation for name, found in self.searchers().items()}

    def resolved(self, name: str) -> str:
        """The index that a name or an alias stands for; unknown names as they are."""
        return self._aliases.get(name, name)

    def searcher(self, name: str) -> Searcher:
        """What searches the index of a name or an alias.

        Raises:
            RequestError: 404 when there is none, 503 when it is damaged.
        """
        found = self._given.get(name)
        if found is not None:
            return found
        index = self.resolved(name)
        if self.data is not None and index in self.data.indexes:
            return self.data.indexes[index].searcher
        if index in self._given:
            return self._given[index]
        raise self._missing(name, index)

    def living(self, name: str) -> LivingIndex:
        """The index of a name or an alias, to write to.

        Raises:
            RequestError: 404 when there is none, 409 when it is only read here, 503 when it is
                damaged.
        """
        index = self.resolved(name)
        if index in self._given:
            raise RequestError(
                409,
                "read_only",
                f"expected an index of the data folder, found {name!r}, which is only read here; "
                "serve it with --data DIR, or change it with `tamis add` and `tamis delete`",
            )
        if self.data is None or index not in self.data.indexes:
            raise self._missing(name, index)
        return self.data.indexes[index]

    def writable(self) -> DataFolder:
        """The data folder; raises RequestError 409 where there is none."""
        if self.data is None:
            raise RequestError(
                409,
                "read_only",
                "expected a server with a data folder, found none; start it with --data DIR",
            )
        return self.data

    def point(self, alias: str, index: str | None) -> None:
        """Let an alias stand for an index, or for none, in one step."""
        self.writable().catalog.point_aliases({alias: index})
        changed = {name: target for name, target in self._aliases.items() if name != alias}
        self._aliases = changed if index is None else {**changed, alias: index}

    def refresh(self) -> None:
        """Publish what was written here, and follow what others write to given indexes.

        An index whose newest generation cannot be read goes on being served as it was.
        """
        for name, searcher in list(self._given.items()):
            try:
                self._given[name] = searcher.refresh()
                self._failing.pop(name, None)
            except TamisError as error:
                self._note(name, error)
        for name, living in list(self.data.indexes.items()) if self.data is not None else []:
            try:
                living.publish()
                self._failing.pop(name, None)
            except (TamisError, OSError) as error:
                self._note(name, error)
            except RequestError:  # it has just been removed
                self._failing.pop(name, None)

    def rest(self) -> None:
        """Let go of what indexes remember for the next documents' sake alone."""
        for living in list(self.data.indexes.values()) if self.data is not None else []:
            with suppress(RequestError):  # it has just been removed
                living.rest()

    def faults(self) -> dict[str, Fault]:
        """What is wrong with which index; empty when all is well."""
        broken = self.data.broken if self.data is not None else {}
        return {**broken, **self._failing}

    def close(self) -> None:
        """Commit what was written here."""
        if self.data is not None:
            self.data.close()

    def _note(self, name: str, error: Exception) -> None:
        fault = Fault.of(error)
        if self._failing.get(name) != fault:
            LOG.warning("index %s stays at its generation: %s", name, error)
        self._failing[name] = fault

    def _missing(self, name: str, index: str) -> RequestError:
        if self.data is not None and index in self.data.broken:
            return RequestError(503, "index_unavailable", self.data.broken[index].detail)
        known = ", ".join(self.names()[:MOST_NAMES]) or "none yet"
        return RequestError(
            404, "unknown_index", f"expected one of the indexes {known}; found {name!r}"
        )

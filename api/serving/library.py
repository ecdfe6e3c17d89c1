"""Library: all indexes of a server by name or alias, given ones and those of its data folder."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from tamis.api.problems import RequestError
from tamis.api.serving.given_index import GivenIndex
from tamis.index.writing.background import Background

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tamis.api.serving.data_folder import DataFolder
    from tamis.api.serving.faults import ServerFault
    from tamis.api.serving.living_index import LivingIndex
    from tamis.retriever.rerank.reranker import Reranker
    from tamis.retriever.searcher import Searcher

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
        self._background = Background("tamis-follow", 1 if given else 0)
        self._given = {
            name: GivenIndex(
                name,
                found if found.reranker is not None else found.with_reranker(reranker),
                self._background,
            )
            for name, found in given.items()
        }
        if data is not None:
            data.use_reranker(reranker)
        self._aliases = data.catalog.aliases() if data is not None else {}
        self._pointing = threading.Lock()

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
        given = {name: found.searcher for name, found in self._given.items()}
        return given | {name: living[name].searcher for name in sorted(living)}

    def generations(self) -> dict[str, int]:
        """The generation of each index that is searched, by name."""
        return {name: found.collection.generation for name, found in self.searchers().items()}

    def pending_bytes(self) -> int:
        """About how much memory the writes to all indexes take that searches do not find yet."""
        written = list(self.data.indexes.values()) if self.data is not None else []
        return sum(index.pending_bytes for index in written)

    def resolved(self, name: str) -> str:
        """The index that a name or an alias stands for; unknown names as they are."""
        return self._aliases.get(name, name)

    def searcher(self, name: str) -> Searcher:
        """What searches the index of a name or an alias.

        Raises:
            RequestError: 404 when there is none, 503 when it is damaged.
        """
        found: GivenIndex | LivingIndex | None = self._given.get(name)
        if found is not None:
            return found.searcher
        index = self.resolved(name)
        found = self.data.indexes.get(index) if self.data is not None else None
        found = found or self._given.get(index)
        if found is None:
            raise self._missing(name, index)
        return found.searcher

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
        found = self.data.indexes.get(index) if self.data is not None else None
        if found is None:
            raise self._missing(name, index)
        return found

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
        with self._pointing:
            self.writable().catalog.point_aliases({alias: index})
            changed = {name: target for name, target in self._aliases.items() if name != alias}
            self._aliases = changed if index is None else {**changed, alias: index}

    def look_after(self) -> None:
        """Have published what was written here, and others' writes to given indexes followed.

        An index whose newest generation cannot be read goes on being served as it was. What fails
        is tried again, and told by `faults`.
        """
        for given in self._given.values():
            given.upkeep.wake()
        if self.data is not None:
            self.data.look_after()

    def free_memory(self) -> None:
        """Drop the caches of writers, and close idle ones."""
        if self.data is not None:
            self.data.free_memory()

    def faults(self) -> dict[str, ServerFault]:
        """What is wrong with which index or other part; empty when all is well."""
        found = self.data.faults() if self.data is not None else {}
        found |= {name: given.fault for name, given in self._given.items() if given.fault}
        return found

    def close(self) -> None:
        """Commit what was written here."""
        self._background.close()
        if self.data is not None:
            self.data.close()

    def _missing(self, name: str, index: str) -> RequestError:
        fault = self.data.broken.get(index) if self.data is not None else None
        if fault is not None:
            return RequestError(503, "index_unavailable", fault.detail)
        known = ", ".join(self.names()[:MOST_NAMES]) or "none yet"
        return RequestError(
            404, "unknown_index", f"expected one of the indexes {known}; found {name!r}"
        )

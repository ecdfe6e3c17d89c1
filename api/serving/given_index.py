"""GivenIndex: a folder that is only read here, followed when others write it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tamis.api.serving.faults import ServerFault, told
from tamis.index.writing.background import Background, Repeater

if TYPE_CHECKING:
    from tamis.index.files.progress import Progress
    from tamis.retriever.searcher import Searcher


class GivenIndex:
    """Safe to use from many threads.

    Attributes:
        searcher: of the newest generation that could be read.
        upkeep: looks for newer ones.
        fault: why there is a newer one that could not be read.
    """

    def __init__(self, name: str, searcher: Searcher, background: Background) -> None:
        """Begin with an open generation; ``background`` has the threads of `upkeep`."""
        self.searcher = searcher
        self.fault: ServerFault | None = None
        self.upkeep = Repeater(background, self._follow)
        self._name = name

    def _follow(self, progress: Progress) -> bool:
        try:
            self.searcher = self.searcher.refresh()
        except Exception as error:
            self._tell(error)
            raise
        self._tell(None)
        return False

    def _tell(self, error: Exception | None) -> None:
        self.fault = told(self.fault, error, f"index {self._name} stays at its generation")

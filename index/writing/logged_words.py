"""LoggedWords: a growing dictionary, and how far it is in the log and in a generation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tamis.index.generations.draft import FREQUENCY
from tamis.index.segment.dictionary import DictionaryWriter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from tamis.index.segment.dictionary import Dictionary


class LoggedWords:
    """The words of a collection that is written. One thread at a time.

    Words enter the log with the first write after them, so that reading it again gives them the
    same numbers.

    Attributes:
        dictionary: where words are added; None for a collection without the lexical channel.
    """

    def __init__(self, dictionary: Dictionary | None) -> None:
        """Go on from the words of a generation."""
        self.dictionary: DictionaryWriter | None = None
        self._logged = self._committed = 0
        if dictionary is not None:
            self.dictionary = DictionaryWriter(dictionary.first_term, dictionary)
            self._logged = self._committed = len(dictionary)

    def to_log(self) -> list[str]:
        """The words that are neither in the log nor in a generation."""
        return self.dictionary.words_from(self._logged) if self.dictionary is not None else []

    def logged(self, words: int) -> None:
        """So many more are in the log."""
        self._logged += words

    def replay(self, words: Iterable[str]) -> None:
        """Add words that were found in the log."""
        if self.dictionary is not None:
            self.dictionary.add(words)
            self._logged = len(self.dictionary)

    def to_commit(self) -> dict[str, NDArray[Any]]:
        """The dictionary's arrays if it has grown since this was last asked."""
        if self.dictionary is None or len(self.dictionary) == self._committed:
            return {}
        self._committed = len(self.dictionary)
        arrays = self.dictionary.arrays()
        del arrays[FREQUENCY]
        return arrays

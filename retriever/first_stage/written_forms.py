"""WrittenForms: how the words of an index, which are stems, are written in its documents."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tamis.retriever.types import content_of
from tamis.retriever.words.fields import split_key

if TYPE_CHECKING:
    from tamis.index.collection import Collection
    from tamis.retriever.words.analysis import Analyzer

READ = 2  # documents that are looked into
ALIKE = 2  # letters that a stem and its forms begin with together, if it has so many
LONGEST_READ = 20_000  # characters of each
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class WrittenForms:
    """Looks into a few documents that hold a word."""

    collection: Collection
    analyzer: Analyzer

    def of(self, term: int) -> list[str]:
        """How a word is spelled there, most frequent first; the stem itself where it is in none."""
        assert self.collection.dictionary is not None
        _, stem = split_key(self.collection.dictionary.word(term))
        begins, found = stem[:ALIKE], Counter[str]()
        for text in self.texts_with(term):
            found.update(
                word
                for word in _WORD.findall(self.analyzer.spelled(text))
                if word.startswith(begins) or not word.isascii()
            )
        written = [(-count, word) for word, count in found.items() if self._has(word, stem)]
        return [word for _, word in sorted(written)] or [stem]

    def texts_with(self, term: int) -> list[str]:
        """The beginnings of a few documents that hold a word."""
        fields = self.collection.settings.text_fields
        return [
            content_of(self.collection.document(doc), fields)[:LONGEST_READ]
            for doc in self.collection.index.some_docs_holding(term, READ)
        ]

    def _has(self, word: str, stem: str) -> bool:
        return self.analyzer.folded(word).startswith(stem[:ALIKE]) and (
            stem in self.analyzer.words_of(word)
        )

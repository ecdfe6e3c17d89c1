"""Constraints: what a document must hold, or must not, beside its score. Exact.

Words are a matter of lists: an index is narrowed to the documents that hold one, or to those that
do not, as it is by a filter. A phrase narrows it to the documents with all its words; whether they
stand there in order is looked up in the stored text, best documents first, until there are enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from tamis.index.interrupts import check_for_interrupts
from tamis.retriever.words.fields import TITLE_AND_TEXT, texts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from tamis.index.collection import Collection
    from tamis.index.index import Index
    from tamis.retriever.words.phrases import AnyWord, Phrase

    Terms = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """What is looked up in a stored document.

    Attributes:
        said: a phrase, or words of which one will do.
        fields: it stands in one text of one of these.
    """

    said: Phrase | AnyWord
    fields: Sequence[str] = TITLE_AND_TEXT

    def stands_in(self, record: Mapping[str, Any]) -> bool:
        """Whether a document holds it."""
        return any(
            self.said.stands_in(text) for name in self.fields for text in texts_of(record, name)
        )


@dataclass(frozen=True, slots=True, eq=False)
class Constraints:
    """What one query asks of the documents of a collection.

    Attributes:
        must: a document holds at least one of each of these terms; one without terms admits none.
        must_not: it holds none of these.
        phrases: it holds each of these in one of its fields.
        not_phrases: and none of these.
    """

    must: tuple[Terms, ...] = ()
    must_not: tuple[Terms, ...] = ()
    phrases: tuple[Looked, ...] = ()
    not_phrases: tuple[Looked, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.must or self.must_not or self.phrases or self.not_phrases)

    def narrow(self, index: Index) -> Index:
        """An index that finds all documents that may do, and none that lists rule out."""
        if self.must:
            lists = sorted((index.docs_holding(terms) for terms in self.must), key=len)
            index = index.only(reduce(_both, lists))
        if self.must_not:
            index = index.without(index.docs_holding(np.concatenate(self.must_not)))
        return index

    @property
    def reads_texts(self) -> bool:
        """Whether lists alone do not decide."""
        return bool(self.phrases or self.not_phrases)

    def accepted(self, collection: Collection, docs: Iterable[int], most: int) -> list[int]:
        """The first ``most`` places of the documents, among ``docs``, whose texts do."""
        places: list[int] = []
        for place, doc in enumerate(docs):
            if len(places) == most:
                break
            if self._accepts(collection.encoded_document(doc)):
                places.append(place)
        return places

    def _accepts(self, record: bytes) -> bool:
        check_for_interrupts()
        stored = orjson.loads(record)
        return all(phrase.stands_in(stored) for phrase in self.phrases) and not any(
            phrase.stands_in(stored) for phrase in self.not_phrases
        )


def _both(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """What rising numbers have in common; the first are the fewer."""
    places = other.searchsorted(one)
    kept: NDArray[np.int64] = one[other.take(places, mode="clip") == one] if other.size else other
    return kept

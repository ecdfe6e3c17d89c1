"""Words of several collections weighed by the documents of all, so that their scores compare.

A document stores how far its words are saturated, a query what depends on the collection: N and df
of BM25. Searched together, collections count both over all of their documents.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from tamis.index.segment.dictionary import Dictionary
from tamis.retriever.words.bm25f import averages_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from tamis.index.generations.settings import CollectionSettings
    from tamis.retriever.searcher import Searcher

AVERAGES_WITHIN = 1.1  # factor between average lengths up to which saturation compares
_OF_DOCUMENTS = ("average_length", "words", "words_cut", "fingerprint")


class _SharedDictionary(Dictionary):
    """A collection's words, with the document frequencies that these have in all collections."""

    def __init__(self, own: Dictionary, others: Sequence[Dictionary]) -> None:
        arrays: dict[str, Any] = own.arrays()
        super().__init__(
            own.first_term, **{name: arrays[name] for name in arrays if name != "first_term"}
        )
        self._own, self._others = own, others

    @property
    def _beginnings(self) -> Any:  # type: ignore[override]  # noqa: ANN401  kept by the own one
        return self._own._beginnings

    @property
    def _letters(self) -> Any:  # type: ignore[override]  # noqa: ANN401
        return self._own._letters

    def document_frequency(self, terms: ArrayLike) -> NDArray[np.int64]:
        """How many documents of all collections hold each term; 0 where none of its own does."""
        found = self._own.document_frequency(terms)
        held = np.flatnonzero(found)
        words = [self.word(term) for term in np.asarray(terms)[held].tolist()]
        for other in self._others:
            found[held] += other.document_frequency(other.lookup_many(words))
        return found


def sharing(searchers: Mapping[str, Searcher]) -> dict[str, Searcher]:
    """The same collections with the words of queries weighed by the documents of all."""
    lexical = {name: one.lexical for name, one in searchers.items() if one.lexical is not None}
    documents = sum(one.documents for one in lexical.values())
    found = dict(searchers)
    for name, own in lexical.items():
        others = [one.dictionary for other, one in lexical.items() if other != name]
        dictionary = _SharedDictionary(own.dictionary, others)
        found[name] = replace(
            searchers[name], lexical=replace(own, dictionary=dictionary, documents=documents)
        )
    return found


def why_scores_differ(
    searchers: Mapping[str, Searcher], lexical_weight: float | None
) -> str | None:
    """Why scores of these collections do not compare; None where they do.

    They do with the same encoder and, where words count, the same analysis and weighing of words
    and average lengths within a factor of 1.1.
    """
    return why_made_differently(
        [one.collection.settings for one in searchers.values()], lexical_weight
    )


def why_made_differently(
    settings: Sequence[CollectionSettings], lexical_weight: float | None = None
) -> str | None:
    """Why scores of collections that are made so do not compare; None where they do."""
    if len({one.encoder.fingerprint if one.encoder else None for one in settings}) > 1:
        return "their encoders differ"
    if settings[0].encoder is None and not any(one.lexical for one in settings):
        return "they hold imported vectors, of which it is not known what made them"
    if lexical_weight == 0 and settings[0].encoder is not None:
        return None
    return _why_words_differ(settings)


def _why_words_differ(settings: Sequence[CollectionSettings]) -> str | None:
    made = []
    for one in settings:
        of_words = msgspec.to_builtins(one.lexical)
        for name in _OF_DOCUMENTS if of_words else ():
            del of_words[name]
        for field in of_words["fields"] if of_words else ():
            del field["average_length"]
        made.append(of_words)
    if any(one != made[0] for one in made):
        return "their words are analysed or weighed differently"
    averages = [averages_of(one.lexical) for one in settings if one.lexical is not None]
    what = ["their documents", *(f"their fields {name!r}" for name in settings[0].text_fields)]
    of_each = zip(*((one.length, *one.fields) for one in averages), strict=True)
    for holders, of_all in zip(what, of_each, strict=False):
        there = [average for average in of_all if average > 0]
        if there and max(there) > AVERAGES_WITHIN * min(there):
            return (
                f"{holders} have {min(there):.0f} to {max(there):.0f} words on average, so that "
                "words are saturated differently"
            )
    return None

"""Typing errors: which word of a collection is meant by one that it does not have.

A word of 4 letters may be one edit away from what is meant, one of 8 letters two. A letter more or
less, another letter, and two in the wrong order are one edit. Of the nearest words those in most
documents are taken, and of these the one that documents write most like it. Short words, codes,
numbers and scripts without spaces stay as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tamis.retriever.words.fields import split_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from tamis.index.segment.dictionary import Dictionary
    from tamis.retriever.words.analysis import Analyzer

ONE_EDIT, TWO_EDITS = 4, 8  # letters of the shortest words that may have so many
ENDING = 5  # letters at a word's end that a stemmer may change
MOST_MEANT = 4  # words of which the nearest as documents write them is taken
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SHORTEST_PART = 2  # letters of each of two words that were written as one


def is_known(word: str, analyzer: Analyzer, dictionary: Dictionary, key: str = "") -> bool:
    """Whether there is nothing to correct in a word: it is in a document, left out, or a code.

    With a ``key``, as `field_key` begins, it is in the field of a document.
    """
    stems = analyzer.words_of(word)
    if not stems or any(dictionary.is_held(key + stem) for stem in stems):
        return True
    return analyzer.sure_lists(word) != (stems,)


def meant(word: str, analyzer: Analyzer, dictionary: Dictionary, key: str = "") -> list[int] | str:
    """The words that one of no document may stand for.

    Args:
        word: as `Analyzer.spelled` gives it.
        analyzer: of the collection.
        dictionary: of the collection.
        key: of a field, as `field_key` begins, where only its words may be meant.

    Returns:
        Terms of the collection as near as any, those in most documents, and most first; none where
        no word is near enough. Two words where a space is missing, in no field alone.
    """
    if len(word) < ONE_EDIT:
        return []
    stems = analyzer.words_of(word)
    near = _nearest(key, stems, 1, dictionary) + _by_ending(key, word, analyzer, dictionary)
    if not near and not key and (parts := _two_words(word, analyzer, dictionary)) is not None:
        return parts
    if not near and len(word) >= TWO_EDITS:
        near = _nearest(key, stems, 2, dictionary)
    return [term for _, term in sorted(set(near), reverse=True)[:MOST_MEANT]]


def _nearest(
    key: str, stems: Sequence[str], edits: int, dictionary: Dictionary
) -> list[tuple[int, int]]:
    """How many documents hold each word within so many edits of a stem, and its term."""
    terms = np.concatenate([dictionary.near(key + stem, edits) for stem in stems])
    field, _ = split_key(key + stems[0])
    is_there = [split_key(dictionary.word(term))[0] == field for term in terms.tolist()]
    return _counted(terms[np.array(is_there, np.bool_)], dictionary)


def _by_ending(
    key: str, word: str, analyzer: Analyzer, dictionary: Dictionary
) -> list[tuple[int, int]]:
    """As `_nearest`, of words that one edit near the end makes.

    There a stem tells little: ``televison`` has none near that of ``television``.
    """
    if not word.isascii():
        return []
    stems = set(analyzer.stems(list(_edited(word))))
    return _counted(dictionary.lookup_many([key + stem for stem in stems]), dictionary)


def _counted(terms: NDArray[np.integer], dictionary: Dictionary) -> list[tuple[int, int]]:
    counts = dictionary.document_frequency(terms)
    held = counts > 0
    return list(zip(counts[held].tolist(), terms[held].tolist(), strict=True))


def _edited(word: str) -> Iterator[str]:
    """The word with one edit among its last letters."""
    for at in range(max(1, len(word) - ENDING), len(word) + 1):
        before, after = word[:at], word[at:]
        yield from (before + letter + after for letter in LETTERS)
        if after:
            yield before + after[1:]
            yield from (before + letter + after[1:] for letter in LETTERS)
        if len(after) > 1:
            yield before + after[1] + after[0] + after[2:]


def _two_words(word: str, analyzer: Analyzer, dictionary: Dictionary) -> str | None:
    """The two words that one is made of; those whose rarer one is in most documents."""
    places = range(SHORTEST_PART, len(word) - SHORTEST_PART + 1)
    parts = [(word[:at], word[at:]) for at in places]
    if not parts:
        return None
    stems = analyzer.stems([part for both in parts for part in both])
    counts = _frequencies(stems, dictionary).reshape(-1, 2).min(axis=1)
    best = int(counts.argmax())
    return " ".join(parts[best % len(parts)]) if counts[best] else None


def _frequencies(words: Iterable[str], dictionary: Dictionary) -> NDArray[np.int64]:
    return dictionary.document_frequency(dictionary.lookup_many(list(words)))

"""Completion: the words of a collection that begin with what was typed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tamis.index.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tamis.retriever.first_stage.written_forms import WrittenForms
    from tamis.retriever.words.lexical import LexicalQueries

MOST_SUGGESTED = 100
LOOKED_AT = 3  # words for each suggestion: documents may write some otherwise than they begin
ENDING = 3  # letters at most by which a stem may be shorter than what was typed of its word


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What a text may become.

    Attributes:
        text: the text with its last word complete.
        documents: how many hold that word.
    """

    text: str
    documents: int


def beginning_so(
    prefix: str, lexical: LexicalQueries, forms: WrittenForms, key: str = ""
) -> NDArray[np.int64]:
    """The terms of all words that begin so, those in most documents first.

    With a ``key``, as `field_key` begins, the terms of words in its field.

    The index has stems, which may be shorter than what was typed of a word: ``runni`` begins
    ``running``, whose stem is ``run``. Such stems count where documents write them so.
    """
    typed, dictionary = lexical.analyzer.spelled(prefix), lexical.dictionary
    shorter = {*lexical.analyzer.words_of(typed), *(typed[:-cut] for cut in range(1, ENDING + 1))}
    begins = lexical.analyzer.folded(typed)
    terms = set(dictionary.beginning(key + begins).tolist()) if begins else set()
    for stem in shorter:
        term = dictionary.lookup(key + stem)
        if term >= 0 and term not in terms and _written_so(typed, term, lexical, forms):
            terms.add(term)
    found = np.array(sorted(terms), np.int64)
    counts = dictionary.document_frequency(found)
    order = np.argsort(-counts, kind="stable")
    return found[order][counts[order] > 0]


def suggestions(
    text: str, size: int, lexical: LexicalQueries, forms: WrittenForms
) -> tuple[Suggestion, ...]:
    """How a text may go on: its last word complete, as documents write it.

    Raises:
        InputError: the size is not from 1 to `MOST_SUGGESTED`.
    """
    if not 1 <= size <= MOST_SUGGESTED:
        raise InputError(f"expected 1 to {MOST_SUGGESTED} suggestions, found {size}; ask for fewer")
    *before, typed = text.split(" ")
    if not lexical.analyzer.spelled(typed):
        return ()
    found: dict[str, Suggestion] = {}
    for term in beginning_so(typed, lexical, forms)[: LOOKED_AT * size].tolist():
        if len(found) == size:
            break
        for word in _written_so(typed, term, lexical, forms)[:1]:
            documents = int(lexical.dictionary.document_frequency([term])[0])
            said = " ".join([*before, word])
            found.setdefault(said, Suggestion(said, documents))
    return tuple(sorted(found.values(), key=lambda one: (-one.documents, one.text)))


def _written_so(typed: str, term: int, lexical: LexicalQueries, forms: WrittenForms) -> list[str]:
    """How documents write a word, where that begins so; marks may be missing."""
    analyzer = lexical.analyzer
    begins = analyzer.folded(analyzer.spelled(typed))
    return [word for word in forms.of(term) if analyzer.folded(word).startswith(begins)]

"""Explanation: which searched fields of a document a word's contribution comes from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tamis.retriever.types import content_of
from tamis.retriever.vocabulary import parse_word
from tamis.retriever.words.bm25f import averages_of, shares

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tamis.index.generations.settings import CollectionSettings
    from tamis.retriever.types import MatchedTerm
    from tamis.retriever.words.analysis import Analyzer


def by_field(
    terms: Sequence[MatchedTerm],
    document: Mapping[str, Any],
    settings: CollectionSettings,
    analyzer: Analyzer,
) -> list[MatchedTerm]:
    """Matched terms of a document, its words with what each searched field contributes."""
    made = settings.lexical
    if made is None or not made.fields:
        return list(terms)
    content = content_of(document, settings.text_fields)
    (own,) = analyzer.for_records([document], [content])
    share = shares(document, own, averages_of(made))
    found = []
    for term in terms:
        word = parse_word(term.term)
        of_fields = share(word) if word is not None else {}
        parts = {name: part * term.contribution for name, part in of_fields.items()}
        found.append(replace(term, fields=parts) if parts else term)
    return found

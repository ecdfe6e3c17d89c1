"""What all integrations do: search for one text, and describe a hit. Knows no framework."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tamis.retriever.searcher import Searcher
    from tamis.retriever.types import Hit


def hits_of(searcher: Searcher, query: str, k: int, options: Mapping[str, Any]) -> tuple[Hit, ...]:
    """The k best documents for a text.

    Args:
        searcher: of the index.
        query: a blank one finds nothing.
        k: how many; 0 gives none.
        options: further arguments of `Searcher.search`.

    Raises:
        InputError: an option is out of range.
    """
    if k == 0 or not query.strip():
        return ()
    (result,) = searcher.search([query], k, **options)
    return result.hits


def metadata_of(hit: Hit) -> dict[str, Any]:
    """What is known of a hit beside its text: all stored fields, score and rank."""
    fields = {name: value for name, value in hit.document.items() if name not in ("_id", "text")}
    return {**fields, "doc_id": hit.doc_id, "score": hit.score, "rank": hit.rank}


def text_of(hit: Hit) -> str:
    """The text of a hit, or its title where there is no text."""
    return str(hit.document.get("text") or hit.document.get("title") or "")

"""What all integrations do: search for one text, and describe a hit. Knows no framework."""

from __future__ import annotations

from dataclasses import fields as fields_of
from typing import TYPE_CHECKING, Any

from tamis.index.errors import InputError
from tamis.retriever.search_options import SearchOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tamis.retriever.searcher import Searcher
    from tamis.retriever.types import Hit

OPTIONS = {field.name for field in fields_of(SearchOptions)} - {"k"}


def hits_of(searcher: Searcher, query: str, k: int, options: Mapping[str, Any]) -> tuple[Hit, ...]:
    """The k best documents for a text.

    Args:
        searcher: of the index.
        query: a blank one finds nothing.
        k: how many; 0 gives none.
        options: further arguments of `Searcher.search`.

    Raises:
        InputError: an option is out of range, or no such option is there.
    """
    check_options(options)
    if k == 0 or not query.strip():
        return ()
    (result,) = searcher.search([query], k, **options)
    return result.hits


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse what is no option of a search, rather than search without it (InputError)."""
    unknown = sorted(set(options) - OPTIONS)
    if unknown:
        raise InputError(
            f"expected options of a search ({', '.join(sorted(OPTIONS))}), found "
            f"{', '.join(unknown)}; leave them out"
        )


def metadata_of(hit: Hit) -> dict[str, Any]:
    """What is known of a hit beside its text: all stored fields, ``doc_id``, score and rank.

    A document's own field of such a name stays as it is; ours then begins with ``tamis_``.
    """
    fields = stored_fields(hit)
    ours = {"doc_id": hit.doc_id, "score": hit.score, "rank": hit.rank}
    return fields | {
        f"tamis_{name}" if name in fields else name: value for name, value in ours.items()
    }


def stored_fields(hit: Hit) -> dict[str, Any]:
    """What a hit's document holds beside its id and text: the same whatever was asked."""
    return {name: value for name, value in hit.document.items() if name not in ("_id", "text")}


def text_of(hit: Hit) -> str:
    """The text of a hit, or its title where there is no text."""
    return str(hit.document.get("text") or hit.document.get("title") or "")

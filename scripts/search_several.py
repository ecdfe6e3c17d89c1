"""``tamis search A B TEXT``: one list of the best documents of several indexes."""

from typing import TYPE_CHECKING

import typer

from tamis.scripts.hits import explanation, found, heading, print_facets, styled
from tamis.scripts.output import aligned, print_json
from tamis.scripts.progress import START_UP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tamis.retriever.fusion.several_indexes import SeveralAnswer
    from tamis.retriever.search_options import SearchOptions
    from tamis.retriever.searcher import Searcher
    from tamis.retriever.types import Replacement


def search_indexes(
    searchers: "Mapping[str, Searcher]", text: str, options: "SearchOptions", *,
    most_terms: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Search, and print what was found, or what the REST API answers to the same search.

    Raises:
        InputError: one index has two names, or an option is of one index alone.
    """
    from tamis.index.errors import InputError
    from tamis.retriever.answers import Shown
    from tamis.retriever.fusion.several_indexes import search_several

    named = {one.collection.path.resolve(): name for name, one in searchers.items()}
    if len(named) < len(searchers):
        raise InputError(
            f"expected each index once, found {len(searchers)} names for {len(named)}; leave one "
            "out"
        )
    shown = Shown(options.explain, highlight=not as_json)
    answer = search_several(searchers, text, options, shown)
    print_json(answer) if as_json else _print(answer, options.explain, most_terms)


def _print(answer: "SeveralAnswer", explain: bool, most_terms: int | None) -> None:
    for hit in answer.hits:
        typer.echo(f"{heading(hit)}  in {hit.index}")
        typer.echo(f"      {styled(hit.highlights.get('text', ()))}")
        if explain:
            typer.echo(aligned(explanation(hit.matched_terms, most_terms), indent=6))
        typer.echo()
    how = answer.merged if answer.why is None else f"ranks (RRF), as {answer.why}"
    typer.echo(
        f"{found(len(answer.hits), answer.total)}, ordered by {how}; {answer.took_ms:.1f} ms; "
        f"start-up {START_UP.over() * 1000:.0f} ms before"
    )
    for one in answer.indexes:
        typer.echo(f"{one.index}: {one.hits} of the hits{_said(one.corrections)}")
    print_facets(answer.facets, answer.facets_cut)
    if answer.unknown_terms:
        typer.echo(f"in no document: {', '.join(answer.unknown_terms)}")


def _said(corrections: "tuple[Replacement, ...]") -> str:
    """What an index took for typing errors."""
    return "".join(f"; showing results for {one['to']}, not {one['from']}" for one in corrections)
